//! The messages that are measured.

/// Recipients of a publish.
pub const SUBSCRIBERS: usize = 10;
/// Round trips in flight in the relay case, publishes in the fan-out case.
pub const RELAY_WINDOW: usize = 128;
pub const PUBLISH_WINDOW: usize = 64;
/// Last frame of a relayed message.
pub const PAYLOAD_BYTES: usize = 256;
pub const TOPIC: &str = "devices/campus/building/ahu1/all";

pub fn subscriber(n: usize) -> String {
    format!("subscriber.{n}")
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
