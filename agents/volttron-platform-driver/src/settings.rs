//! The main configuration and the device entries of the configuration store (drivers.md sections 3 and 4). Pure:
//! what is odd but usable comes back as warnings, for the caller to log.

use std::time::Duration;

use serde_json::{Map, Value};
use volttron_client::driver::{DriverError, PublishFlags, Rows, Stagger};
use volttron_client::program::OptionText;

use crate::modbus::number::{Number, truth};

/// Interval of a device that names none, in seconds.
const DEFAULT_INTERVAL_S: u64 = 60;

/// Longest interval: one day, since schedules are aligned to midnight.
const MAX_INTERVAL_S: i128 = 86_400;

/// What the main configuration says now.
#[derive(Clone, Debug, PartialEq)]
pub struct MainSettings {
    /// How scrapes spread over time; changes take effect at once.
    pub stagger: Stagger,
    /// Forms of publication for devices that do not say; changes take effect at once.
    pub flags: PublishFlags,
    /// Settings that only the first configuration of a process decides.
    pub fixed: Fixed,
}

/// Settings that need a restart to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// Cap on open device sockets; `None` lets the open-file limit decide.
    pub max_open_sockets: Option<usize>,
    /// Cap on publications in flight; `None` means unlimited.
    pub max_concurrent_publishes: Option<usize>,
    /// Rounds to measure before the process ends; `None` in normal operation.
    pub scalability_test: Option<u32>,
}

impl Default for MainSettings {
    fn default() -> Self {
        Self {
            stagger: Stagger::default(),
            flags: PublishFlags::default(),
            fixed: Fixed {
                max_open_sockets: None,
                max_concurrent_publishes: Some(10_000),
                scalability_test: None,
            },
        }
    }
}

/// The options of the main configuration, for `--describe`.
pub fn options() -> Vec<OptionText> {
    let default = MainSettings::default();
    let (stagger, flags) = (default.stagger, default.flags);
    vec![
        (
            "driver_scrape_interval",
            stagger.per_device.as_secs_f64().into(),
            "Seconds between the scrapes of one device of a group and the next",
        ),
        (
            "group_offset_interval",
            stagger.per_group.as_secs_f64().into(),
            "Seconds that the scrapes of a device start later, times the number of its group",
        ),
        (
            "publish_depth_first_all",
            flags.depth_first_all.into(),
            "Publish all points of a device at once: devices/campus/building/unit/all",
        ),
        (
            "publish_breadth_first_all",
            flags.breadth_first_all.into(),
            "Publish all points at once under the reversed path: devices/all/unit/building/campus",
        ),
        (
            "publish_depth_first",
            flags.depth_first.into(),
            "Publish each point: devices/campus/building/unit/point",
        ),
        (
            "publish_breadth_first",
            flags.breadth_first.into(),
            "Publish each point under the reversed path: devices/point/unit/building/campus",
        ),
        (
            "max_open_sockets",
            Value::Null,
            "Most connections to devices at a time; by default what the limit of open files allows. Needs a restart",
        ),
        (
            "max_concurrent_publishes",
            default.fixed.max_concurrent_publishes.into(),
            "Most publications on their way at a time; 0 = no limit. Needs a restart",
        ),
        (
            "scalability_test",
            false.into(),
            "Measure so many rounds as scalability_test_iterations says, log the times, and end",
        ),
        ("scalability_test_iterations", 3.into(), "Rounds to measure"),
    ]
}

/// A first configuration that the process cannot run with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration 'config', key '{key}': {why}")]
pub struct Unusable {
    key: &'static str,
    why: String,
}

