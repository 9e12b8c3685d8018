//! The whole agent on an in-memory platform: configuration in, publications and answers out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::ModbusServer;
use serde_json::{Value, json};
use volttron_client::testing::{TestPlatform, Watch};
use volttron_client::utils::time::parse_timestamp;
use volttron_client::{AgentHandle, CallError, Connection, Publication};
use volttron_platform_driver::PlatformDriver;

const IDENTITY: &str = "platform.driver";

struct Bench {
    platform: TestPlatform,
    peer: Connection,
    agent: AgentHandle,
}

impl Bench {
    /// A platform whose store holds `entries` when the driver starts.
    async fn with(entries: &[(&str, Value)]) -> Self {
        let platform = TestPlatform::new().await;
        for (name, contents) in entries {
            platform.set_config(IDENTITY, name, contents.clone()).await;
        }
        let agent = platform.agent(IDENTITY, PlatformDriver::default()).await;
        let peer = platform.peer("tester").await;
        Self { platform, peer, agent }
    }

    async fn call(&self, method: &str, args: Value) -> Result<Value, CallError> {
        let args = args.as_array().expect("arguments").clone();
        args.into_iter().fold(self.peer.call(IDENTITY, method), volttron_client::Call::arg).send_value().await
    }

    async fn ok(&self, method: &str, args: Value) -> Value {
        self.call(method, args).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    async fn raises(&self, method: &str, args: Value) -> (String, String) {
        let error = self.call(method, args).await.expect_err(method);
        (error.exc_type().unwrap_or_else(|| panic!("{error:?}")).to_owned(), error.to_string())
    }

    async fn set(&self, name: &str, contents: Value) {
        self.platform.set_config(IDENTITY, name, contents).await;
    }
}

fn registry() -> Value {
    json!([
        {"Point Name": "SAT", "Volttron Point Name": "SupplyTemp", "Units": "degreesFahrenheit", "Writable": "FALSE", "Starting Value": "55.4", "Type": "float"},
        {"Point Name": "Fan", "Volttron Point Name": "FanOn", "Units": "Enum", "Writable": "TRUE", "Starting Value": "1", "Type": "integer"},
        {"Point Name": "Beat", "Volttron Point Name": "beat", "Units": "", "Writable": "TRUE", "Starting Value": "0", "Type": "bool"},
    ])
}

fn fake(extra: &Value) -> Value {
    let mut entry = json!({
        "driver_type": "fakedriver", "driver_config": {}, "registry_config": registry(), "interval": 1,
        "timezone": "US/Pacific",
    });
    entry.as_object_mut().expect("object").extend(extra.as_object().expect("object").clone());
    entry
}

async fn next_on(watch: &mut Watch, topic: &str) -> Publication {
    loop {
        let publication = watch.next().await;
        if publication.topic == topic {
            return publication;
        }
    }
}

const META: &str = r#"{"SupplyTemp": {"units": "degreesFahrenheit", "type": "float", "tz": "US/Pacific"}, "FanOn": {"units": "Enum", "type": "integer", "tz": "US/Pacific"}, "beat": {"units": "", "type": "boolean", "tz": "US/Pacific"}}"#;

#[tokio::test]
async fn a_scrape_is_published_byte_for_byte() {
    let bench = Bench::with(&[("devices/nrel/rsf/ahu3", fake(&json!({})))]).await;
    let mut watch = bench.platform.watch("devices/").await;
    let all = watch.next().await;
    assert_eq!(all.topic, "devices/nrel/rsf/ahu3/all");
    assert_eq!(all.sender, IDENTITY);
    let message = std::str::from_utf8(&all.message).expect("text");
    assert_eq!(message, format!(r#"[{{"SupplyTemp": 55.4, "FanOn": 1, "beat": false}}, {META}]"#));

    let header = |name: &str| all.headers.get_str(name).unwrap_or_else(|| panic!("no {name}")).to_owned();
    let names: Vec<&str> = all.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["Date", "TimeStamp", "SynchronizedTimeStamp", "min_compatible_version", "max_compatible_version"]
    );
    assert_eq!(header("Date"), header("TimeStamp"));
    for name in ["TimeStamp", "SynchronizedTimeStamp"] {
        let text = header(name);
        assert!(
            text.len() == 32 && text.ends_with("+00:00") && text.as_bytes()[10] == b'T',
            "{name}: {text}"
        );
    }
    assert!(
        header("SynchronizedTimeStamp").ends_with(":00")
            && header("SynchronizedTimeStamp").contains(".000000")
    );
    let time = |name: &str| parse_timestamp(&header(name)).expect("time").or_utc();
    assert!(time("TimeStamp") >= time("SynchronizedTimeStamp"));
}

#[tokio::test]
async fn four_forms_in_order_and_switched_live() {
    let flags = json!({"publish_depth_first": true, "publish_breadth_first": true, "publish_breadth_first_all": true});
    let bench = Bench::with(&[("config", flags), ("devices/c/b/u", fake(&json!({})))]).await;
    let mut watch = bench.platform.watch("devices/").await;
    next_on(&mut watch, "devices/all/u/b/c").await;
    let mut topics = Vec::new();
    while topics.len() < 8 {
        topics.push(watch.next().await.topic);
    }
    assert_eq!(
        topics,
        [
            "devices/c/b/u/SupplyTemp",
            "devices/SupplyTemp/u/b/c",
            "devices/c/b/u/FanOn",
            "devices/FanOn/u/b/c",
            "devices/c/b/u/beat",
            "devices/beat/u/b/c",
            "devices/c/b/u/all",
            "devices/all/u/b/c",
        ]
    );
    bench.set("config", json!({})).await;
    // A round under way may still be told in the old form; afterwards only `all` is left.
    let mut in_a_row = 0;
    while in_a_row < 2 {
        in_a_row = if watch.next().await.topic == "devices/c/b/u/all" { in_a_row + 1 } else { 0 };
    }
}

#[tokio::test]
async fn points_are_read_written_and_put_back() {
    let bench = Bench::with(&[("devices/Campus/B1/ahu", fake(&json!({"interval": 3600})))]).await;
    for path in ["Campus/B1/ahu", "/Campus/B1/ahu/", "devices/Campus/B1/ahu"] {
        assert_eq!(bench.ok("get_point", json!([path, "SupplyTemp"])).await, json!(55.4), "{path}");
    }
    let path = "Campus/B1/ahu";
    assert_eq!(bench.ok("set_point", json!([path, "FanOn", "7"])).await, json!(7));
    assert_eq!(
        bench.ok("scrape_all", json!([path])).await,
        json!({"SupplyTemp": 55.4, "FanOn": 7, "beat": false})
    );
    assert_eq!(bench.ok("revert_point", json!([path, "FanOn"])).await, Value::Null);
    assert_eq!(bench.ok("get_point", json!([path, "FanOn"])).await, json!(1));
    assert_eq!(
        bench.ok("set_multiple_points", json!([path, [["FanOn", 3], ["SupplyTemp", 1], ["nope", 1]]])).await,
        json!({
            "Campus/B1/ahu/SupplyTemp": "OSError('Trying to write to a point configured read only: SupplyTemp')",
            "Campus/B1/ahu/nope": "DriverInterfaceError('Point not configured on device: nope')",
        })
    );
    assert_eq!(
        bench.ok("get_multiple_points", json!([path, ["FanOn", "nope"]])).await,
        json!([
            {"Campus/B1/ahu/FanOn": 3},
            {"Campus/B1/ahu/nope": "DriverInterfaceError('Point not configured on device: nope')"},
        ])
    );
    assert_eq!(bench.ok("revert_device", json!([path])).await, Value::Null);
    assert_eq!(bench.ok("get_point", json!([path, "FanOn"])).await, json!(1));
    // Named arguments as Python clients send them.
    let named = bench.peer.call(IDENTITY, "set_point").named("path", path).named("point_name", "FanOn");
    assert_eq!(named.named("value", 9).named("priority", 8).send_value().await.expect("set"), json!(9));
}

#[tokio::test]
async fn errors_have_the_types_that_clients_compare() {
    let bench = Bench::with(&[
        ("devices/a/b/ok", fake(&json!({"interval": 3600}))),
        ("devices/a/b/broken", json!({"driver_type": "carrier pigeon", "driver_config": {}})),
        ("devices/a/b/row", fake(&json!({"registry_config": [{"Point Name": "p", "Type": "complex"}]}))),
    ])
    .await;
    let config_error = "platform_driver.driver_exceptions.DriverConfigError";
    for (method, args, exc_type, text) in [
        ("get_point", json!(["a/b/none", "x"]), "builtins.KeyError", "a/b/none"),
        ("get_point", json!(["A/b/ok", "SupplyTemp"]), "builtins.KeyError", "A/b/ok"),
        (
            "get_point",
            json!(["a/b/ok", "x"]),
            "platform_driver.interfaces.DriverInterfaceError",
            "Point not configured on device: x",
        ),
        ("set_point", json!(["a/b/ok", "SupplyTemp", 1]), "builtins.OSError", "read only"),
        ("set_point", json!(["a/b/ok", "FanOn", "x"]), "builtins.ValueError", "integer"),
        ("set_point", json!(["a/b/ok", "FanOn"]), "builtins.TypeError", "value"),
        ("get_point", json!(["a/b/broken", "x"]), config_error, "'carrier pigeon' is not known"),
        ("scrape_all", json!(["a/b/row"]), config_error, "registry row 2, column 'Type'"),
        ("get_device_status", json!(["a/b/none"]), "builtins.KeyError", "a/b/none"),
    ] {
        let (got, message) = bench.raises(method, args.clone()).await;
        assert_eq!(got, exc_type, "{method} {args}");
        assert!(message.contains(text), "{method} {args}: {message}");
    }
    let status = bench.ok("get_device_status", json!([])).await;
    assert_eq!(status["a/b/ok"]["state"], "RUNNING");
    assert!(status["a/b/broken"]["state"].as_str().is_some_and(|s| s.starts_with("FAILED(")), "{status}");
    let health = bench.ok("health.get_status", json!([])).await;
    let health: Value =
        health.as_str().map_or(health.clone(), |text| serde_json::from_str(text).expect("health"));
    assert_eq!(health["status"], "BAD");
    assert_eq!(health["context"]["in_trouble"], 2);

    // Correcting the entry heals it without a restart.
    bench.set("devices/a/b/broken", fake(&json!({"interval": 3600}))).await;
    bench.set("devices/a/b/row", fake(&json!({"interval": 3600}))).await;
    until(async || bench.call("get_point", json!(["a/b/row", "FanOn"])).await.is_ok()).await;
    assert_eq!(bench.ok("get_point", json!(["a/b/broken", "FanOn"])).await, json!(1));
}

/// Repeats a question until it is answered with yes; the test's own limit ends it otherwise.
async fn until(mut question: impl AsyncFnMut() -> bool) {
    let asked = async {
        while !question().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), asked).await.expect("it becomes true");
}

#[tokio::test]
async fn devices_come_change_and_go_live() {
    let bench = Bench::with(&[]).await;
    let mut watch = bench.platform.watch("devices/").await;
    bench.set("registry_configs/fake.csv", registry()).await;
    let entry = fake(&json!({"registry_config": "config://registry_configs/fake.csv"}));
    bench.set("devices/x/y/z", entry).await;
    next_on(&mut watch, "devices/x/y/z/all").await;

    // The linked table changes, and with it the device.
    bench
        .set(
            "registry_configs/fake.csv",
            json!([{"Point Name": "n", "Volttron Point Name": "new", "Type": "int", "Starting Value": "4"}]),
        )
        .await;
    loop {
        let message: Value = next_on(&mut watch, "devices/x/y/z/all").await.json().expect("json");
        if message[0] == json!({"new": 4}) {
            assert_eq!(message[1], json!({"new": {"units": null, "type": "integer", "tz": "US/Pacific"}}));
            break;
        }
    }
    bench.platform.delete_config(IDENTITY, "devices/x/y/z").await;
    until(async || bench.call("get_point", json!(["x/y/z", "new"])).await.is_err()).await;
    assert_eq!(bench.ok("get_device_status", json!([])).await, json!({}));
}

#[tokio::test]
async fn overrides_lock_devices_and_survive_a_restart() {
    let bench = Bench::with(&[
        ("devices/Campus/B1/AHU1", fake(&json!({"interval": 3600}))),
        ("devices/Campus/B2/ahu2", fake(&json!({"interval": 3600}))),
    ])
    .await;
    bench.ok("set_point", json!(["Campus/B1/AHU1", "FanOn", 5])).await;
    bench.ok("set_override_on", json!(["Campus/B1/*"])).await;
    for (method, args) in [
        ("set_point", json!(["Campus/B1/AHU1", "FanOn", 2])),
        ("set_multiple_points", json!(["Campus/B1/AHU1", []])),
        ("revert_point", json!(["Campus/B1/AHU1", "FanOn"])),
        ("revert_device", json!(["Campus/B1/AHU1"])),
    ] {
        let (exc_type, text) = bench.raises(method, args).await;
        assert_eq!(exc_type, "__main__.OverrideError", "{method}");
        assert!(text.contains("Campus/B1/AHU1 since global override is set"), "{text}");
    }
    // Reading goes on, other devices can be written, and the failsafe put the device back.
    until(async || bench.ok("get_point", json!(["Campus/B1/AHU1", "FanOn"])).await == 1).await;
    bench.ok("set_point", json!(["Campus/B2/ahu2", "FanOn", 2])).await;
    bench.ok("set_override_on", json!(["*2", 3600, false])).await;
    assert_eq!(
        bench.ok("get_override_devices", json!([])).await,
        json!(["Campus/B1/AHU1", "Campus/B2/ahu2"])
    );
    assert_eq!(bench.ok("get_override_patterns", json!([])).await, json!(["*2", "Campus/B1/*"]));
    assert_eq!(
        bench.ok("get_point", json!(["Campus/B2/ahu2", "FanOn"])).await,
        json!(2),
        "no failsafe asked for"
    );

    let Bench { platform, peer, agent } = bench;
    agent.stop().await;
    let agent = platform.agent(IDENTITY, PlatformDriver::default()).await;
    let bench = Bench { platform, peer, agent };
    assert_eq!(
        bench.raises("set_point", json!(["Campus/B1/AHU1", "FanOn", 2])).await.0,
        "__main__.OverrideError"
    );
    // A device that is added later is locked as well.
    bench.set("devices/Campus/B1/AHU9", fake(&json!({"interval": 3600}))).await;
    until(async || bench.call("get_point", json!(["Campus/B1/AHU9", "FanOn"])).await.is_ok()).await;
    assert_eq!(
        bench.raises("set_point", json!(["Campus/B1/AHU9", "FanOn", 2])).await.0,
        "__main__.OverrideError"
    );

    assert_eq!(bench.raises("set_override_off", json!(["Campus/B1/AHU1"])).await.0, "__main__.OverrideError");
    bench.ok("set_override_off", json!(["Campus/B1/*"])).await;
    bench.ok("set_point", json!(["Campus/B1/AHU1", "FanOn", 2])).await;
    bench.ok("clear_overrides", json!([])).await;
    bench.ok("set_point", json!(["Campus/B2/ahu2", "FanOn", 3])).await;
    bench.agent.stop().await;
}

#[tokio::test]
async fn an_override_ends_by_itself() {
    let bench = Bench::with(&[("devices/a", fake(&json!({"interval": 3600})))]).await;
    bench.ok("set_override_on", json!(["a", 0.3])).await;
    assert_eq!(bench.ok("get_override_patterns", json!([])).await, json!(["a"]));
    until(async || bench.call("set_point", json!(["a", "FanOn", 2])).await.is_ok()).await;
    assert_eq!(bench.ok("get_override_devices", json!([])).await, json!([]));
}

#[tokio::test]
async fn heartbeats_flip_the_point_and_ignore_overrides() {
    let bench =
        Bench::with(&[("devices/a", fake(&json!({"interval": 3600, "heart_beat_point": "beat"})))]).await;
    bench.ok("set_override_on", json!(["*"])).await;
    for beat in [true, false, true] {
        bench.ok("heart_beat", json!([])).await;
        assert_eq!(bench.ok("get_point", json!(["a", "beat"])).await, json!(beat));
    }
    bench.set("devices/b", fake(&json!({"heart_beat_point": "SupplyTemp"}))).await;
    until(async || bench.ok("get_device_status", json!([])).await["b"].is_object()).await;
    let (_, text) = bench.raises("get_point", json!(["b", "beat"])).await;
    assert!(text.contains("heart_beat_point 'SupplyTemp' is read-only"), "{text}");
}

#[tokio::test]
async fn changes_of_value_come_from_the_proxy_alone() {
    let bench = Bench::with(&[("devices/a/b", fake(&json!({"interval": 3600})))]).await;
    let args = json!(["a/b", "SupplyTemp", {"presentValue": 60.5, "statusFlags": [0, 0]}]);
    assert!(bench.call("forward_bacnet_cov_value", args.clone()).await.is_err());
    let mut watch = bench.platform.watch("devices/").await;
    let proxy = bench.platform.peer("platform.bacnet_proxy").await;
    let call = args
        .as_array()
        .expect("list")
        .iter()
        .fold(proxy.call(IDENTITY, "forward_bacnet_cov_value"), volttron_client::Call::arg);
    call.send_value().await.expect("published");
    let change = watch.next().await;
    assert_eq!(change.topic, "devices/a/b/all");
    assert_eq!(
        std::str::from_utf8(&change.message),
        Ok(format!(r#"[{{"SupplyTemp": 60.5}}, {META}]"#).as_str())
    );
    assert_eq!(change.headers.get("SynchronizedTimeStamp"), None);
}

#[tokio::test]
async fn an_unusable_first_configuration_ends_the_agent() {
    let platform = TestPlatform::new().await;
    platform.set_config(IDENTITY, "config", json!({"max_open_sockets": "many"})).await;
    let unusable = Arc::new(AtomicBool::new(false));
    let agent = platform
        .builder(IDENTITY, PlatformDriver::new(Value::Null, unusable.clone()))
        .spawn()
        .await
        .expect("spawns");
    agent.joined().await;
    assert!(unusable.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_slow_device_is_left_out_and_delays_nobody() {
    let Some(mut server) = ModbusServer::start() else { return };
    server.set("i", 0, &json!([1]));
    let slow = json!({
        "driver_type": "modbus",
        "driver_config": {"device_address": "127.0.0.1", "port": server.port, "slave_id": 1, "timeout": 60},
        "registry_config": [{"Volttron Point Name": "p", "Modbus Register": ">H", "Point Address": "0"}],
        "interval": 1,
    });
    server.hold();
    let bench = Bench::with(&[("devices/slow", slow), ("devices/quick", fake(&json!({})))]).await;
    let mut watch = bench.platform.watch("devices/").await;
    until(async || bench.ok("get_device_status", json!(["slow"])).await["overruns"] != json!(0)).await;
    next_on(&mut watch, "devices/quick/all").await;
    server.release();
    let late: Value = next_on(&mut watch, "devices/slow/all").await.json().expect("json");
    assert_eq!(late[0], json!({"p": 1}));
}

#[tokio::test]
async fn modbus_values_reach_the_bus_and_writes_reach_the_device() {
    let Some(mut server) = ModbusServer::start() else { return };
    server.set("h", 0, &json!([0x999A, 0x425D, 553]));
    let entry = json!({
        "driver_type": "modbus_tk",
        "driver_config": {"device_address": "127.0.0.1", "port": server.port, "slave_id": 1, "timeout": 5},
        "registry_config": [
            {"Volttron Point Name": "SupplyTemp", "Units": "F", "Address": "0", "Type": "float", "Mixed Endian": "TRUE", "Writable": "TRUE"},
            {"Volttron Point Name": "kW", "Units": "kW", "Address": "2", "Type": "uint16", "Transform": "scale(0.1)", "Writable": "TRUE"},
        ],
        "interval": 1,
    });
    let bench = Bench::with(&[("devices/plant/meter", entry)]).await;
    let mut watch = bench.platform.watch("devices/").await;
    let message = watch.next().await;
    assert_eq!(
        std::str::from_utf8(&message.message),
        Ok(
            r#"[{"SupplyTemp": 55.400001525878906, "kW": 55.3}, {"SupplyTemp": {"units": "F", "type": "float", "tz": ""}, "kW": {"units": "kW", "type": "float", "tz": ""}}]"#
        )
    );
    assert_eq!(bench.ok("set_point", json!(["plant/meter", "kW", 20.5])).await, json!(20.5));
    assert_eq!(server.get("h", 2, 1), json!([205]));
    server.stop();
    until(async || bench.ok("get_device_status", json!(["plant/meter"])).await["failures"] != json!(0)).await;
    assert_eq!(bench.raises("get_point", json!(["plant/meter", "kW"])).await.0, "builtins.OSError");
}
