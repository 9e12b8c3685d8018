//! The agent: what the configuration store says becomes running devices; health says how they fare.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;
use volttron_client::driver::{Device, DeviceContext, DriverError, DriverFactory};
use volttron_client::{Action, Actions, Agent, AgentError, ConfigEvent, Cx, Registrar, Status as Health};

use crate::fake::FakeFactory;
use crate::fleet::{Fleet, NoDevice};
use crate::instance::{Instance, Running};
use crate::limits;
use crate::modbus::ModbusFactory;
use crate::outlet::Outlet;
use crate::overrides::Overrides;
use crate::replay::ReplayFactory;
use crate::settings::{DeviceSettings, MainSettings};

/// Beginning of the names of device entries.
const DEVICES: &str = "devices/";

/// How often health is brought up to date with devices that fall silent or come back.
const HEALTH_EVERY: Duration = Duration::from_secs(10);

/// Most devices in trouble that health lists one by one; `get_device_status` has them all.
const MAX_LISTED: usize = 50;

/// The platform driver agent.
#[derive(Default)]
pub struct PlatformDriver {
    fleet: Mutex<Fleet>,
    overrides: Mutex<Overrides>,
    pub(crate) overrides_changed: Notify,
    /// Made by the first configuration, as are the sockets.
    outlet: OnceLock<Arc<Outlet>>,
    modbus: OnceLock<ModbusFactory>,
    told_about_time_zones: AtomicBool,
    /// The main configuration while the store has none.
    defaults: Value,
    /// The first configuration was unusable; the process is to end with exit code 1.
    unusable: Arc<AtomicBool>,
}

impl Agent for PlatformDriver {
    const NAME: &'static str = "PlatformDriverAgent";

    fn register(b: &mut Registrar<Self>) {
        crate::rpc::register(b);
        b.on_setup(|agent: Arc<Self>, cx: Cx| async move {
            // Also without one in the store, a first configuration is delivered, before any device.
            let defaults = if agent.defaults.is_object() { agent.defaults.clone() } else { json!({}) };
            Ok(cx.config().set_default("config", defaults)?)
        })
        .config("config", Actions::ALL, Self::configured)
        .config("devices/*", Actions::ALL, Self::device_changed)
        .on_start(|agent: Arc<Self>, cx: Cx| async move {
            cx.spawn(agent.clone().end_overrides(cx.clone()));
            agent.report_health(&cx);
            Ok(())
        })
        .every(HEALTH_EVERY, |agent: Arc<Self>, cx: Cx| async move { agent.report_health(&cx) })
        .on_stop(Self::stopping);
    }
}

impl PlatformDriver {
    /// The agent. `defaults` is the main configuration while the store has none; `unusable` is set when the process
    /// should end with exit code 1.
    pub fn new(defaults: Value, unusable: Arc<AtomicBool>) -> Self {
        Self { defaults, unusable, ..Self::default() }
    }

    pub(crate) fn fleet(&self) -> MutexGuard<'_, Fleet> {
        // The table is consistent between its calls, so a panic elsewhere does not spoil it.
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn overrides(&self) -> MutexGuard<'_, Overrides> {
        self.overrides.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn outlet(&self) -> Arc<Outlet> {
        let fixed = || self.fleet().main().fixed;
        self.outlet.get_or_init(|| Arc::new(Outlet::new(&fixed()))).clone()
    }