impl MainSettings {
    /// Applies a configuration on top of the defaults; bad intervals keep the values of `self`. `first` is true for the
    /// first configuration of the process, the only one that decides [`Fixed`].
    pub fn updated(&self, config: &Value, first: bool) -> Result<(Self, Vec<String>), Unusable> {
        let mut warnings = Vec::new();
        let empty = Map::new();
        let config = config.as_object().unwrap_or_else(|| {
            warnings.push("configuration 'config' is not an object and is ignored".to_owned());
            &empty
        });
        let mut new = Self { fixed: self.fixed, ..Self::default() };
        new.stagger.per_device = seconds(
            config,
            "driver_scrape_interval",
            new.stagger.per_device,
            self.stagger.per_device,
            &mut warnings,
        );
        new.stagger.per_group = seconds(
            config,
            "group_offset_interval",
            new.stagger.per_group,
            self.stagger.per_group,
            &mut warnings,
        );
        new.flags = flags(config, new.flags, &mut warnings);
        let fixed = Fixed::parse(config);
        match (fixed, first) {
            (Ok(fixed), true) => new.fixed = fixed,
            (Err(error), true) => return Err(error),
            (Ok(fixed), false) if fixed == self.fixed => {}
            (_, false) => warnings.push(
                "max_open_sockets, max_concurrent_publishes and scalability_test change only with a restart"
                    .into(),
            ),
        }
        if config.contains_key("driver_config_list") {
            warnings.push(
                "'driver_config_list' is obsolete and ignored: store devices as devices/... entries".into(),
            );
        }
        Ok((new, warnings))
    }
}

impl Fixed {
    fn parse(config: &Map<String, Value>) -> Result<Self, Unusable> {
        let whole = |key: &'static str| match config.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match Number::from_value(value).and_then(Number::exact_int) {
                Some(n) => Ok(Some(n)),
                None => Err(Unusable { key, why: format!("a whole number is needed, not {value}") }),
            },
        };
        let sockets = match whole("max_open_sockets")? {
            Some(n) if n < 1 => {
                return Err(Unusable { key: "max_open_sockets", why: "at least 1 is needed".into() });
            }
            other => other.and_then(|n| usize::try_from(n).ok()),
        };
        let publishes = whole("max_concurrent_publishes")?.unwrap_or(10_000);
        let rounds = whole("scalability_test_iterations")?.unwrap_or(3).clamp(1, 1_000_000);
        let measuring = config.get("scalability_test").and_then(truth).unwrap_or(false);
        Ok(Self {
            max_open_sockets: sockets,
            max_concurrent_publishes: usize::try_from(publishes).ok().filter(|n| *n >= 1),
            scalability_test: measuring.then_some(rounds as u32),
        })
    }
}

fn seconds(
    config: &Map<String, Value>,
    key: &str,
    default: Duration,
    previous: Duration,
    warnings: &mut Vec<String>,
) -> Duration {
    let Some(value) = config.get(key) else { return default };
    let seconds = Number::from_value(value).map(Number::as_f64).filter(|s| (0.0..=86_400.0).contains(s));
    if let Some(seconds) = seconds {
        return Duration::from_secs_f64(seconds);
    }
    warnings.push(format!("'{key}' must be seconds, not {value}; keeping {} s", previous.as_secs_f64()));
    previous
}

fn flags(config: &Map<String, Value>, base: PublishFlags, warnings: &mut Vec<String>) -> PublishFlags {
    let mut flag = |key: &str, base: bool| match config.get(key) {
        None | Some(Value::Null) => base,
        Some(value) => truth(value).unwrap_or_else(|| {
            warnings.push(format!("'{key}' must be true or false, not {value}; using {base}"));
            base
        }),
    };
    PublishFlags {
        depth_first: flag("publish_depth_first", base.depth_first),
        breadth_first: flag("publish_breadth_first", base.breadth_first),
        depth_first_all: flag("publish_depth_first_all", base.depth_first_all),
        breadth_first_all: flag("publish_breadth_first_all", base.breadth_first_all),
    }
}

/// A device entry.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceSettings {
    /// Protocol.
    pub driver_type: String,
    /// Passed to the protocol untouched.
    pub driver_config: Value,
    /// Register table, links already replaced.
    pub registry: Option<Rows>,
    /// Time between scrapes.
    pub interval: Duration,
    /// Scheduling group.
    pub group: u32,
    /// Label for the metadata; does not shift any time.
    pub tz: String,
    /// Point that heartbeats toggle.
    pub heart_beat_point: Option<String>,
    /// The entry itself, for its publish flags, which the main configuration can change under it.
    flags: Map<String, Value>,
}

