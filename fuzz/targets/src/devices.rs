//! Bytes as the platform driver's configuration and as the registers of a device.

use jiff::Timestamp;
use serde_json::Value;
use volttron_platform_driver::modbus::codec::{Codec, Order};
use volttron_platform_driver::modbus::number::Number;
use volttron_platform_driver::modbus::{settings, transform::Transform};
use volttron_platform_driver::overrides::Overrides;
use volttron_platform_driver::settings::{DeviceSettings, MainSettings};
use volttron_utils::json;

/// The bytes as a document: the driver's main entry, a device's entry, a Modbus `driver_config`, stored overrides.
pub fn driver_config(data: &[u8]) {
    let Ok(document) = json::from_slice::<Value>(data) else { return };
    for first in [true, false] {
        if let Ok((main, _)) = MainSettings::default().updated(&document, first) {
            let (again, _) = main.updated(&document, false).expect("a later update is never unusable");
            assert_eq!(again.fixed, main.fixed);
        }
    }
    if let Ok((device, _)) = DeviceSettings::parse(&document) {
        assert!(device.interval.as_secs() >= 1, "{:?}", device.interval);
    }
    for kind in ["modbus", "modbus_tk"] {
        let _ = settings::Settings::parse(kind, &document);
    }
    let now: Timestamp = "2026-03-04T16:00:00.5Z".parse().expect("a time");
    let overrides = Overrides::from_value(&document, now);
    let again = Overrides::from_value(&overrides.to_value(), now);
    assert_eq!(again.patterns(), overrides.patterns());
    let _ = overrides.covers("campus/building/unit", now);
}

/// The bytes as a type, a transform and the registers of a device, separated by line ends. What a device can say is a
/// value or an error; a value that is written back gives the same registers.
pub fn registers(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (kind, transform) = (text(), text());
    let raw = parts.next().unwrap_or_default();
    let words: Vec<u16> = raw.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    for order in [Order::Big, Order::Little] {
        let Ok(codec) = Codec::parse(&kind, order) else { continue };
        for mixed in [false, true] {
            let Some(own) = words.get(..usize::from(codec.words())) else { continue };
            let Ok(value) = codec.decode(own, mixed) else { continue };
            let Ok(written) = codec.encode(&value, mixed) else { continue };
            assert_eq!(written.len(), own.len());
            let again = codec.decode(&written, mixed).expect("what was written can be read");
            let shown = value.into_value();
            assert!(json::to_string(&shown).is_ok());
            if !shown.is_null() {
                assert_eq!(again.into_value(), shown);
            }
        }
    }
    let number = words.first().map(|word| Number::Int(i128::from(*word)));
    if let (Ok(Some(transform)), Some(number)) = (Transform::parse(&transform), number) {
        for scaling in [None, Some(Number::Int(0)), Some(Number::Float(0.5)), Some(Number::Int(-7))] {
            if let Ok(applied) = transform.apply(number, scaling) {
                let _ = transform.invert(applied, scaling);
            }
        }
    }
    if let Some(number) = Number::parse(&transform) {
        let _ = (number.exact_int(), number.times(number), number.to_value());
    }
}
