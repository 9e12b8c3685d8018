//! dropin.md, Environment.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use volttron_client::Connection;
use volttron_client::link::zmq::ZmqConnector;
use volttron_tests::programs::{free_port, program};
use volttron_tests::wait::until;

use crate::site::{LONG, Mode};

/// A platform started the way a script does it; ended when dropped.
struct Started {
    child: Child,
}

impl Started {
    fn end(mut self) -> (String, String) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("signal the platform");
        // The pipes are read only now, when nobody has read them for all its life.
        let mut texts = (String::new(), String::new());
        self.child.stdout.take().expect("piped").read_to_string(&mut texts.0).expect("text");
        self.child.stderr.take().expect("piped").read_to_string(&mut texts.1).expect("text");
        assert!(self.child.wait().expect("it ends").success());
        texts
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// `volttron -vv -lLOG` with nothing but the variables that scripts give, its outputs pipes.
fn start(home_of_user: &Path, variables: &[(&str, &str)], log: &Path) -> Started {
    // An early entry of PATH with a directory of the server's name.
    let decoy = home_of_user.join("decoy");
    fs::create_dir_all(decoy.join("volttron")).expect("a directory");
    let programs = program("volttron").parent().expect("a directory").to_owned();
    let system = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([decoy, programs].into_iter().chain(std::env::split_paths(&system)))
        .expect("a PATH");
    let mut joined = OsString::from("-l");
    joined.push(log);
    let child = Command::new("volttron")
        .env_clear()
        .env("HOME", home_of_user)
        .env("PATH", path)
        .envs([
            ("PACKAGED_DIR", "/nonexistent"),
            ("DEBUG", "1"),
            ("DEBUG_MODE", "True"),
            ("SKIP_CLEANUP", "1"),
            ("LANG", "xx_XX.UTF-8"),
            ("LC_ALL", "xx_XX.UTF-8"),
            ("PYTHONDONTWRITEBYTECODE", "1"),
            ("VOLTTRON_ROOT", "/nonexistent"),
        ])
        .envs(variables.iter().copied())
        .arg("-vv")
        .arg(joined)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start volttron");
    Started { child }
}

fn ready(home: &Path, started: &Started) {
    let pid = started.child.id().to_string();
    until("VOLTTRON_PID", LONG, || {
        fs::read_to_string(home.join("VOLTTRON_PID")).ok().filter(|text| *text == pid)
    });
}

fn config(home: &Path, mode: Mode) -> u16 {
    let port = free_port();
    fs::create_dir_all(home).expect("a home");
    let mode = if mode == Mode::Open { "allow-auth = False\n" } else { "" };
    let text = format!("[volttron]\nvip-address = tcp://127.0.0.1:{port}\ninstance-name = site1\n{mode}");
    fs::write(home.join("config"), text).expect("write config");
    port
}

async fn without_volttron_home_it_lives_in_dot_volttron(mode: Mode) {
    let user = tempfile::tempdir().expect("a directory");
    let home = user.path().join(".volttron");
    config(&home, mode);
    let started = start(user.path(), &[], &user.path().join("v.log"));
    tokio::task::block_in_place(|| ready(&home, &started));
    assert!(home.join("configuration_store").is_dir());
    started.end();
}

async fn with_a_log_file_unread_pipes_get_next_to_nothing(mode: Mode) {
    let user = tempfile::tempdir().expect("a directory");
    let home = user.path().join("vh");
    let port = config(&home, mode);
    let log = user.path().join("elsewhere.log");
    let started = start(user.path(), &[("VOLTTRON_HOME", home.to_str().expect("text"))], &log);
    tokio::task::block_in_place(|| ready(&home, &started));
    // Far more log than a pipe holds: every refused call is a line.
    let address: volttron_utils::address::Address =
        format!("tcp://127.0.0.1:{port}").parse().expect("an address");
    let mut connector = ZmqConnector::new(address).expect("a connector");
    if mode == Mode::Authenticated {
        let pair = |name: &str| volttron_utils::keys::keystore::load(&home.join(name)).expect("keys");
        connector = connector
            .keys(pair("keystores/control.connection/keystore.json"))
            .serverkey(pair("keystore").public);
    }
    let options = volttron_client::ConnectOptions::new(connector).identity("control.connection.1");
    let connection = Connection::open(options).await.expect("it serves");
    let long = "x".repeat(2000);
    while fs::metadata(&log).expect("the log file").len() < 300_000 {
        let call = connection.call("control", &format!("no.such.method.{long}"));
        call.timeout(Duration::from_secs(10)).send_value().await.expect_err("no such method");
    }
    connection.peerlist().await.expect("it still serves");
    connection.close().await;
    let (out, err) = started.end();
    println!("stdout {} bytes, stderr {} bytes", out.len(), err.len());
    assert!(out.len() + err.len() < 4096, "stdout: {out}\nstderr: {err}");
}

crate::in_both_modes! {
    without_volttron_home_it_lives_in_dot_volttron,
    with_a_log_file_unread_pipes_get_next_to_nothing,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_variable_auth_enabled_turns_authentication_off() {
    let user = tempfile::tempdir().expect("a directory");
    let home = user.path().join("vh");
    let port = config(&home, Mode::Authenticated);
    let variables = [("VOLTTRON_HOME", home.to_str().expect("text")), ("AUTH_ENABLED", "False")];
    let started = start(user.path(), &variables, &user.path().join("v.log"));
    tokio::task::block_in_place(|| ready(&home, &started));
    let address: volttron_utils::address::Address =
        format!("tcp://127.0.0.1:{port}").parse().expect("an address");
    let connector = ZmqConnector::new(address).expect("a connector");
    let options = volttron_client::ConnectOptions::new(connector).identity("anybody");
    let anybody = Connection::open(options).await.expect("no key is needed");
    let stored = anybody
        .call("config.store", "set_config")
        .arg("anybody")
        .arg("config")
        .arg("text")
        .named("config_type", "raw")
        .send_value()
        .await;
    assert_eq!(stored.expect("everybody may"), json!(null));
    anybody.close().await;
    started.end();
}
