//! Replays recorded sessions of the original router (`golden/`): same sends, and what comes back is compared frame
//! by frame. Where our rules differ on purpose, the difference is one of [`Difference`], and each of them occurs.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use volttron_router::{Control, RouterFacts};
use volttron_utils::{json, vip::typed};

use common::{Net, Received};

/// Every way in which our answers may differ from the recorded ones, with the rule that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// Frames between peers and echoed frames stay byte for byte what was sent; Python re-encodes what looks like
    /// JSON (vip.md section 3.4 rule 4; spec decision 4).
    KeptAsSent,
    /// `agent-monitor-frequency` in digits instead of four raw bytes (vip.md section 6.3).
    FrequencyInDigits,
    /// A peer listing is unordered and contains both generations' names of the services (vip.md section 4.2).
    ServiceNames,
}

struct Step {
    topic: String,
    name: String,
    messages: Vec<(String, bool, Received)>,
}

fn steps(recording: &str) -> Vec<Step> {
    let steps: Vec<Value> = json::from_str(recording).expect("recording is JSON");
    steps
        .iter()
        .map(|step| Step {
            topic: step["topic"].as_str().expect("topic").to_owned(),
            name: step["step"].as_str().expect("step").to_owned(),
            messages: step["messages"].as_array().expect("messages").iter().map(message).collect(),
        })
        .collect()
}

fn message(message: &Value) -> (String, bool, Received) {
    let mut frames =
        message.as_array().expect("frames").iter().map(|frame| frame.as_str().expect("text").to_owned());
    let identity = frames.next().expect("identity");
    let sent = frames.next().expect("direction") == "send";
    (identity, sent, frames.collect())
}

struct Platform {
    router_id: &'static str,
    port: u16,
    instance: &'static str,
    serverkey: &'static str,
    version: &'static str,
    float_bytes: usize,
}

fn platform(platform: &Platform) -> Net {
    let mut net = Net::new();
    net.control(Control::Info(Box::new(RouterFacts {
        router_id: platform.router_id.to_owned(),
        addresses: vec![format!("tcp://127.0.0.1:{}", platform.port)],
        local_address: "ipc://@/home/user/.volttron/run/vip.socket".to_owned(),
        serverkey: Some(platform.serverkey.to_owned()),
        instance_name: platform.instance.to_owned(),
        platform_version: platform.version.to_owned(),
        agent_monitor_frequency_s: 600,
        ..RouterFacts::default()
    })));
    net.attach("platform.auth", &[]);
    net.attach("control", &["platform.control"]);
    net.attach("config.store", &["platform.config_store"]);
    net.attach("keydiscovery", &[]);
    net.attach("platform.health", &[]);
    for agent in ["bench.0000", "bench.0001", "bench.admin", "bench.0030", "bench.0031"] {
        net.join(agent);
    }
    net
}

/// What a Python hop makes of a frame (vip.md sections 3.1 to 3.3).
fn python_hop(frame: &str, float_bytes: usize) -> String {
    let bytes = typed::latin1(frame).expect("one byte per character");
    let raw = match typed::as_json(&bytes) {
        None => return frame.to_owned(),
        Some(Value::Null) => Vec::new(),
        Some(Value::Bool(value)) => vec![u8::from(value)],
        Some(Value::String(text)) => typed::latin1(&text).expect("one byte per character"),
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(whole), _) => u32::try_from(whole).expect("recorded numbers fit").to_le_bytes().to_vec(),
            (None, Some(float)) if float_bytes == 4 => (float as f32).to_le_bytes().to_vec(),
            (None, float) => float.expect("a number").to_le_bytes().to_vec(),
        },
        Some(other) => json::to_vec(&other).expect("plain"),
    };
    common::latin1(&raw)
}

