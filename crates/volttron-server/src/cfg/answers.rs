//! Answers that were given before anything is asked: in a file, and over them by options of the command line.

use std::collections::BTreeMap;

use serde_json::Value;
use volttron_utils::config::load_config;

use super::CfgError;
use super::args::Cli;
use crate::nearest::nearest;

/// Names of the questions.
const KEYS: [&str; 33] = [
    "home",
    "continue",
    "message-bus",
    "vip-address",
    "vip-port",
    "instance-name",
    "web",
    "web-protocol",
    "web-port",
    "web-use-certificate",
    "web-certificate",
    "web-cert-file",
    "web-key-file",
    "web-ca",
    "web-country",
    "web-state",
    "web-location",
    "web-organization",
    "web-organization-unit",
    "central",
    "central-autostart",
    "controlled",
    "central-host",
    "central-port",
    "controlled-autostart",
    "historian",
    "historian-autostart",
    "driver",
    "fake-device",
    "driver-autostart",
    "listener",
    "listener-autostart",
    "overwrite",
];

/// What the command line and the file that it names answer.
pub(super) fn collect(cli: &Cli) -> Result<BTreeMap<String, String>, CfgError> {
    let mut given = BTreeMap::new();
    if let Some(path) = &cli.answers {
        let value = load_config(path).map_err(|e| CfgError::Refused(e.to_string()))?;
        let refused = |why: String| CfgError::Refused(format!("{}: {why}", path.display()));
        let Value::Object(map) = value else {
            return Err(refused(
                "answers are an object of question and answer, such as `historian: yes`".into(),
            ));
        };
        for (key, value) in map {
            let key = key.replace('_', "-");
            if !KEYS.contains(&key.as_str()) {
                let hint = nearest(KEYS, &key).map_or_else(String::new, |n| format!("; did you mean {n}?"));
                return Err(refused(format!("there is no question {key}{hint}")));
            }
            let answer = text(&value).ok_or_else(|| refused(format!("{key}: {value} is no answer")))?;
            given.insert(key, answer);
        }
    }
    let mut set = |key: &str, value: &str| drop(given.insert(key.to_owned(), value.to_owned()));
    if let Some(bus) = &cli.message_bus {
        set("message-bus", bus);
    }
    if let Some(address) = &cli.vip_address {
        set("vip-address", address);
    }
    for (on, keys) in [
        (cli.historian, &["historian"][..]),
        (cli.driver, &["driver"]),
        (cli.fake_device, &["driver", "fake-device"]),
        (cli.listener, &["listener"]),
        (cli.autostart, &["historian-autostart", "driver-autostart", "listener-autostart"]),
    ] {
        if on {
            for key in keys {
                set(key, "Y");
            }
        }
    }
    // `tcp://host:port` answers two questions.
    if let Some((address, port)) = given.get("vip-address").and_then(|text| split_port(text)) {
        given.insert("vip-address".to_owned(), address);
        given.insert("vip-port".to_owned(), port);
    }
    Ok(given)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Bool(true) => Some("Y".to_owned()),
        Value::Bool(false) => Some("N".to_owned()),
        Value::String(text) => Some(match text.to_ascii_lowercase().as_str() {
            "yes" => "Y".to_owned(),
            "no" => "N".to_owned(),
            _ => text.clone(),
        }),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn split_port(address: &str) -> Option<(String, String)> {
    let (front, port) = address.rsplit_once(':')?;
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    (digits && front.contains("://")).then(|| (front.to_owned(), port.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn given(text: &str, more: &[&str]) -> Result<BTreeMap<String, String>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("answers.yml");
        std::fs::write(&path, text).unwrap();
        let mut line = vec!["vcfg", "--answers", path.to_str().unwrap()];
        line.extend(more);
        collect(&Cli::try_parse_from(line).unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn options_go_before_files() {
        let given = given(
            "historian: no\nlistener: 'yes'\nweb_port: 8443\nvip-address: tcp://10.0.0.1:5000\n",
            &["--historian", "--fake-device"],
        )
        .unwrap();
        for (key, answer) in [
            ("historian", "Y"),
            ("listener", "Y"),
            ("driver", "Y"),
            ("fake-device", "Y"),
            ("web-port", "8443"),
            ("vip-address", "tcp://10.0.0.1"),
            ("vip-port", "5000"),
        ] {
            assert_eq!(given.get(key).map(String::as_str), Some(answer), "{key}");
        }
        assert!(!given.contains_key("historian-autostart"));
    }

    #[test]
    fn mistyped_questions_are_refused_with_a_guess() {
        assert!(given("historain: yes", &[]).unwrap_err().contains("did you mean historian?"));
        assert!(given("web: [1]", &[]).unwrap_err().contains("is no answer"));
        assert!(given("- web", &[]).unwrap_err().contains("an object"));
    }

    #[test]
    fn ports_are_told_from_addresses() {
        assert_eq!(split_port("tcp://a:1"), Some(("tcp://a".into(), "1".into())));
        assert_eq!(split_port("tcp://[::1]:1"), Some(("tcp://[::1]".into(), "1".into())));
        for text in ["tcp://a", "tcp://[::1]", "a:1", "tcp://a:"] {
            assert_eq!(split_port(text), None, "{text}");
        }
    }
}
