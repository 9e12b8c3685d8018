//! The settings of the configuration file that a description of a platform may name (`vctl apply`).

use clap::Parser;
use serde_json::Value;
use volttron_utils::address::Address;
use volttron_utils::config::flag_value;
use volttron_utils::home::expand;

use super::args::{Args, Kind, command, kind_of};

/// Options that are no settings of a platform: what one start is told, and what is kept secret.
const NOT_MANAGED: [&str; 7] =
    ["config", "vhome", "show-config", "quiet", "verbose", "web-secret-key", "msgdebug"];

/// A setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name in the file.
    pub name: String,
    /// What it means.
    pub help: String,
    /// It is on or off.
    pub is_flag: bool,
    /// It is True or False, as a flag is or as a text.
    pub is_boolean: bool,
    /// Lines that set it add up.
    pub is_list: bool,
}

/// Every setting that may be managed.
pub fn managed() -> Vec<Setting> {
    let command = command();
    let mut all = Vec::new();
    for arg in command.get_arguments() {
        let Some(name) = arg.get_long().filter(|name| !NOT_MANAGED.contains(name)) else { continue };
        // `--no-x` is `x = False` in a file.
        let is_inverse =
            name.strip_prefix("no-").is_some_and(|positive| kind_of(&command, positive).is_some());
        let is_flag = match kind_of(&command, name) {
            Some(Kind::Value) => false,
            Some(Kind::Flag { .. }) if !is_inverse => true,
            _ => continue,
        };
        let values = arg.get_value_names().unwrap_or_default();
        all.push(Setting {
            name: name.to_owned(),
            help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
            is_flag,
            is_boolean: is_flag || values.iter().any(|name| name.as_str() == "True|False"),
            is_list: matches!(arg.get_action(), clap::ArgAction::Append),
        });
    }
    all
}

impl Setting {
    /// A value as the file has it: the texts of one line each.
    pub fn texts(&self, value: &Value) -> Vec<String> {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Bool(true) => "True".to_owned(),
            Value::Bool(false) => "False".to_owned(),
            other => other.to_string(),
        };
        match value {
            Value::Array(items) => items.iter().map(text).collect(),
            other => vec![text(other)],
        }
    }

    /// Whether two texts of the file mean the same.
    pub fn is_same(&self, one: &str, other: &str) -> bool {
        let flag = |text: &str| flag_value(text).ok();
        one == other || (self.is_flag && flag(one).is_some() && flag(one) == flag(other))
    }

    /// Whether the platform would take this text; else why not.
    pub fn check(&self, text: &str) -> Result<(), String> {
        if self.is_flag {
            return flag_value(text).map(drop).map_err(|e| e.to_string());
        }
        if matches!(&*self.name, "vip-address" | "vip-local-address") {
            return expand(text).parse::<Address>().map(drop).map_err(|e| e.to_string());
        }
        let arg = format!("--{}={text}", self.name);
        let refused = |e: clap::Error| {
            let text = e.render().to_string();
            text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        };
        Args::try_parse_from(["volttron", &arg]).map(drop).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_those_of_the_file_without_secrets() {
        let all = managed();
        let find = |name: &str| all.iter().find(|s| s.name == name);
        for name in ["vip-address", "instance-name", "autostart", "allow-auth", "shutdown-timeout"] {
            assert!(find(name).is_some(), "{name}");
        }
        for name in ["web-secret-key", "config", "no-autostart", "verbose", "help", "version"] {
            assert!(find(name).is_none(), "{name}");
        }
        let (flag, list) = (find("autostart").unwrap(), find("vip-address").unwrap());
        assert!(flag.is_flag && list.is_list && flag.is_same("off", "False") && !list.is_same("off", "no"));
        assert_eq!(list.texts(&json!(["tcp://a:1", "tcp://b:2"])), ["tcp://a:1", "tcp://b:2"]);
        assert_eq!(flag.texts(&json!(false)), ["False"]);
        assert!(flag.check("maybe").is_err() && flag.check("no").is_ok());
        assert!(list.check("nonsense://").is_err() && list.check("tcp://127.0.0.1:22916").is_ok());
        let timeout = find("shutdown-timeout").unwrap();
        assert!(timeout.check("soon").unwrap_err().contains("invalid value 'soon'"));
        assert!(timeout.check("60").is_ok());
    }
}
