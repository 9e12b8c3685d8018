//! Bytes as texts of configuration: the platform's option file, agents' files, the configuration store.

use serde_json::Value;
use volttron_utils::config::{OptionFile, flag_value, parse_config, parse_yaml};
use volttron_utils::json;

/// What a value may nest, as JSON readers on the bus accept it.
const DEPTH_MAX: usize = 128;
/// Members and elements a small text can stand for: what the reader of YAML allows with aliases.
const NODES_MAX: usize = 1_000_000;

/// The bytes as the platform's option file. Reading and writing changes nothing, and a setting that is changed, added
/// or removed is what the next reader sees, while all others stay.
pub fn option_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let file = match OptionFile::parse(&text) {
        Ok(file) => file,
        Err((line, why)) => {
            assert!(line >= 1 && line <= text.lines().count() && !why.is_empty(), "line {line}: {why}");
            return;
        }
    };
    let again = OptionFile::parse(&file.render()).expect("what was read can be read again");
    assert_eq!(again.entries(), file.entries());
    for entry in file.entries() {
        assert!(entry.line >= 1 && !entry.key.is_empty(), "{entry:?}");
        let _ = flag_value(&entry.value());
    }
    let before: Vec<_> = others(&file);
    for value in ["tcp://127.0.0.1:22916", "", "two words", "it's \"quoted\" \\ and # marked", "a b"] {
        let mut changed = file.clone();
        changed.set("volttron", "vip-address", value);
        let read = OptionFile::parse(&changed.render()).expect("what was written can be read");
        assert_eq!(read.get(&["volttron"], "vip-address").as_deref(), Some(value), "{}", changed.render());
        assert_eq!(read.entries(), changed.entries());
        assert_eq!(others(&read), before, "setting one option changes no other");
        changed.remove("volttron", "vip-address");
        assert_eq!(changed.get(&["volttron"], "vip-address"), None);
        assert_eq!(others(&changed), before, "removing one option changes no other");
    }
}

/// Everything but the option that is changed: where it stands, its name and its value.
fn others(file: &OptionFile) -> Vec<(Option<String>, String, String)> {
    let entries = file.entries().iter().filter(|entry| entry.key != "vip-address");
    entries.map(|entry| (entry.section.clone(), entry.key.clone(), entry.value())).collect()
}

/// The bytes as an agent's configuration, JSON with comments or YAML. What is accepted is bounded in size and depth,
/// so that it can travel, and reads the same when it is written as JSON.
pub fn config_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Err(bad) = parse_yaml(&text) {
        assert!(bad.line >= 1 && bad.column >= 1 && !bad.why.is_empty(), "{bad:?}");
    }
    match parse_config(&text) {
        Ok(value) => {
            assert!(!value.is_null(), "an empty file is an empty object");
            assert!(depth(&value) <= DEPTH_MAX, "too deep to travel");
            assert!(nodes(&value) <= NODES_MAX, "too large");
            let written = json::to_string(&value).expect("values can be written");
            assert_eq!(json::from_str::<Value>(&written).as_ref(), Ok(&value), "{written}");
            assert_eq!(parse_config(&written).as_ref(), Ok(&value), "{written}");
        }
        Err((as_json, as_yaml)) => {
            assert!(as_json.contains("line ") && as_yaml.contains("line "), "{as_json} / {as_yaml}");
        }
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(nodes).sum(),
        Value::Object(map) => map.values().map(nodes).sum::<usize>(),
        _ => 0,
    }
}

/// The bytes as a `.store` file, and as what the store tells an agent: both ends of the configuration store.
pub fn config_store(data: &[u8]) {
    volttron_server::services::config_store::fuzzing::store_file(data);
    volttron_client::fuzzing::stored_configurations(data);
}
