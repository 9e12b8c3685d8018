//! Coming up.

use std::fs;
use std::io::{PipeWriter, Write};
use std::process::Stdio;

use serde_json::Value;
use volttron_utils::keys::known_hosts::KnownHosts;

use super::process::{Volttron, mode, until};

#[test]
fn the_version_is_two_words_on_stdout() {
    let platform = Volttron::prepare();
    let output = platform.run(&["--version"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["volttron", env!("CARGO_PKG_VERSION")]);
    assert!(output.stderr.is_empty() && output.status.success());
}

#[tokio::test]
async fn everything_answers_once_the_pid_file_is_there() {
    let platform = Volttron::start();
    let admin = platform.admin().await;
    let peers = admin.peerlist().await.unwrap();
    for service in [
        "config.store",
        "platform.config_store",
        "platform.auth",
        "platform.health",
        "keydiscovery",
        admin.identity(),
    ] {
        assert!(peers.contains(service), "{service} is not in {peers:?}");
    }
    for (key, expected) in [
        ("platform-version", env!("CARGO_PKG_VERSION")),
        ("instance-name", "site1"),
        ("message-bus", "zmq"),
        ("serverkey", &platform.server_key().to_string()),
        ("addresses", &format!("[\"{}\"]", platform.address())),
        ("local_address", &format!("ipc://@{}/run/vip.socket", platform.home().display())),
        ("bind-web-address", ""),
    ] {
        let value = admin.query(key).await.unwrap().unwrap_or_default();
        assert_eq!(value, expected, "{key}");
    }
    for service in ["config.store", "platform.health", "keydiscovery", "platform.auth"] {
        let version: String = admin.call(service, "agent.version").send().await.unwrap();
        assert_eq!(version, env!("CARGO_PKG_VERSION"), "{service}");
    }
}

#[tokio::test]
async fn health_lists_services_and_agents_but_not_the_tool() {
    let platform = Volttron::start();
    let admin = platform.admin().await;
    let report: Value = admin.call("platform.health", "get_platform_health").send().await.unwrap();
    let report = report.as_object().unwrap();
    assert!(
        report.contains_key("config.store") && !report.keys().any(|k| k.starts_with("control.connection"))
    );
    let store = &report["config.store"];
    assert_eq!(store["service_agent"], true);
    assert!(!store["connected"].as_str().unwrap().contains('+'), "local and naive: {store}");
    assert!(store["connected_utc"].as_str().unwrap().ends_with("+00:00"));
}

#[test]
fn the_home_is_filled_as_others_expect_it() {
    let platform = Volttron::start();
    for (name, expected) in [
        ("keystore", 0o600),
        ("auth.json", 0o600),
        ("known_hosts", 0o644),
        ("VOLTTRON_PID", 0o644),
        ("keystores/control.connection/keystore.json", 0o600),
        ("agents", 0o755),
        ("configuration_store", 0o755),
        ("run", 0o755),
        ("certificates", 0o755),
    ] {
        assert_eq!(mode(&platform.file(name)), expected, "{name}");
    }
    let hosts = KnownHosts::load(&platform.file("known_hosts")).unwrap();
    for host in ["@", &format!("127.0.0.1:{}", platform.port)] {
        assert_eq!(hosts.get_host(host), Some(platform.server_key()), "{host}");
    }
    // The name was there (in quotes, as the configuration tool writes it); the bus is added, nothing else changes.
    let config = fs::read_to_string(platform.file("config")).unwrap();
    assert!(config.starts_with("[volttron]\n# by a test\n"), "{config}");
    assert!(
        config.contains("instance-name = \"site1\"\n") && config.ends_with("message-bus = zmq\n"),
        "{config}"
    );
    let instances =
        fs::read_to_string(platform.home().parent().unwrap().join(".volttron_instances")).unwrap();
    let instances: Value = serde_json::from_str(&instances).unwrap();
    let own = &instances[platform.home().to_str().unwrap()];
    assert_eq!(own["pid"], platform.pid());
    assert_eq!(own["vip-address"][0], platform.address());
}

#[test]
fn keys_that_are_there_are_used_and_never_replaced() {
    let mut platform = Volttron::start();
    let names = ["keystore", "keystores/control/keystore.json", "keystores/platform.auth/keystore.json"];
    let before = names.map(|n| fs::read(platform.file(n)).unwrap());
    platform.kill();
    platform.launch(&[]);
    assert_eq!(names.map(|n| fs::read(platform.file(n)).unwrap()), before);
}

#[test]
fn the_log_has_the_format_of_9_x_and_stderr_stays_silent() {
    let platform = Volttron::start();
    let log = until("a line about the start", || Some(platform.log()).filter(|l| l.contains("is up")));
    let line = log.lines().find(|l| l.contains("is up")).unwrap();
    // 2026-03-04 16:00:00,123 () volttron_server.platform.serve [50] INFO: platform site1 is up
    let (stamp, rest) = line.split_at(23);
    assert!(stamp.as_bytes()[10] == b' ' && stamp.as_bytes()[19] == b',', "{line}");
    assert!(
        rest.starts_with(" () volttron_server.") && rest.ends_with("] INFO: platform site1 is up"),
        "{line}"
    );
    assert_eq!(platform.stderr(), "");
}

#[test]
fn pipes_that_nobody_reads_do_not_hold_it_up() {
    let mut platform = Volttron::prepare();
    let (reader, writer) = std::io::pipe().unwrap();
    fill(&writer);
    let mut child = platform
        .command(&["-vv"])
        .stdout(writer.try_clone().unwrap())
        .stderr(Stdio::from(writer))
        .spawn()
        .unwrap();
    let pid = child.id().to_string();
    until("VOLTTRON_PID", || fs::read_to_string(platform.file("VOLTTRON_PID")).ok().filter(|t| *t == pid));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .unwrap();
    assert!(until("its end", || child.try_wait().unwrap()).success());
    drop(reader);
    platform.launch(&[]);
}

/// Writes until the pipe takes no more.
fn fill(writer: &PipeWriter) {
    let mut writer = writer.try_clone().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
}

#[tokio::test]
async fn without_authentication_everything_works_and_no_keys_are_made() {
    let mut platform = Volttron::prepare_with("allow-auth = False\n");
    platform.launch(&[]);
    let agent = platform.connect("plain", None).await;
    agent.call("config.store", "set_config").arg("plain").arg("a").arg("1").send_value().await.unwrap();
    let text: String = agent.call("config.store", "get_config").arg("plain").arg("a").send().await.unwrap();
    assert_eq!(text, "1");
    // No rules are served; agents of 10.x that look up capabilities all the same get an answer.
    let users = agent.call("platform.auth", "get_user_to_capabilities").send_value().await.unwrap();
    assert_eq!(users["config.store"], serde_json::json!({"sync_agent_config": null}));
    assert!(agent.call("platform.auth", "auth_file.read").send_value().await.is_err());
    for name in ["keystore", "auth.json", "known_hosts", "keystores"] {
        assert!(!platform.file(name).exists(), "{name}");
    }
}

#[test]
fn unknown_settings_are_named_with_their_line() {
    let mut platform = Volttron::prepare_with("vip-adress = tcp://127.0.0.1:1\n");
    platform.launch(&[]);
    let text = "config (line 5): unknown option: vip-adress (did you mean vip-address?)";
    until("the warning", || platform.log().contains(text).then_some(()));
}