impl DeviceSettings {
    /// Reads an entry.
    pub fn parse(entry: &Value) -> Result<(Self, Vec<String>), DriverError> {
        let config = entry
            .as_object()
            .ok_or_else(|| DriverError::Config("the device entry is not an object".into()))?;
        let mut warnings = Vec::new();
        let driver_type = match config.get("driver_type") {
            Some(Value::String(name)) if !name.trim().is_empty() => name.trim().to_owned(),
            _ => return Err(DriverError::Config("the device entry has no driver_type".into())),
        };
        let driver_config =
            config.get("driver_config").filter(|value| value.is_object()).ok_or_else(|| {
                DriverError::Config("the device entry has no driver_config object (it may be {})".into())
            })?;
        let registry = Rows::from_value(config.get("registry_config").unwrap_or(&Value::Null))?;
        for key in ["campus", "building", "unit"] {
            if config.contains_key(key) {
                warnings.push(format!("key '{key}' is ignored: the name of the entry makes the topic"));
            }
        }
        let settings = Self {
            driver_type,
            driver_config: driver_config.clone(),
            registry,
            interval: interval(config, &mut warnings),
            group: group(config, &mut warnings),
            tz: text(config, "timezone"),
            heart_beat_point: Some(text(config, "heart_beat_point")).filter(|name| !name.is_empty()),
            flags: config
                .iter()
                .filter(|(key, _)| key.starts_with("publish_"))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        };
        if !settings.flags(PublishFlags::default()).depth_first_all {
            warnings.push("publish_depth_first_all is off: historians will not record this device".into());
        }
        flags(&settings.flags, PublishFlags::default(), &mut warnings);
        Ok((settings, warnings))
    }

    /// The device's forms of publication over those of the main configuration.
    pub fn flags(&self, main: PublishFlags) -> PublishFlags {
        // Warnings were given when the entry was read.
        flags(&self.flags, main, &mut Vec::new())
    }
}

fn text(config: &Map<String, Value>, key: &str) -> String {
    config.get(key).and_then(Value::as_str).unwrap_or("").trim().to_owned()
}

/// Whole seconds, fractions cut off; below one second or unusable: the default, with a warning.
fn interval(config: &Map<String, Value>, warnings: &mut Vec<String>) -> Duration {
    let seconds = match config.get("interval") {
        None | Some(Value::Null) => DEFAULT_INTERVAL_S,
        Some(value) => {
            let number = Number::from_value(value).map(Number::as_f64).filter(|n| n.is_finite());
            match number.map(|n| n.trunc() as i128) {
                Some(n) if (1..=MAX_INTERVAL_S).contains(&n) => n as u64,
                _ => {
                    warnings.push(format!(
                        "interval {value} is not from 1 to {MAX_INTERVAL_S}; using {DEFAULT_INTERVAL_S} s"
                    ));
                    DEFAULT_INTERVAL_S
                }
            }
        }
    };
    Duration::from_secs(seconds)
}

