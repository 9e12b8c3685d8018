//! dropin.md, Timing.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use volttron_client::CallError;
use volttron_tests::platform::Platform;
use volttron_tests::wait::until;

use crate::site::{LONG, Mode, Site, eventually};

fn say(what: &str, took: Duration, demand: Duration) {
    println!("{what}: {took:.0?} (at most {demand:?})");
    assert!(took <= demand, "{what} took {took:?}, the demand is {demand:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_auth_json_admits_the_new_key_within_1_s() {
    let site = Site::start(Mode::Authenticated);
    // Somebody who is refused and tries again finds the door open without waiting for the refusal's back-off.
    let keys = volttron_utils::keys::KeyPair::generate();
    let entry = |keys: &volttron_utils::keys::KeyPair| {
        let file = site.platform.home().join("auth.json");
        let mut auth: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&file).expect("auth.json")).expect("JSON");
        auth["allow"].as_array_mut().expect("a list").push(json!({
            "credentials": keys.public.to_string(), "user_id": "late", "identity": "late"
        }));
        fs::write(&file, auth.to_string()).expect("write auth.json");
    };
    let (connected, written) = tokio::join!(
        async {
            let connection = site.connect("late", &keys).await;
            (Instant::now(), connection)
        },
        async {
            eventually("a refusal", || async { site.platform.log().contains(&keys.public.to_string()) })
                .await;
            entry(&keys);
            Instant::now()
        }
    );
    say("a key that waited got in after", connected.0.duration_since(written), Duration::from_secs(1));
    let fresh = site.platform.admit("fresh", &json!({}));
    let began = Instant::now();
    let _fresh = site.connect("fresh", &fresh).await;
    say("a key that had not tried got in after", began.elapsed(), Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn capability_changes_reach_agents_within_1_s() {
    let site = Site::prepare(Mode::Authenticated);
    let caller = site.admit("caller", &json!({}));
    let mut site = site;
    site.platform.launch();
    let (_probe, _seen) = site.probe("probe").await;
    let caller = site.connect("caller", &caller).await;
    let call = || async { caller.call("probe", "guarded").send::<String>().await };
    assert!(matches!(call().await, Err(CallError::Denied(_))));
    let file = site.platform.home().join("auth.json");
    let set = |capabilities: serde_json::Value| {
        let mut auth: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&file).expect("auth.json")).expect("JSON");
        for entry in auth["allow"].as_array_mut().expect("a list") {
            if entry["user_id"] == "caller" {
                entry["capabilities"] = capabilities.clone();
            }
        }
        fs::write(&file, auth.to_string()).expect("write auth.json");
        Instant::now()
    };
    let granted = set(json!({"probe_secret": null}));
    eventually("the capability", || async { call().await.is_ok() }).await;
    say("a granted capability was felt after", granted.elapsed(), Duration::from_secs(1));
    let taken = set(json!({}));
    eventually("the loss of the capability", || async { call().await.is_err() }).await;
    say("a capability that was taken was felt after", taken.elapsed(), Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protected_topics_come_into_force_within_half_a_second() {
    let site = Site::prepare(Mode::Authenticated);
    let keys = site.admit("caller", &json!({}));
    let mut site = site;
    site.platform.launch();
    let caller = site.connect("caller", &keys).await;
    let file = site.platform.home().join("protected_topics.json");
    fs::write(&file, r#"{"write-protect": [{"topic": "t", "capabilities": ["c"]}]}"#).expect("write");
    let written = Instant::now();
    eventually("the protection", || async { caller.publish("t", &1).await.is_err() }).await;
    say("a protected topic was refused after", written.elapsed(), Duration::from_millis(500));
    fs::remove_file(&file).expect("remove");
    let removed = Instant::now();
    eventually("the end of the protection", || async { caller.publish("t", &1).await.is_ok() }).await;
    say("without the file it was free after", removed.elapsed(), Duration::from_millis(500));
}

async fn control_shutdown_stops_agents_and_replies_and_the_platform_goes_on(mode: Mode) {
    let site = Site::start(mode);
    let uuid = site.listener("listener", &[]);
    let control = site.control().await;
    control.call("control", "shutdown").timeout(LONG).send_value().await.expect("an answer");
    assert_eq!(site.pid(&uuid), None, "the agent is stopped");
    control.peerlist().await.expect("the platform goes on");
    site.platform.vctl_ok(&["start", &uuid]);
    assert!(site.pid(&uuid).is_some(), "and starts agents");
}

/// Time from the signal until the file is gone and the port can be bound.
fn after_sigterm(platform: &Platform) -> Duration {
    let address = platform.address().replace("tcp://", "");
    let pid = Pid::from_raw(i32::try_from(platform.pid()).expect("a pid")).expect("a pid");
    let file = platform.home().join("VOLTTRON_PID");
    let began = Instant::now();
    kill_process(pid, Signal::TERM).expect("signal the platform");
    until("the file and the port", LONG, || {
        (!file.exists() && TcpListener::bind(&address).is_ok()).then_some(())
    });
    began.elapsed()
}

async fn after_sigterm_sockets_and_pid_file_are_gone_within_a_fifth_of_a_second(mode: Mode) {
    let mut site = Site::start(mode);
    site.listener("listener", &["--enable"]);
    let _peer = site.peer("peer", &json!({})).await;
    let took = tokio::task::block_in_place(|| after_sigterm(&site.platform));
    say("sockets and VOLTTRON_PID were gone after", took, Duration::from_millis(200));
    // The next start on the same port and home follows at once, while the first may still be stopping its agents.
    let mut first = site.platform.take_child();
    tokio::task::block_in_place(|| site.platform.launch());
    assert!(first.wait().expect("it ends").success());
    eventually("the agent of the second start", || async {
        let rows = site.platform.vctl_json(&["status"]);
        rows["listener"]["status"].as_str().is_some_and(|text| text.starts_with("running"))
    })
    .await;
}

async fn a_pid_file_with_another_pid_is_never_deleted(mode: Mode) {
    let mut site = Site::start(mode);
    let file = site.platform.home().join("VOLTTRON_PID");
    fs::write(&file, "1").expect("write");
    assert_eq!(site.platform.terminate(), 0);
    assert_eq!(fs::read_to_string(&file).expect("still there"), "1");
}

async fn the_pid_file_comes_last_when_everything_answers(mode: Mode) {
    let mut site = Site::start(mode);
    site.listener("listener", &["--enable"]);
    site.platform.vctl_ok(&["config", "store", "listener", "c", "--raw"]);
    assert_eq!(site.platform.terminate(), 0);
    let stale = site.platform.home().join("VOLTTRON_PID");
    assert!(!Path::new(&stale).exists());
    site.platform.launch();
    // Nothing is waited for: everything answers to the first question.
    let rows = site.platform.vctl_json(&["status"]);
    assert!(rows["listener"]["status"].as_str().is_some_and(|text| text.starts_with("running")), "{rows}");
    assert_eq!(rows["listener"]["health"]["message"], "GOOD");
    site.platform.vctl_ok(&["config", "get", "listener", "c"]);
    let control = site.control().await;
    for service in ["control", "config.store", "platform.health", "keydiscovery"] {
        control.call(service, "inspect").send_value().await.unwrap_or_else(|e| panic!("{service}: {e}"));
    }
    if mode == Mode::Authenticated {
        control.call("platform.auth", "inspect").send_value().await.expect("the auth service answers");
    }
}

crate::in_both_modes! {
    control_shutdown_stops_agents_and_replies_and_the_platform_goes_on,
    after_sigterm_sockets_and_pid_file_are_gone_within_a_fifth_of_a_second,
    a_pid_file_with_another_pid_is_never_deleted,
    the_pid_file_comes_last_when_everything_answers,
}
