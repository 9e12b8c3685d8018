//! Declares methods once: an agent serves them, another calls them, both checked by the compiler. Runs on a bus in memory.
//!
//! ```text
//! cargo run -p volttron-client --features testing --example typed_calls
//! ```

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use volttron_client::testing::TestPlatform;
use volttron_client::{CallError, Caller, RpcError, agent, interface};

/// The set points of one building.
#[interface]
pub trait SetPoints {
    /// Sets a point; gives the value before.
    #[rpc(open)]
    async fn set(&self, caller: Caller, point: String, value: f64) -> Result<Option<f64>, RpcError>;

    /// All points whose name begins so, all if nothing is given.
    #[rpc(open)]
    async fn list(&self, prefix: Option<String>) -> BTreeMap<String, f64>;
}

#[derive(Default)]
struct Building {
    points: Mutex<BTreeMap<String, f64>>,
}

impl SetPoints for Building {
    async fn set(&self, caller: Caller, point: String, value: f64) -> Result<Option<f64>, RpcError> {
        if !(5.0..=30.0).contains(&value) {
            return Err(RpcError::value_error(format!("{value} for {point} is out of range")));
        }
        println!("{} sets {point} to {value}", caller.user);
        Ok(self.points.lock().unwrap_or_else(PoisonError::into_inner).insert(point, value))
    }

    async fn list(&self, prefix: Option<String>) -> BTreeMap<String, f64> {
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner).clone();
        points.retain(|name, _| name.starts_with(prefix.as_deref().unwrap_or_default()));
        points
    }
}

#[agent(serves(SetPoints))]
impl Building {}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), CallError> {
    let platform = TestPlatform::new().await;
    let building = platform.agent("building", Building::default()).await;
    let operator = platform.peer("operator").await;
    let points = SetPointsClient::new(&operator, "building");
    points.set("hall/heat", 19.5).await?;
    let before = points.set("hall/heat", 20.0).await?;
    println!("before: {before:?}; now: {:?}", points.list(None).await?);
    match points.set("hall/heat", 90.0).await {
        Err(error @ CallError::Remote(_)) => println!("refused: {error}"),
        other => println!("{other:?}"),
    }
    building.stop().await;
    Ok(())
}
