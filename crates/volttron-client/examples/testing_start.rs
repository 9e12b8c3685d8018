//! Measures how long a test of an agent takes to get going: the platform in memory, an agent on it, and the first call.
//!
//! ```text
//! cargo run --release -p volttron-client --features testing --example testing_start
//! ```

#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use volttron_client::testing::TestPlatform;
use volttron_client::{CallError, agent, interface};

const RUNS: usize = 200;

/// A method to call.
#[interface]
pub trait Echo {
    /// Gives back what it is given.
    #[rpc(open)]
    async fn echo(&self, value: i64) -> i64;
}

struct Tiny;

impl Echo for Tiny {
    async fn echo(&self, value: i64) -> i64 {
        value
    }
}

#[agent(serves(Echo))]
impl Tiny {}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), CallError> {
    let (mut platforms, mut agents, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let start = Instant::now();
        let platform = TestPlatform::new().await;
        let began = Instant::now();
        let agent = platform.agent("tiny", Tiny).await;
        let up = Instant::now();
        let peer = platform.peer("tester").await;
        EchoClient::new(&peer, "tiny").echo(1).await?;
        platforms.push(began - start);
        agents.push(up - began);
        calls.push(up.elapsed());
        agent.stop().await;
    }
    for (what, times) in
        [("platform", platforms), ("agent, to the end of on_start", agents), ("peer and first call", calls)]
    {
        println!("{what}: {}", summary(times));
    }
    Ok(())
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort();
    let millis = |n: usize| times[n].as_secs_f64() * 1000.0;
    format!("median {:.2} ms, slowest {:.2} ms of {RUNS}", millis(RUNS / 2), millis(RUNS - 1))
}
