//! The platform driver: reads devices on a schedule, publishes what it read and serves writes.
//!
//! Owns the protocols it speaks, the configuration of devices, their tasks and the global write lock. What every driver
//! shares is in `volttron_client::driver`. Never decides who may write beyond that lock: schedules and priorities are
//! the actuator's.
//!
//! Start reading at [`PlatformDriver`], then `instance`.
//!
//! | module | owns |
//! |---|---|
//! | `agent` | configuration events, health |
//! | `rpc` | the methods |
//! | `fleet` | the table of devices and their slots |
//! | `instance` | one device's task: schedule, scrape, publish |
//! | `outlet`, `rounds` | publications under way, measured when asked for |
//! | [`overrides`], [`settings`], `status`, `limits` | one thing each |
//! | [`modbus`], [`fake`], [`replay`] | protocols |

mod agent;
pub mod fake;
mod fleet;
mod instance;
pub mod limits;
pub mod modbus;
mod outlet;
pub mod overrides;
pub mod replay;
mod rounds;
mod rpc;
pub mod settings;
mod status;

pub use agent::PlatformDriver;
