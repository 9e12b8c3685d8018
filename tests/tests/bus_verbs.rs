//! `vctl call`, `pub` and `sub` on a running platform.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use volttron_tests::platform::Platform;
use volttron_tests::wait::until;

#[test]
fn what_is_published_is_shown_and_methods_answer() {
    let platform = Platform::start();
    let sub = platform
        .command("vctl")
        .args(["--json", "sub", "test/", "--count", "1", "--for", "60"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start vctl sub");
    until("somebody to listen", Duration::from_secs(30), || {
        let args = ["pub", "test/x", r#"{"a": [1, null]}"#, "--headers", r#"{"Source": "me"}"#];
        (platform.vctl_ok(&args) == "Published to 1 subscriber\n").then_some(())
    });
    let output = sub.wait_with_output().expect("vctl sub ends");
    assert!(output.status.success(), "{output:?}");
    let shown: Value = serde_json::from_slice(&output.stdout).expect("a JSON line");
    assert_eq!((&shown["topic"], &shown["message"]), (&json!("test/x"), &json!({"a": [1, null]})));
    assert_eq!(shown["headers"]["Source"], "me");

    let users = platform.vctl_json(&["call", "platform.auth", "get_user_to_capabilities"]);
    assert!(users["control.connection"].is_object(), "{users}");
    let caps = platform.vctl_json(&["call", "platform.auth", "get_capabilities", "control.connection"]);
    assert_eq!(caps, users["control.connection"]);
    let failed = platform.vctl(&["call", "platform.auth", "no_such_method"]);
    let text = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(failed.status.code(), Some(20), "{text}");
    assert!(text.contains("no_such_method"), "{text}");
    let failed = platform.vctl(&["sub", "nothing/", "--count", "1", "--for", "0.1"]);
    assert_eq!(failed.status.code(), Some(75));
}

#[test]
fn a_misspelt_peer_or_method_is_guessed() {
    let platform = Platform::start();
    for (peer, method, said) in [
        ("contrl", "list_agents", "'contrl' is not connected to the platform; did you mean control?"),
        ("control", "list_agent", "did you mean list_agents?"),
        ("nothing-like-it", "x", "'nothing-like-it' is not connected to the platform\n"),
    ] {
        let output = platform.vctl(&["call", peer, method]);
        assert_eq!(output.status.code(), Some(20), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(said), "{text}");
    }
}