fn group(config: &Map<String, Value>, warnings: &mut Vec<String>) -> u32 {
    let Some(value) = config.get("group").filter(|value| !value.is_null()) else { return 0 };
    let number = Number::from_value(value).and_then(Number::exact_int).and_then(|n| u32::try_from(n).ok());
    number.unwrap_or_else(|| {
        warnings.push(format!("group {value} is not a number from 0; using 0"));
        0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_are_described_as_they_are_read() {
        let described: Map<String, Value> =
            options().into_iter().map(|(key, default, _)| (key.to_owned(), default)).collect();
        let read = MainSettings::default().updated(&Value::Object(described), true).expect("usable");
        assert_eq!(read, (MainSettings::default(), Vec::new()));
    }

    #[test]
    fn the_main_configuration_is_read_over_its_defaults() {
        let config = json!({
            "driver_scrape_interval": 0.05, "group_offset_interval": 2.0, "publish_breadth_first_all": true,
            "max_open_sockets": "600", "max_concurrent_publishes": 0, "driver_config_list": [],
        });
        let (settings, warnings) = MainSettings::default().updated(&config, true).expect("usable");
        assert_eq!(settings.stagger.per_device, Duration::from_millis(50));
        assert_eq!(settings.stagger.per_group, Duration::from_secs(2));
        assert!(
            settings.flags.depth_first_all && settings.flags.breadth_first_all && !settings.flags.depth_first
        );
        assert_eq!(
            settings.fixed,
            Fixed { max_open_sockets: Some(600), max_concurrent_publishes: None, scalability_test: None }
        );
        assert_eq!(warnings.len(), 1);

        let later = json!({"driver_scrape_interval": "soon", "max_open_sockets": 5});
        let (settings, warnings) = settings.updated(&later, false).expect("usable");
        assert_eq!(
            settings.stagger.per_device,
            Duration::from_millis(50),
            "a bad interval keeps the previous one"
        );
        assert_eq!(settings.fixed.max_open_sockets, Some(600));
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }

    #[test]
    fn a_first_configuration_can_be_unusable() {
        for config in [
            json!({"max_open_sockets": "many"}),
            json!({"max_open_sockets": 0}),
            json!({"max_concurrent_publishes": [1]}),
            json!({"scalability_test_iterations": 1.5}),
        ] {
            assert!(MainSettings::default().updated(&config, true).is_err(), "{config}");
            assert!(MainSettings::default().updated(&config, false).is_ok(), "{config}");
        }
        let (test, _) =
            MainSettings::default().updated(&json!({"scalability_test": true}), true).expect("usable");
        assert_eq!(test.fixed.scalability_test, Some(3));
    }

    #[test]
    fn device_entries_are_read_with_warnings_for_the_odd() {
        for (key, value, interval, group, warned) in [
            ("interval", json!(30), 30, 0, false),
            ("interval", json!("15"), 15, 0, false),
            ("interval", json!(1.9), 1, 0, false),
            ("interval", json!(0.5), 60, 0, true),
            ("interval", json!("x"), 60, 0, true),
            ("group", json!(3), 60, 3, false),
            ("group", json!("north"), 60, 0, true),
            ("campus", json!("c"), 60, 0, true),
            ("publish_depth_first_all", json!(false), 60, 0, true),
            ("timezone", json!("US/Pacific"), 60, 0, false),
        ] {
            let mut entry = json!({"driver_type": "fake", "driver_config": {}});
            entry[key] = value.clone();
            let (settings, warnings) = DeviceSettings::parse(&entry).expect("entry");
            assert_eq!((settings.interval.as_secs(), settings.group), (interval, group), "{key} {value}");
            assert_eq!(!warnings.is_empty(), warned, "{key} {value}: {warnings:?}");
        }
    }

    #[test]
    fn device_flags_win_over_the_main_ones() {
        let entry = json!({"driver_type": "f", "driver_config": {}, "publish_depth_first": "TRUE"});
        let (settings, _) = DeviceSettings::parse(&entry).expect("entry");
        let main = PublishFlags { breadth_first: true, ..PublishFlags::default() };
        assert_eq!(settings.flags(main), PublishFlags { depth_first: true, ..main });
    }

    #[test]
    fn entries_without_the_required_keys_are_refused() {
        for (entry, text) in [
            (json!([]), "not an object"),
            (json!({"driver_config": {}}), "no driver_type"),
            (json!({"driver_type": "fake"}), "no driver_config"),
            (json!({"driver_type": "fake", "driver_config": {}, "registry_config": "x"}), "not a table"),
        ] {
            let error = DeviceSettings::parse(&entry).expect_err("refused").to_string();
            assert!(error.contains(text), "{entry}: {error}");
        }
    }
}
