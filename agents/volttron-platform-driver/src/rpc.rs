//! The methods of `platform.driver` (drivers.md sections 7 and 10).
//!
//! Every method is open to all authenticated peers, reads and writes alike: any agent that reaches the driver could
//! always write, and installations rely on it. Sites restrict `set_*`, `revert_*` and the override methods with
//! `rpc_method_authorizations`. The one exception is the method that only the BACnet proxy has use for.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use volttron_client::driver::{DriverError, Kwargs};
use volttron_client::utils::pattern::fnmatch;
use volttron_client::utils::topic::strip_devices;
use volttron_client::{Access, Cx, Method, Registrar, Request, RpcError};

use crate::agent::PlatformDriver;
use crate::fleet::NoDevice;
use crate::instance::Instance;

/// Who delivers changes of value of BACnet devices.
const BACNET_PROXY: &str = "platform.bacnet_proxy";

/// Reverts under way at once after an override was set.
const REVERTS_AT_ONCE: usize = 64;

/// Pause between two staggered reverts.
const STAGGER: Duration = Duration::from_millis(50);

pub(crate) fn register(b: &mut Registrar<PlatformDriver>) {
    let method = |name: &str| Method::new(name, Access::Open);
    let point = |name: &str| method(name).param("path").param("point_name");
    b.rpc(point("get_point").var_kwargs().doc("Reads one point of a device."), PlatformDriver::get_point)
        .rpc(
            point("set_point")
                .param("value")
                .var_kwargs()
                .doc("Writes one point; gives the value now in force."),
            PlatformDriver::set_point,
        )
        .rpc(
            method("scrape_all").param("path").doc("Reads all points of a device; publishes nothing."),
            PlatformDriver::scrape_all,
        )
        .rpc(
            method("get_multiple_points")
                .param("path")
                .param("point_names")
                .var_kwargs()
                .doc("Reads several points; gives a map of values and a map of errors."),
            PlatformDriver::get_multiple_points,
        )
        .rpc(
            method("set_multiple_points")
                .param("path")
                .param("point_names_values")
                .var_kwargs()
                .doc("Writes several points; gives a map of the failures."),
            PlatformDriver::set_multiple_points,
        )
        .rpc(
            method("heart_beat").doc("Writes the next heartbeat to every device that has a point for it."),
            PlatformDriver::heart_beat,
        )
        .rpc(
            point("revert_point").var_kwargs().doc("Puts a point back to its default."),
            PlatformDriver::revert_point,
        )
        .rpc(
            method("revert_device")
                .param("path")
                .var_kwargs()
                .doc("Puts all points of a device back to their defaults."),
            PlatformDriver::revert_device,
        )
        .rpc(
            method("set_override_on")
                .param("pattern")
                .optional("duration", 0.0)
                .optional("failsafe_revert", true)
                .optional("staggered_revert", false)
                .doc("Locks matching devices against writes, for seconds or (0) until turned off."),
            PlatformDriver::set_override_on,
        )
        .rpc(
            method("set_override_off").param("pattern").doc("Turns off exactly this override."),
            PlatformDriver::set_override_off,
        )
        .rpc(
            method("get_override_devices").doc("Paths of the locked devices."),
            PlatformDriver::get_override_devices,
        )
        .rpc(
            method("get_override_patterns").doc("The active patterns."),
            PlatformDriver::get_override_patterns,
        )
        .rpc(method("clear_overrides").doc("Turns off all overrides."), PlatformDriver::clear_overrides)
        .rpc(
            method("get_device_status")
                .optional("path", Value::Null)
                .doc("State and counters of a device, or of all devices by path."),
            PlatformDriver::get_device_status,
        )
        .rpc(
            Method::new("forward_bacnet_cov_value", Access::Callers(vec![BACNET_PROXY.to_owned()]))
                .param("source_address")
                .param("point_name")
                .param("point_values")
                .doc("Publishes changes of value that the BACnet proxy was told."),
            PlatformDriver::forward_bacnet_cov_value,
        );
}

/// A driver error with the exception type that callers compare.
fn raised(error: &DriverError) -> RpcError {
    RpcError::exception(error.exc_type(), error.to_string())
}

fn override_error(text: String) -> RpcError {
    RpcError::exception("__main__.OverrideError", text)
}

type Answer<T> = Result<T, RpcError>;

