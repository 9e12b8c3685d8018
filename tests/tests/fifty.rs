//! Fifty agents start with their platform, are missed when they end, and stop when they are asked to. The times are shown,
//! and demanded only by `cargo xtask bench`.

use volttron_tests::fifty::{AGENTS, Fifty};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_agents_come_and_go() {
    let mut fifty = tokio::task::block_in_place(Fifty::install);
    let times = fifty.measure().await;
    println!(
        "{AGENTS} agents: all GOOD {} ms after the platform's start, an end noticed after {:.1} ms at most, all stopped in \
         {} ms",
        times.up.as_millis(),
        times.noticed.as_secs_f64() * 1e3,
        times.down.as_millis()
    );
}
