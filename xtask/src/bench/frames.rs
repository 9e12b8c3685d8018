//! The messages that are measured, and the names of those who send them.

use serde::{Deserialize, Serialize};

/// Who publishes to how many, and how many other subscriptions the router has meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fan {
    pub publishers: usize,
    pub subscribers: usize,
    /// Subscriptions that do not match, spread over [`IDLE_PEERS`] further peers.
    pub idle: usize,
}

/// Publishes in flight.
pub const PUBLISH_WINDOW: u64 = 64;
/// Peers that only have subscriptions.
pub const IDLE_PEERS: usize = 10;
pub const TOPIC: &str = "devices/campus/building/ahu1/all";

/// Round trips in flight: fewer of large messages, so that what waits in queues stays near 8 MB.
pub fn relay_window(bytes: usize) -> u64 {
    (8_000_000 / bytes.max(1)).clamp(4, 128) as u64
}

pub fn subscriber(n: usize) -> String {
    format!("subscriber.{n}")
}

pub fn publisher(n: usize) -> String {
    format!("publisher.{n}")
}

pub fn idle(n: usize) -> String {
    format!("idle.{n}")
}

/// What an idle peer subscribes to: topics as a large campus has them, none of them published.
pub fn idle_prefix(peer: usize, n: usize) -> String {
    format!("devices/campus/building{peer}/vav{n}/")
}

pub fn joiner(n: usize) -> String {
    format!("joiner.{n}")
}

/// What a driver publishes on an `all` topic, about 1.1 KB: values and metadata of nine points.
pub fn publish_body() -> String {
    body("")
}

/// The same as a router delivers it.
pub fn delivered_body(sender: &str) -> String {
    body(&format!("\"sender\": \"{sender}\", "))
}

fn body(sender: &str) -> String {
    let names =
        ["OutsideAirTemperature", "SupplyAirTemp", "ReturnAirTemp", "DamperSignal", "FanStatus", "Setpoint"];
    let values: Vec<String> =
        names.iter().enumerate().map(|(i, n)| format!("\"{n}\": {i}.5123046875")).collect();
    let meta: Vec<String> = names
        .iter()
        .map(|n| {
            format!(
                "\"{n}\": {{\"units\": \"degreesFahrenheit\", \"tz\": \"US/Pacific\", \"type\": \"float\"}}"
            )
        })
        .collect();
    format!(
        "{{{sender}\"bus\": \"\", \"headers\": {{\"Date\": \"2026-11-20T17:23:54.970629+00:00\", \"TimeStamp\": \
         \"2026-11-20T17:23:54.970629+00:00\", \"SynchronizedTimeStamp\": \"2026-11-20T17:23:50.000000+00:00\", \
         \"min_compatible_version\": \"3.0\", \"max_compatible_version\": \"\"}}, \"message\": [{{{}}}, {{{}}}]}}",
        values.join(", "),
        meta.join(", ")
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_all_message_has_the_size_it_is_named_after() {
        let len = super::publish_body().len();
        assert!((1000..1200).contains(&len), "{len}");
        serde_json::from_str::<serde_json::Value>(&super::delivered_body("x")).expect("JSON");
    }
}