// Handlers are async because the registrar takes futures, also where nothing is awaited.
#[allow(clippy::unused_async)]
impl PlatformDriver {
    /// The device that argument `path` names: as written, or with `devices/` in front and slashes around it.
    fn device(&self, request: &Request) -> Answer<Arc<Instance>> {
        let given: String = request.arg("path")?;
        self.device_at(&given)
    }

    fn device_at(&self, given: &str) -> Answer<Arc<Instance>> {
        let path = given.trim_matches('/');
        let fleet = self.fleet();
        let found = fleet.get(path).or_else(|error| match error {
            NoDevice::Unknown(_) => fleet.get(strip_devices(path)),
            failed @ NoDevice::Failed(_) => Err(failed),
        });
        found.map_err(|error| match error {
            NoDevice::Unknown(path) => RpcError::key_error(path),
            NoDevice::Failed(error) => {
                let text = format!("device {path} cannot be used: {error}");
                raised(&DriverError::Config(text))
            }
        })
    }

    /// The device, unless an override forbids `what`.
    fn writable_device(&self, request: &Request, what: &str) -> Answer<Arc<Instance>> {
        let device = self.device(request)?;
        if self.overrides().covers(&device.path, Timestamp::now()) {
            return Err(override_error(format!(
                "Cannot {what} {} since global override is set",
                device.path
            )));
        }
        Ok(device)
    }

    async fn get_point(self: Arc<Self>, request: Request) -> Answer<Value> {
        let device = self.device(&request)?;
        let point: String = request.arg("point_name")?;
        device.device.get_point(&point, request.extra()).await.map_err(|error| raised(&error))
    }

    async fn set_point(self: Arc<Self>, request: Request) -> Answer<Value> {
        let device = self.writable_device(&request, "set point on device")?;
        let (point, value): (String, Value) = (request.arg("point_name")?, request.arg("value")?);
        device.device.set_point(&point, &value, request.extra()).await.map_err(|error| raised(&error))
    }

    async fn scrape_all(self: Arc<Self>, request: Request) -> Answer<Map<String, Value>> {
        let device = self.device(&request)?;
        let scrape = device.device.scrape().await.map_err(|error| raised(&error))?;
        Ok(device.device.named(&scrape))
    }

    async fn get_multiple_points(self: Arc<Self>, request: Request) -> Answer<Value> {
        let device = self.device(&request)?;
        let points: Vec<String> = request.arg("point_names")?;
        let given: String = request.arg("path")?;
        let (values, errors) = device.device.get_multiple(&points, request.extra()).await;
        let values: Map<String, Value> =
            values.into_iter().map(|(point, value)| (key(&given, &point), value)).collect();
        Ok(json!([values, failures(&given, errors)]))
    }

    async fn set_multiple_points(self: Arc<Self>, request: Request) -> Answer<Map<String, Value>> {
        let device = self.writable_device(&request, "set point on device")?;
        let points: Vec<(String, Value)> = request.arg("point_names_values")?;
        let given: String = request.arg("path")?;
        Ok(failures(&given, device.device.set_multiple(&points, request.extra()).await))
    }

    async fn heart_beat(self: Arc<Self>, _: Request) -> Answer<()> {
        let devices = self.fleet().running();
        join_all(devices.iter().map(|device| device.heart_beat())).await;
        Ok(())
    }

    async fn revert_point(self: Arc<Self>, request: Request) -> Answer<()> {
        let device = self.writable_device(&request, "revert point on device")?;
        let point: String = request.arg("point_name")?;
        device.device.revert_point(&point, request.extra()).await.map_err(|error| raised(&error))
    }

    async fn revert_device(self: Arc<Self>, request: Request) -> Answer<()> {
        let device = self.writable_device(&request, "revert device")?;
        revert_logged(&device, request.extra()).await;
        Ok(())
    }

    async fn get_device_status(self: Arc<Self>, request: Request) -> Answer<Value> {
        let Some(given) = request.arg::<Option<String>>("path")? else {
            return Ok(Value::Object(self.fleet().statuses(None)));
        };
        let path = given.trim_matches('/');
        let fleet = self.fleet();
        let one = |path: &str| fleet.statuses(Some(path)).into_iter().next().map(|(_, status)| status);
        one(path).or_else(|| one(strip_devices(path))).ok_or_else(|| RpcError::key_error(path))
    }

