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

/// Parses the bytes of a registry CSV as a Modbus device would and plans its requests, for every way to number the
/// registers; gives the most requests of a scrape. Entry for fuzzing and for checking a file without a device: any
/// input must come back with an answer.
pub fn check_registry(csv: &[u8]) -> Result<usize, DriverError> {
    let rows = Rows::from_csv(csv)?;
    let mut requests: Result<usize, DriverError> =
        Err(DriverError::Config("no way to number registers is known".into()));
    for addressing in ["offset", "offset_plus", "address"] {
        let config = serde_json::json!({ "device_address": "localhost", "addressing": addressing });
        let settings = settings::Settings::parse("modbus", &config)?;
        let planned = registry::parse(&settings, Some(rows.clone()))
            .map(|map| plan::plan(&map.registers, 0..map.registers.len(), settings.max_per_read).len());
        requests = match (requests, planned) {
            (Ok(most), Ok(one)) => Ok(most.max(one)),
            (Err(_), one) => one,
            (most, Err(_)) => most,
        };
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_at_the_ends_of_the_numbers_are_answered() {
        for address in ["-9223372036854775808", "9223372036854775807", "-0x8000000000000000"] {
            let csv = format!("Register Name,Address,Type\na,{address},uint16\n");
            assert!(check_registry(csv.as_bytes()).is_err(), "{address}");
        }
    }

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
