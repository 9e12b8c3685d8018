//! The `driver_config` of a Modbus device. Pure.

use std::time::Duration;

use serde_json::Value;
use volttron_client::driver::{DriverError, Rows};

use super::codec::Order;
use super::number::{Number, truth};

/// How the `Address` column counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// Protocol addresses.
    Offset,
    /// Protocol addresses plus one.
    OffsetPlus,
    /// Manual notation with the table in front (40001 is the first holding register).
    Address,
}

/// Settings of one device.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Unit id on the line.
    pub unit: u8,
    /// Limit for connecting and for each request.
    pub timeout: Duration,
    /// Open a connection for each operation instead of keeping one.
    pub connect_per_request: bool,
    /// Most words, and most bits, of one read.
    pub max_per_read: u16,
    /// Words are written with FC 16; else with FC 6, one word at a time.
    pub write_multiple: bool,
    /// See [`Addressing`].
    pub addressing: Addressing,
    /// Byte order of type names without one of their own.
    pub order: Order,
    /// The device model of `modbus_tk`, if given.
    pub register_map: Option<Rows>,
}

impl Settings {
    /// Reads a `driver_config`; keys are case-insensitive. Defaults differ by driver type as in the original: a
    /// `modbus_tk` device without a port is a serial one, which is refused, and its unit is 1 instead of 0.
    pub fn parse(driver_type: &str, config: &Value) -> Result<Self, DriverError> {
        let Value::Object(members) = config else {
            return Err(DriverError::Config("driver_config must be an object".into()));
        };
        let tk = driver_type.eq_ignore_ascii_case("modbus_tk");
        let mut settings = Self {
            host: String::new(),
            port: if tk { 0 } else { 502 },
            unit: u8::from(tk),
            timeout: Duration::from_secs(3),
            connect_per_request: false,
            max_per_read: 100,
            write_multiple: true,
            addressing: Addressing::Offset,
            order: Order::Big,
            register_map: None,
        };
        for (key, value) in members {
            settings
                .set(&key.to_ascii_lowercase(), value)
                .map_err(|what| DriverError::Config(format!("driver_config '{key}': {what}")))?;
        }
        if settings.host.is_empty() {
            return Err(DriverError::Config("driver_config needs a device_address".into()));
        }
        if settings.port == 0 {
            return Err(DriverError::Config(
                "driver_config needs a port: serial lines (Modbus RTU) are not supported".into(),
            ));
        }
        Ok(settings)
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), String> {
        match key {
            "device_address" => self.host = text(value)?,
            "port" => self.port = whole(value, 0, 65_535)? as u16,
            "slave_id" => self.unit = whole(value, 0, 255)? as u8,
            "timeout" => {
                let seconds =
                    Number::from_value(value).map(Number::as_f64).filter(|s| (0.05..=600.0).contains(s));
                self.timeout =
                    Duration::from_secs_f64(seconds.ok_or("seconds between 0.05 and 600 are needed")?);
            }
            "connect_per_request" => self.connect_per_request = flag(value)?,
            "max_registers_per_read" => self.max_per_read = whole(value, 1, 125)? as u16,
            "write_multiple_registers" => self.write_multiple = flag(value)?,
            "addressing" => {
                self.addressing = match text(value)?.to_ascii_lowercase().as_str() {
                    "offset" => Addressing::Offset,
                    "offset_plus" => Addressing::OffsetPlus,
                    "address" => Addressing::Address,
                    _ => return Err("is none of offset, offset_plus, address".into()),
                }
            }
            "endian" => {
                self.order = match text(value)?.to_ascii_lowercase().as_str() {
                    "big" => Order::Big,
                    "little" => Order::Little,
                    _ => return Err("is neither big nor little".into()),
                }
            }
            "register_map" => {
                self.register_map = Rows::from_value(value).map_err(|error| error.to_string())?;
            }
            // Serial settings and the display name of modbus_tk: meaningless over TCP, and present in working entries.
            "name" | "baudrate" | "bytesize" | "parity" | "stopbits" | "xonxoff" => {}
            _ => tracing::warn!(key, "unknown key in the driver_config of a Modbus device"),
        }
        Ok(())
    }
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.trim().to_owned()),
        _ => Err("a text is needed".into()),
    }
}

fn whole(value: &Value, low: i128, high: i128) -> Result<i128, String> {
    let number = Number::from_value(value).and_then(Number::exact_int).filter(|n| (low..=high).contains(n));
    number.ok_or_else(|| format!("a whole number from {low} to {high} is needed"))
}

fn flag(value: &Value) -> Result<bool, String> {
    truth(value).ok_or_else(|| "true or false is needed".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_are_those_of_each_driver_type() {
        let plain = Settings::parse("modbus", &json!({"device_address": "10.0.0.1"})).expect("settings");
        assert_eq!((plain.port, plain.unit, plain.max_per_read), (502, 0, 100));
        let tk =
            Settings::parse("modbus_tk", &json!({"DEVICE_ADDRESS": "h", "Port": "1502"})).expect("settings");
        assert_eq!((tk.port, tk.unit), (1502, 1));
    }

    #[test]
    fn wrong_settings_are_named() {
        for (driver_type, config, text) in [
            ("modbus", json!([]), "must be an object"),
            ("modbus", json!({}), "needs a device_address"),
            ("modbus_tk", json!({"device_address": "/dev/ttyS0"}), "serial lines"),
            (
                "modbus",
                json!({"device_address": "h", "port": 70000}),
                "'port': a whole number from 0 to 65535",
            ),
            ("modbus", json!({"device_address": "h", "slave_id": "x"}), "'slave_id'"),
            ("modbus", json!({"device_address": 5}), "'device_address': a text"),
            ("modbus", json!({"device_address": "h", "endian": "pdp"}), "neither big nor little"),
            ("modbus", json!({"device_address": "h", "timeout": 0}), "seconds between"),
            ("modbus", json!({"device_address": "h", "register_map": "config://x"}), "'register_map'"),
        ] {
            let error = Settings::parse(driver_type, &config).expect_err("wrong").to_string();
            assert!(error.contains(text), "{config}: {error}");
        }
    }
}
