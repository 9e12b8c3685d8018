//! The whole way of a reading: a Modbus device (a real pymodbus server), the platform driver, the bus, the historian's
//! database and its query answer; and a set point the other way. All programs are the real ones.

use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use volttron_client::Connection;
use volttron_tests::lines::Lines;
use volttron_tests::platform::Platform;
use volttron_tests::probe::peer;
use volttron_tests::programs::program;
use volttron_tests::python::interpreter;
use volttron_tests::wait::until;

const PATIENCE: Duration = Duration::from_secs(30);

/// A pymodbus server in a process of its own, steered over its standard input.
struct Device {
    child: Child,
    commands: ChildStdin,
    answers: Lines,
    port: u64,
}

impl Device {
    fn start(python: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../agents/volttron-platform-driver/tests/modbus_server.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg("0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the Modbus server");
        let commands = child.stdin.take().expect("piped");
        let mut answers = Lines::new(child.stdout.take().expect("piped"));
        let port = answers.expect("the port", PATIENCE, |line| line["port"].is_u64())["port"]
            .as_u64()
            .expect("a port");
        Self { child, commands, answers, port }
    }

    fn ask(&mut self, command: &Value) -> Value {
        writeln!(self.commands, "{command}").expect("the server reads commands");
        self.answers.expect("an answer", PATIENCE, |_| true)
    }

    fn set(&mut self, table: &str, address: u16, values: &[u16]) {
        self.ask(&json!({"cmd": "set", "table": table, "address": address, "values": values}));
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The two words of a float, low word first.
fn swapped(value: f32) -> [u16; 2] {
    let bits = value.to_bits();
    [(bits & 0xFFFF) as u16, (bits >> 16) as u16]
}

const REGISTRY: &str = "\
Volttron Point Name,Units,Modbus Register,Writable,Point Address,Mixed Endian,Transform,Table
SupplyTemp,degreesFahrenheit,>f,FALSE,10,TRUE,,holding
SetPoint,degreesFahrenheit,>H,TRUE,14,,scale(0.1),
FanOn,On/Off,BOOL,TRUE,5,,,
";

fn install(platform: &Platform, name: &str, identity: &str) {
    let path = program(name);
    let path = path.to_str().expect("a path");
    let done = platform.vctl_json(&["install", path, "--vip-identity", identity, "--start"]);
    assert_eq!(done["started"], true, "{done}");
}

async fn query(cx: &Connection, point: &str) -> Vec<Value> {
    let call = cx.call("platform.historian", "query").named("topic", format!("campus/b1/rtu/{point}"));
    let answer = call.named("order", "LAST_TO_FIRST").send::<Value>().await.expect("the historian answers");
    answer["values"].as_array().cloned().unwrap_or_default()
}

#[test]
fn readings_of_a_modbus_device_reach_the_history_and_set_points_the_device() {
    let Some(python) = interpreter() else { return };
    let mut device = Device::start(&python);
    device.set("h", 10, &swapped(55.25));
    device.set("h", 14, &[685]);
    device.set("c", 5, &[1]);

    let mut platform = Platform::prepare();
    let keys = platform.admit("viewer", &json!({}));
    platform.launch();
    let write = |name: &str, text: &str| {
        let path = platform.home().join(name);
        std::fs::write(&path, text).expect("write a file");
        path.to_str().expect("a path").to_owned()
    };
    let registry = write("rtu.csv", REGISTRY);
    let settings = json!({
        "driver_type": "modbus", "interval": 1, "registry_config": "config://registry_configs/rtu.csv",
        "driver_config": {"device_address": "127.0.0.1", "port": device.port, "slave_id": 1}
    });
    let settings = write("rtu.json", &settings.to_string());
    platform.vctl_ok(&["config", "store", "platform.driver", "registry_configs/rtu.csv", &registry, "--csv"]);
    platform.vctl_ok(&["config", "store", "platform.driver", "devices/campus/b1/rtu", &settings]);
    install(&platform, "volttron-sql-historian", "platform.historian");
    install(&platform, "volttron-platform-driver", "platform.driver");

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let viewer = runtime.block_on(peer("viewer", &platform.address(), &platform.server_key(), keys));
    let mut readings = runtime.block_on(viewer.subscribe("devices/campus/b1/rtu/all")).expect("subscribe");
    let reading = runtime.block_on(readings.next()).expect("a reading");
    assert_eq!(reading.sender, "platform.driver");
    let message: Value = reading.json().expect("JSON");
    assert_eq!(message[0], json!({"SupplyTemp": 55.25, "SetPoint": 68.5, "FanOn": true}));
    assert_eq!(message[1]["SupplyTemp"], json!({"units": "degreesFahrenheit", "type": "float", "tz": ""}));

    // The historian has exactly what was published, at the time of the header.
    let time = reading.headers.get("TimeStamp").and_then(Value::as_str).expect("a time").to_owned();
    let stored = until("the reading in the history", PATIENCE, || {
        let rows = runtime.block_on(query(&viewer, "SupplyTemp"));
        rows.into_iter().find(|row| row[0] == time.as_str())
    });
    assert_eq!(stored[1], 55.25);

    // What changes in the device changes in the history.
    device.set("h", 10, &swapped(-3.5));
    until("the new value in the history", PATIENCE, || {
        let rows = runtime.block_on(query(&viewer, "SupplyTemp"));
        (rows.first()?[1] == -3.5).then_some(())
    });

    // A set point reaches the register.
    let set = |point: &str, value: Value| {
        let call = viewer.call("platform.driver", "set_point").arg("campus/b1/rtu").arg(point).arg(value);
        runtime.block_on(call.send::<Value>()).expect("set_point")
    };
    assert_eq!(set("SetPoint", json!(70.5)), json!(70.5));
    assert_eq!(device.ask(&json!({"cmd": "get", "table": "h", "address": 14, "count": 1})), json!([705]));
    set("FanOn", json!(false));
    let coil = device.ask(&json!({"cmd": "get", "table": "c", "address": 5, "count": 1}));
    assert!(coil == json!([0]) || coil == json!([false]), "{coil}");
    runtime.block_on(viewer.close());
}