    async fn configured(self: Arc<Self>, cx: Cx, event: ConfigEvent) -> Result<(), AgentError> {
        let first = self.outlet.get().is_none();
        let config = event.contents.unwrap_or_else(|| json!({}));
        let before: MainSettings = self.fleet().main().clone();
        match before.updated(&config, first) {
            Ok((main, warnings)) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                self.fleet().set_main(main);
            }
            Err(error) => {
                tracing::error!("{error}; the driver cannot run with this and ends");
                self.unusable.store(true, Ordering::SeqCst);
                cx.stop();
                return Ok(());
            }
        }
        if first {
            self.outlet();
            self.load_overrides(&cx).await;
        }
        Ok(())
    }

    /// Before the first device: a device must not be writable for a moment after a restart.
    async fn load_overrides(&self, cx: &Cx) {
        if let Ok(stored) = cx.config().get::<Value>("override_patterns").await {
            *self.overrides() = Overrides::from_value(&stored, Timestamp::now());
        }
    }

    async fn device_changed(self: Arc<Self>, cx: Cx, event: ConfigEvent) -> Result<(), AgentError> {
        let Some(path) = path_of(&event.name) else { return Ok(()) };
        let was_failed = matches!(self.fleet().get(&path), Err(NoDevice::Failed(_)));
        let meanwhile = DriverError::Config("the device is being reconfigured".into());
        let running = self.fleet().take(&path, meanwhile);
        if let Some(running) = running {
            running.stop().await;
        }
        let mut failed = false;
        match (event.action, event.contents) {
            (Action::Delete, _) | (_, None) => self.fleet().remove(&path),
            (_, Some(entry)) => {
                if let Err(error) = self.start_device(&cx, &path, &entry) {
                    tracing::error!(path, "the device cannot run: {error}");
                    self.fleet().put_failed(&path, error);
                    failed = true;
                }
            }
        }
        let outlet = self.outlet();
        if outlet.is_measuring() {
            outlet.expect_devices(self.fleet().running_count());
        }
        // Health looks at every device, so only when this one makes a difference.
        if failed || was_failed {
            self.report_health(&cx);
        }
        // A thousand entries come in a row at start; calls and heartbeats must get their turn in between.
        tokio::task::yield_now().await;
        Ok(())
    }

    fn start_device(&self, cx: &Cx, path: &str, entry: &Value) -> Result<(), DriverError> {
        let (mut settings, warnings) = DeviceSettings::parse(entry)?;
        for warning in warnings {
            tracing::warn!(path, "{warning}");
        }
        if !settings.tz.is_empty() && !self.told_about_time_zones.swap(true, Ordering::Relaxed) {
            tracing::info!(path, "'timezone' only labels the metadata; all times are published in UTC");
        }
        let factory = self.factory(&settings.driver_type)?;
        let context = DeviceContext { path, driver_type: &settings.driver_type };
        // The tables are large and of no use once the registers are built.
        let (config, rows) = (std::mem::take(&mut settings.driver_config), settings.registry.take());
        let device = Device::new(factory.configure(&context, &config, rows)?)?;
        let status = self.fleet().status(path);
        let instance = Instance::new(path, device, &settings.tz, settings.heart_beat_point.clone(), status)?;
        let outlet = self.outlet();
        let mut fleet = self.fleet();
        let place = fleet.place(&settings, path);
        fleet.put(Running::start(instance, place.plan, cx, outlet), settings, place);
        Ok(())
    }

    fn factory(&self, driver_type: &str) -> Result<&dyn DriverFactory, DriverError> {
        match driver_type.to_ascii_lowercase().as_str() {
            "fake" | "fakedriver" => Ok(&FakeFactory),
            "csv" | "csv_replay" => Ok(&ReplayFactory),
            "modbus" | "modbus_tk" => {
                let sockets = || limits::sockets(self.fleet().main().fixed.max_open_sockets);
                Ok(self.modbus.get_or_init(|| ModbusFactory::new(sockets())))
            }
            _ => Err(DriverError::Config(format!(
                "driver_type '{driver_type}' is not known: this driver speaks modbus, modbus_tk, fakedriver and csv_replay"
            ))),
        }
    }

    /// Health is BAD while any device cannot run or is silent; the context says which.
    fn report_health(&self, cx: &Cx) {
        let (devices, in_trouble, troubles) = {
            let fleet = self.fleet();
            let (listed, count) = fleet.troubles(MAX_LISTED);
            (fleet.count(), count, listed)
        };
        let status = if in_trouble == 0 { Health::Good } else { Health::Bad };
        let context = json!({
            "devices": devices,
            "in_trouble": in_trouble,
            "publications_lost": self.outlet().dropped(),
            "troubles": troubles,
        });
        let report = cx.health().report();
        if report.status != status || report.context != context {
            cx.health().set(status, context);
        }
    }

    async fn stopping(self: Arc<Self>, _: Cx) -> Result<(), AgentError> {
        let running = self.fleet().take_all();
        futures_util::future::join_all(running.into_iter().map(Running::stop)).await;
        Ok(())
    }
}

/// The device path of a configuration entry: its name without `devices/` (in any case).
fn path_of(name: &str) -> Option<String> {
    let head = name.get(..DEVICES.len())?;
    let path = head.eq_ignore_ascii_case(DEVICES).then(|| name[DEVICES.len()..].trim_matches('/'))?;
    (!path.is_empty()).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_entry_makes_the_path() {
        for (name, path) in [
            ("devices/Campus/b1/AHU 3", Some("Campus/b1/AHU 3")),
            ("Devices/x/", Some("x")),
            ("devices/", None),
            ("dev", None),
            ("registry_configs/a.csv", None),
        ] {
            assert_eq!(path_of(name).as_deref(), path, "{name}");
        }
    }

    #[test]
    fn every_documented_driver_type_is_known() {
        let agent = PlatformDriver::default();
        for name in ["fake", "fakedriver", "csv", "csv_replay", "modbus", "modbus_tk", "FakeDriver"] {
            assert!(agent.factory(name).is_ok(), "{name}");
        }
        let error = agent.factory("bacnet").err().expect("unknown").to_string();
        assert!(error.contains("'bacnet' is not known"), "{error}");
    }
}
