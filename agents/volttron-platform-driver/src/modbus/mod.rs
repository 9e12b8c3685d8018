//! Modbus TCP (driver types `modbus` and `modbus_tk`; drivers.md 9.2 and 9.3).
//!
//! Owns: the registry columns of both original drivers ([`registry`]), layouts and transforms of values ([`codec`],
//! [`transform`]), the plan of requests ([`plan`]), connections ([`line`]) and the device ([`ModbusFactory`]). All but
//! the last two are pure. Never knows about topics, schedules or who may write.

pub mod codec;
mod device;
pub mod line;
pub mod number;
pub mod plan;
pub mod registry;
pub mod settings;
pub mod transform;

pub use device::ModbusFactory;

use volttron_client::driver::{DriverError, Rows};

/// Parses the bytes of a registry CSV as a Modbus device would and plans its requests; gives the number of requests of
/// a scrape. Entry for fuzzing and for checking a file without a device: any input must come back with an answer.
pub fn check_registry(csv: &[u8]) -> Result<usize, DriverError> {
    let rows = Rows::from_csv(csv)?;
    let config = serde_json::json!({ "device_address": "localhost" });
    let settings = settings::Settings::parse("modbus", &config)?;
    let map = registry::parse(&settings, Some(rows))?;
    Ok(plan::plan(&map.registers, 0..map.registers.len(), settings.max_per_read).len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = check_registry(&bytes);
        }

        #[test]
        fn any_cells_are_answered(
            rows in prop::collection::vec(("[ -~]{0,6}", "(>|<|)[a-zA-Z0-9?]{0,4}|array\\(int16,[0-9]{1,3}\\)", "-?[0-9x]{0,6}", "(|coil|holding|input)", "(|true|false)", "[a-z_0-9()]{0,14}"), 0..8),
        ) {
            let head = "Volttron Point Name,Modbus Register,Point Address,Table,Writable,Transform".to_owned();
            let lines = rows.into_iter().map(|(name, kind, address, table, writable, transform)| {
                format!("{name},\"{kind}\",{address},{table},{writable},{transform}")
            });
            let csv = std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n");
            let _ = check_registry(csv.as_bytes());
        }
    }
}
