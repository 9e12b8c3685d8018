//! Going away, in every way.

use std::fs;
use std::net::TcpStream;

use rustix::process::Signal;

use super::process::{Volttron, until};

#[test]
fn signals_end_it_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut platform = Volttron::start();
        platform.signal(signal);
        assert_eq!(platform.wait(), 0, "{signal:?}: {}", platform.stderr());
        assert!(!platform.file("VOLTTRON_PID").exists());
        assert!(TcpStream::connect(("127.0.0.1", platform.port)).is_err());
        let instances =
            fs::read_to_string(platform.home().parent().unwrap().join(".volttron_instances")).unwrap();
        assert_eq!(instances, "{}");
    }
}

#[test]
fn a_successor_may_start_before_the_end() {
    let mut platform = Volttron::start();
    for _ in 0..3 {
        platform.signal(Signal::TERM);
        // Not waited for: the next one starts on the same home and port at once.
        let mut old = platform.take();
        let pid = platform.spawn(&[]);
        platform.wait_ready(pid);
        assert!(until("the predecessor's end", || old.try_wait().unwrap()).success());
        let written = fs::read_to_string(platform.file("VOLTTRON_PID")).unwrap();
        assert_eq!(written, pid.to_string(), "the predecessor did not take the successor's file with it");
    }
}

#[test]
fn a_killed_platform_leaves_a_home_that_starts_again() {
    let mut platform = Volttron::start();
    platform.kill();
    assert!(platform.file("VOLTTRON_PID").exists());
    platform.launch(&[]);
    platform.signal(Signal::TERM);
    assert_eq!(platform.wait(), 0);
}

#[test]
fn a_pid_file_of_somebody_else_stays() {
    let mut platform = Volttron::start();
    fs::write(platform.file("VOLTTRON_PID"), "1").unwrap();
    platform.signal(Signal::TERM);
    assert_eq!(platform.wait(), 0);
    assert_eq!(fs::read_to_string(platform.file("VOLTTRON_PID")).unwrap(), "1");
}

#[test]
fn agents_are_started_before_the_pid_file_and_stopped_with_the_platform() {
    let mut platform = Volttron::prepare();
    let trace = platform.file("trace");
    let script = format!(
        "echo $$ > {0}; trap 'echo bye >> {0}; exit 0' INT; while :; do sleep 0.02; done",
        trace.display()
    );
    platform.install_script("polite", &script);
    platform.launch(&[]);
    let pid = until("the agent", || fs::read_to_string(&trace).ok().filter(|t| t.ends_with('\n')));
    assert!(alive(&pid));
    platform.signal(Signal::TERM);
    assert_eq!(platform.wait(), 0);
    assert_eq!(fs::read_to_string(&trace).unwrap(), format!("{pid}bye\n"));
    assert!(!alive(&pid));
}

#[test]
fn a_stubborn_agent_holds_up_neither_sockets_nor_a_second_signal() {
    let mut platform = Volttron::prepare();
    let trace = platform.file("trace");
    let script = format!("trap '' INT TERM; echo $$ > {}; while :; do sleep 0.02; done", trace.display());
    platform.install_script("stubborn", &script);
    platform.launch(&[]);
    let pid = until("the agent", || fs::read_to_string(&trace).ok().filter(|t| t.ends_with('\n')));
    platform.signal(Signal::TERM);
    until("free sockets", || TcpStream::connect(("127.0.0.1", platform.port)).is_err().then_some(()));
    until("the pid file's end", || (!platform.file("VOLTTRON_PID").exists()).then_some(()));
    assert!(alive(&pid), "it would get a minute");
    platform.signal(Signal::TERM);
    assert_eq!(platform.wait(), 0, "{}", platform.stderr());
    assert!(!alive(&pid));
}

fn alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn the_control_service_ends_it() {
    let mut platform = Volttron::start();
    let admin = platform.admin().await;
    admin.call("control", "shutdown").send_value().await.unwrap();
    assert!(
        admin.peerlist().await.unwrap().contains("control"),
        "stopping the agents leaves the platform up"
    );
    // The bus stays until the services are done, so there is an answer.
    admin.call("control", "stop_platform").send_value().await.unwrap();
    assert_eq!(platform.wait(), 0, "{}", platform.stderr());
    assert!(!platform.file("VOLTTRON_PID").exists());
}

#[tokio::test]
async fn ordinary_agents_cannot_end_it() {
    let mut platform = Volttron::prepare();
    let keys = platform.admit("alice", &serde_json::json!({}));
    platform.launch(&[]);
    let alice = platform.connect("alice", Some(keys)).await;
    let refused = alice.call("control", "stop_platform").send_value().await.unwrap_err();
    assert!(matches!(refused, volttron_client::CallError::Denied(_)), "{refused:?}");
    let quit = volttron_client::link::Message::new("", "quit");
    alice.raw_send(quit).await.unwrap();
    assert!(alice.peerlist().await.unwrap().contains("control"));
}
