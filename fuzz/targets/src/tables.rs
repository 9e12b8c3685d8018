//! Bytes as tables: device registries and recorded data.

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use volttron_client::driver::{DeviceContext, Driver, DriverFactory, Kwargs, Rows};
use volttron_platform_driver::fake::FakeFactory;
use volttron_platform_driver::modbus;
use volttron_platform_driver::replay::ReplayFactory;
use volttron_utils::config::csv_to_json;

const DEVICE: DeviceContext<'static> = DeviceContext { path: "campus/building/unit", driver_type: "fuzz" };

/// The bytes as a registry of a Modbus and of a fake device. Points of an accepted one have different names, and all
/// of them can be asked for.
pub fn registry_csv(data: &[u8]) {
    let _ = csv_to_json(&String::from_utf8_lossy(data));
    let _ = modbus::check_registry(data);
    let Ok(rows) = Rows::from_csv(data) else { return };
    for row in &rows.0 {
        assert!(row.number >= 2, "the header is row 1");
        assert_eq!(
            Rows::from_value(&json!([row.clone().into_cells()])).ok().flatten().map(|r| r.0.len()),
            Some(1)
        );
    }
    if let Ok(driver) = FakeFactory.configure(&DEVICE, &json!({}), Some(rows)) {
        let known = read_all(&*driver);
        assert_eq!(known, driver.points().len());
    }
}

/// The bytes as a recording that the replay driver plays: cut in two at a zero byte, the second part is the registry.
pub fn replay_csv(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let Ok(rows) = Rows::from_csv(parts.next().unwrap_or_default()) else { return };
    let registry = parts.next().and_then(|bytes| Rows::from_csv(bytes).ok());
    let recording: Value = rows.0.into_iter().map(|row| Value::Object(row.into_cells())).collect();
    for repeat in [true, false] {
        let config = json!({ "data": &recording, "loop": repeat, "speed": 3600.0 });
        let Ok(driver) = ReplayFactory.configure(&DEVICE, &config, registry.clone()) else { continue };
        let known = read_all(&*driver);
        assert_eq!(known, driver.points().len());
        for id in (0..known).filter(|id| !driver.points()[*id].read_only) {
            for value in [json!(1), json!("true"), json!(null), json!("x")] {
                let _ = driver.write(id, &value, &Kwargs::new()).now_or_never();
            }
        }
        read_all(&*driver);
    }
}

/// Reads every point; gives how many answered, with a value or an error.
fn read_all(driver: &dyn Driver) -> usize {
    let ids: Vec<usize> = (0..driver.points().len()).collect();
    let readings = driver.read(&ids, &Kwargs::new()).now_or_never().expect("these drivers do not wait");
    readings.expect("these drivers have no connection to lose").len()
}