/// Whether a message equals a recorded one, and by which differences.
fn compare(ours: &Received, recorded: &Received, platform: &Platform) -> Option<BTreeSet<Difference>> {
    let mut differences = BTreeSet::new();
    if ours.get(5).map(String::as_str) == Some("listing") {
        if ours[..6] != recorded[..6] {
            return None;
        }
        let (ours, recorded): (BTreeSet<_>, BTreeSet<_>) =
            (ours[6..].iter().collect(), recorded[6..].iter().collect());
        let services = [
            "platform.auth",
            "control",
            "platform.control",
            "config.store",
            "platform.config_store",
            "keydiscovery",
            "platform.health",
        ];
        let known = |name: &&&String| services.contains(&name.as_str()) || name.starts_with("bench.");
        differences.insert(Difference::ServiceNames);
        return (recorded.is_subset(&ours) && ours.iter().all(|name| known(&name))).then_some(differences);
    }
    if ours.len() != recorded.len() {
        return None;
    }
    for (ours, recorded) in ours.iter().zip(recorded) {
        if ours == recorded {
            continue;
        }
        if ours == "600" && recorded == "X\u{2}\u{0}\u{0}" {
            differences.insert(Difference::FrequencyInDigits);
        } else if python_hop(ours, platform.float_bytes) == *recorded {
            differences.insert(Difference::KeptAsSent);
        } else {
            return None;
        }
    }
    Some(differences)
}

/// Sends step by step and compares per agent, in order; returns the differences that occurred.
fn replay(recording: &str, version: &Platform) -> BTreeSet<Difference> {
    let mut net = platform(version);
    let mut seen = BTreeSet::new();
    for step in steps(recording) {
        let mut expected: BTreeMap<String, Vec<Received>> = BTreeMap::new();
        let mut agents = BTreeSet::new();
        for (identity, sent, frames) in step.messages {
            if sent {
                let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
                net.send(&identity, &frames);
            } else {
                expected.entry(identity.clone()).or_default().push(frames);
            }
            agents.insert(identity);
        }
        for agent in agents {
            let mut ours = net.received(&agent);
            // Agents that joined in earlier steps are announced again only in the recording's own order of
            // topics; announcements are compared where the recording is about them.
            if step.topic != "peerlist" {
                ours.retain(|frames| {
                    frames.get(4).map(String::as_str) != Some("peerlist") || !frames[3].is_empty()
                });
            }
            let recorded = expected.remove(&agent).unwrap_or_default();
            let context = || {
                format!(
                    "{} {:?}, {agent}:\n ours     {ours:?}\n recorded {recorded:?}",
                    step.topic, step.name
                )
            };
            assert_eq!(ours.len(), recorded.len(), "{}", context());
            for (ours, recorded) in ours.iter().zip(&recorded) {
                let differences = compare(ours, recorded, version);
                seen.extend(differences.unwrap_or_else(|| panic!("{}", context())));
            }
        }
    }
    seen
}

const MONO: Platform = Platform {
    router_id: "5edc593d-c77b-4466-8db9-267963c4680d",
    port: 22926,
    instance: "capmono",
    serverkey: "pLHDlUetiX4YzESy53PoJ-3VBIcGvJjlbJ3WvS_NX3w",
    version: "9.0.4",
    float_bytes: 4,
};

#[test]
fn sessions_of_9_0_4() {
    let seen = replay(include_str!("golden/mono.json"), &MONO);
    let all = [Difference::KeptAsSent, Difference::FrequencyInDigits, Difference::ServiceNames];
    assert_eq!(seen, BTreeSet::from(all));
}

#[test]
fn sessions_of_10_0_5rc4() {
    let version = Platform {
        router_id: "714b47fb-e8fa-4390-8024-25d411f77e82",
        port: 22920,
        instance: "capv10",
        serverkey: "17Sp9eUTdlhZtMho2bhUncpSJg99WXVT0HvhR9L9iV4",
        version: "10.0.5rc4",
        float_bytes: 4,
    };
    let seen = replay(include_str!("golden/v10.json"), &version);
    let all = [Difference::KeptAsSent, Difference::FrequencyInDigits, Difference::ServiceNames];
    assert_eq!(seen, BTreeSet::from(all));
}

#[test]
fn sessions_of_11_0_0rc3() {
    let version = Platform { router_id: "c1fe1248-af42-4d9c-929c-bf84a7181a56", float_bytes: 8, ..MONO };
    let seen = replay(include_str!("golden/v11.json"), &version);
    assert_eq!(seen, BTreeSet::from([Difference::KeptAsSent, Difference::ServiceNames]));
}