    async fn set_override_on(self: Arc<Self>, request: Request) -> Answer<()> {
        let pattern: String = request.arg("pattern")?;
        let duration_s: f64 = request.arg("duration")?;
        let (revert, staggered): (bool, bool) =
            (request.arg("failsafe_revert")?, request.arg("staggered_revert")?);
        let now = Timestamp::now();
        let changed = self.overrides().set(&pattern, duration_s, now);
        if changed {
            self.overrides_changed.notify_one();
            self.store_overrides(&request.cx).await;
        }
        if revert {
            let devices: Vec<_> = {
                let running = self.fleet().running();
                running.into_iter().filter(|device| fnmatch(&pattern, &device.path)).collect()
            };
            // All devices are locked by now; a dead one only delays its own revert.
            request.cx.spawn(revert_all(devices, staggered));
        }
        Ok(())
    }

    async fn set_override_off(self: Arc<Self>, request: Request) -> Answer<()> {
        let pattern: String = request.arg("pattern")?;
        let was_on = {
            let mut overrides = self.overrides();
            overrides.expire(Timestamp::now());
            overrides.off(&pattern)
        };
        if !was_on {
            return Err(override_error(format!("Override pattern {pattern} is not active")));
        }
        self.store_overrides(&request.cx).await;
        Ok(())
    }

    async fn get_override_devices(self: Arc<Self>, _: Request) -> Answer<Vec<String>> {
        let now = Timestamp::now();
        let fleet = self.fleet();
        let overrides = self.overrides();
        Ok(fleet.paths().filter(|path| overrides.covers(path, now)).map(str::to_owned).collect())
    }

    async fn get_override_patterns(self: Arc<Self>, _: Request) -> Answer<Vec<String>> {
        let mut overrides = self.overrides();
        overrides.expire(Timestamp::now());
        Ok(overrides.patterns())
    }

    async fn clear_overrides(self: Arc<Self>, request: Request) -> Answer<()> {
        let changed = self.overrides().clear();
        if changed {
            self.store_overrides(&request.cx).await;
        }
        Ok(())
    }

    async fn forward_bacnet_cov_value(self: Arc<Self>, request: Request) -> Answer<()> {
        let given: String = request.arg("source_address")?;
        let device = self.device_at(&given)?;
        let point: String = request.arg("point_name")?;
        let values: Map<String, Value> = request.arg("point_values")?;
        let (flags, outlet) = (self.fleet().flags(&device.path), self.outlet());
        for (_, value) in values.into_iter().filter(|(property, _)| property != "statusFlags") {
            let published = device.publish_change(&request.cx, &outlet, &point, value, flags).await;
            published.map_err(|error| raised(&error))?;
        }
        Ok(())
    }

    /// Keeps the overrides over restarts, in the original's form: a JSON text.
    async fn store_overrides(&self, cx: &Cx) {
        let text = self.overrides().to_value().to_string();
        if let Err(error) = cx.config().set("override_patterns", text).await {
            tracing::error!("overrides could not be stored and will be lost with a restart: {error}");
        }
    }

    /// Lets overrides end at their time; runs as long as the agent.
    pub(crate) async fn end_overrides(self: Arc<Self>, cx: Cx) {
        loop {
            let expired = self.overrides().expire(Timestamp::now());
            if expired {
                self.store_overrides(&cx).await;
            }
            let next = self.overrides().next_end();
            match next {
                None => self.overrides_changed.notified().await,
                Some(at) => {
                    // At most a minute, in case the clock is set meanwhile.
                    let left =
                        at.duration_since(Timestamp::now()).max(jiff::SignedDuration::ZERO).unsigned_abs();
                    let pause = left.min(Duration::from_mins(1)) + Duration::from_millis(1);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.overrides_changed.notified() => {}
                    }
                }
            }
        }
    }
}

fn key(path: &str, point: &str) -> String {
    format!("{path}/{point}")
}

fn failures(path: &str, errors: Vec<(String, DriverError)>) -> Map<String, Value> {
    errors.into_iter().map(|(point, error)| (key(path, &point), error.repr().into())).collect()
}

async fn revert_logged(device: &Instance, kw: &Kwargs) {
    for (point, error) in device.device.revert_all(kw).await {
        tracing::error!(path = device.path, "point {point} could not be reverted: {error}");
    }
}

async fn revert_all(devices: Vec<Arc<Instance>>, staggered: bool) {
    if staggered {
        for device in devices {
            revert_logged(&device, &Kwargs::new()).await;
            tokio::time::sleep(STAGGER).await;
        }
    } else {
        let reverts =
            stream::iter(devices).map(|device| async move { revert_logged(&device, &Kwargs::new()).await });
        reverts.buffer_unordered(REVERTS_AT_ONCE).collect::<()>().await;
    }
}
