//! A real Modbus server for tests: pymodbus in a process of its own.

#![allow(clippy::print_stderr, reason = "a test that is left out must say so")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// The server; killed when dropped.
pub struct ModbusServer {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Where it listens.
    pub port: u16,
}

/// The interpreter with pymodbus: `VOLTTRON_TEST_PYTHON`, else a `python3` that can import it. `None` after saying
/// loudly that the test is left out; a panic where peers are required.
fn interpreter() -> Option<String> {
    if let Ok(python) = std::env::var("VOLTTRON_TEST_PYTHON") {
        return Some(python);
    }
    let importable = Command::new("python3")
        .args(["-c", "import pymodbus.datastore.context as c; c.ModbusBaseSlaveContext"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if importable {
        return Some("python3".into());
    }
    assert!(std::env::var_os("VOLTTRON_TEST_REQUIRE_PEERS").is_none(), "VOLTTRON_TEST_PYTHON is not set");
    eprintln!("LEFT OUT: this test needs Python with pymodbus 3.8; run it through `cargo xtask test`");
    None
}

impl ModbusServer {
    /// Starts a server on a free port.
    pub fn start() -> Option<Self> {
        Some(Self::start_with(&interpreter()?, 0))
    }

    /// Stops the server and starts an empty one on the same port.
    pub fn restart(self) -> Self {
        let port = self.stop();
        Self::start_with(&interpreter().expect("there was one before"), port)
    }

    /// Stops the server; gives the port that now refuses connections.
    pub fn stop(mut self) -> u16 {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server ends");
        self.port
    }

    fn start_with(python: &str, port: u16) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/modbus_server.py");
        let mut child = Command::new(python)
            .args([script, &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the Modbus server starts");
        let commands = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut server = Self { child, commands, answers, port };
        let ready = server.answer();
        server.port = u16::try_from(ready["port"].as_u64().expect("port")).expect("port");
        server
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the server answers");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the server said {line:?}"))
    }

    fn command(&mut self, command: &Value) -> Value {
        writeln!(self.commands, "{command}").expect("the server listens");
        self.answer()
    }

    /// Sets addresses of unit 1.
    pub fn set(&mut self, table: &str, address: u16, values: &Value) {
        self.command(&json!({"cmd": "set", "table": table, "address": address, "values": values}));
    }

    /// Reads addresses of unit 1.
    pub fn get(&mut self, table: &str, address: u16, count: u16) -> Value {
        self.command(&json!({"cmd": "get", "table": table, "address": address, "count": count}))
    }

    /// Makes an address of unit 1 illegal.
    pub fn drop_address(&mut self, table: &str, address: u16) {
        self.command(&json!({"cmd": "drop", "table": table, "address": address}));
    }

    /// `[function, address, count]` of the requests for words since the last call.
    pub fn requests(&mut self) -> Value {
        self.command(&json!({"cmd": "requests"}))
    }

    /// Answers nothing until released.
    pub fn hold(&mut self) {
        self.command(&json!({"cmd": "hold"}));
    }

    /// Answers again.
    pub fn release(&mut self) {
        self.command(&json!({"cmd": "release"}));
    }
}

impl Drop for ModbusServer {
    fn drop(&mut self) {
        // It may have been stopped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
