//! What an operator can see of the bus: statistics, per-peer counters, connections, passing messages, metrics.

use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use volttron_client::link::zmq::ZmqConnector;
use volttron_client::{ConnectOptions, Connection};
use volttron_tests::platform::Platform;
use volttron_tests::probe;
use volttron_tests::wait::until;

fn control(platform: &Platform, method: &str) -> Value {
    platform.vctl_json(&["call", "control", method])
}

fn start(platform: &Platform, args: &[&str]) -> Child {
    let mut command = platform.command("vctl");
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().expect("start vctl")
}

fn watching(platform: &Platform) {
    until("the watch to begin", Duration::from_secs(30), || {
        control(platform, "bus_meter")["watches"].as_u64().filter(|&n| n > 0)
    });
}

#[test]
fn statistics_count_names_while_they_are_on() {
    let platform = Platform::start();
    assert_eq!(control(&platform, "stats.enabled"), false);
    assert_eq!(control(&platform, "stats.enable"), Value::Null);
    assert_eq!(control(&platform, "stats.enabled"), true);
    platform.vctl_ok(&["pub", "test/x", "1"]);
    let stats = control(&platform, "stats.get");
    let counts = |direction: &str, table: &str| stats[direction][table].clone();
    assert!(counts("incoming", "subsystem")["pubsub"].as_u64() >= Some(1), "{stats}");
    assert_eq!(counts("outgoing", "subsystem")["pubsub"], 1, "one answer to one publish: {stats}");
    assert!(counts("incoming", "subsystem")["hello"].as_u64() >= Some(1), "{stats}");
    assert!(counts("outgoing", "peer")["control"].as_u64() >= Some(1), "{stats}");
    assert!(stats["start"].is_number() && stats.get("end").is_none(), "{stats}");
    control(&platform, "stats.disable");
    let stopped = control(&platform, "stats.get");
    assert!(stopped["end"].as_f64() > stopped["start"].as_f64(), "{stopped}");
    platform.vctl_ok(&["pub", "test/x", "1"]);
    assert_eq!(control(&platform, "stats.get"), stopped, "nothing is counted while they are off");
    control(&platform, "stats.enable");
    assert!(
        control(&platform, "stats.get")["outgoing"]["subsystem"].get("pubsub").is_none(),
        "enabling resets"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_peer_and_each_failed_connection_is_counted() {
    let platform = Platform::start();
    let keys = platform.admit("prober", &json!({}));
    let peer = probe::peer("prober", &platform.address(), &platform.server_key(), keys).await;
    peer.publish("test/x", &"x".repeat(10_000)).await.expect("published");
    let before = control(&platform, "bus_meter");
    let counted = &before["peers"]["prober"];
    let bytes = counted["received_bytes"].as_u64();
    assert!(bytes > Some(10_000) && bytes < Some(20_000), "{counted}");
    assert!(counted["received"].as_u64() >= Some(2) && counted["sent"].as_u64() >= Some(2), "{counted}");
    assert!(before["connections"]["handshakes"].as_u64() >= Some(1), "{before}");

    // Another server key: libzmq drops the connection before the router or the authenticator hear of it.
    let wrong = volttron_client::utils::keys::KeyPair::generate();
    let connector = ZmqConnector::new(platform.address().parse().expect("an address")).expect("a connector");
    let connector = connector.keys(volttron_client::utils::keys::KeyPair::generate()).serverkey(wrong.public);
    let options = ConnectOptions::new(connector).identity("lost").timeout(Duration::from_secs(2));
    assert!(Connection::open(options).await.is_err());
    let failed = control(&platform, "bus_meter")["connections"]["failed_protocol"].as_u64();
    assert!(failed > before["connections"]["failed_protocol"].as_u64(), "{failed:?}");
    assert!(platform.log().contains("another server key"), "{}", platform.log());
}

#[test]
fn passing_messages_are_shown_with_what_became_of_them() {
    let platform = Platform::start();
    let watch = start(&platform, &["--json", "watch", "--topic", "test/", "--count", "1", "--for", "60"]);
    watching(&platform);
    platform.vctl_ok(&["pub", "other/x", "1"]);
    platform.vctl_ok(&["pub", "test/x", "{\"a\": 1}"]);
    let output = watch.wait_with_output().expect("vctl watch ends");
    assert!(output.status.success(), "{output:?}");
    let shown: Value = serde_json::from_slice(&output.stdout).expect("a JSON line");
    assert_eq!(
        (&shown["subsystem"], &shown["outcome"]),
        (&"pubsub".into(), &"delivered to 0".into()),
        "{shown}"
    );
    assert_eq!(shown["args"][1], "test/x");

    let watch = start(&platform, &["watch", "nobody", "--count", "1", "--for", "60"]);
    watching(&platform);
    let _ = platform.vctl(&["--timeout", "2", "call", "nobody", "method"]);
    let output = watch.wait_with_output().expect("vctl watch ends");
    let line = String::from_utf8(output.stdout).expect("text");
    assert!(line.contains(" -> nobody  RPC  ") && line.ends_with("[recipient is not connected]\n"), "{line}");
    // One that nobody asks any more, and may not be asked by everybody.
    assert_eq!(
        platform.vctl(&["watch", "--count", "1", "--for", "0.1", "--topic", "x"]).status.code(),
        Some(75)
    );
}

/// `GET` over a unix socket or a port, as a monitoring system does it.
fn scrape(mut to: impl std::io::Read + std::io::Write, path: &str) -> (String, String) {
    write!(to, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    to.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a header");
    (head.to_owned(), body.to_owned())
}

#[test]
fn metrics_are_served_on_a_socket_a_port_and_by_vctl() {
    use std::os::unix::fs::PermissionsExt;
    let mut platform = Platform::start();
    let socket = platform.home().join("run/metrics.socket");
    assert_eq!(std::fs::metadata(&socket).expect("there").permissions().mode() & 0o777, 0o600);
    platform.vctl_ok(&["pub", "test/x", "1"]);
    let connect = || std::os::unix::net::UnixStream::connect(&socket).expect("served");
    let (head, body) = scrape(connect(), "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("application/openmetrics-text"), "{head}");
    for line in [
        "volttron_pubsub_published_total ",
        "volttron_peer_received_messages_total{peer=\"control\"} ",
        "volttron_bus_messages_total{outcome=\"to_router\"} ",
        "volttron_connections_total{event=\"handshake\"} ",
        "volttron_auth_decisions_total{decision=\"allowed\"} ",
        "volttron_config_store_writes_total ",
        "volttron_process_resident_memory_bytes ",
        "volttron_health_good{peer=\"config.store\"} 1.0",
    ] {
        assert!(body.lines().any(|l| l.starts_with(line)), "{line} is missing in:\n{body}");
    }
    assert!(body.ends_with("# EOF\n"));
    assert!(scrape(connect(), "/other").0.starts_with("HTTP/1.1 404 "));
    let told = platform.vctl_ok(&["metrics"]);
    assert!(told.contains("volttron_peers ") && told.contains("# TYPE volttron_peers gauge"), "{told}");

    assert_eq!(platform.terminate(), 0);
    assert!(!socket.exists(), "removed with the platform");
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    platform.configure(&format!("metrics-address = {free}"));
    platform.launch();
    let (head, body) = scrape(std::net::TcpStream::connect(free).expect("served"), "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 ") && body.contains("volttron_uptime_seconds "), "{head}");
    assert!(!socket.exists());
}
