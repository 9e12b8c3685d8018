//! Not coming up: the reason is the last line on stderr, and the exit code says whose fault it is.

use std::fs;
use std::net::TcpListener;

use super::process::Volttron;

/// Runs it, requires the exit code and a text in the last line of stderr.
fn refused(platform: &Volttron, args: &[&str], code: i32, text: &str) {
    let output = platform.run(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(last.contains(text), "{args:?}: {last:?} does not contain {text:?}");
    assert!(!platform.file("VOLTTRON_PID").exists());
}

#[test]
fn a_home_has_one_owner() {
    let platform = Volttron::start();
    let output = platform.run(&[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.contains(&format!("(pid {})", platform.pid())) && last.contains("owns"), "{last}");
    let pid = fs::read_to_string(platform.file("VOLTTRON_PID")).unwrap();
    assert_eq!(pid, platform.pid().to_string(), "the owner's file is untouched");
}

#[test]
fn settings_that_make_no_sense() {
    for (config, text) in [
        ("autostart = maybe\n", "config (line 5): autostart: \"maybe\" is neither on nor off"),
        ("message-bus = rmq\n", "the RabbitMQ message bus is not built yet"),
        ("agent-monitor-frequency = often\n", "config (line 5): invalid value 'often'"),
        ("note = 'open\n", "config (line 5): the quote ' is not closed"),
        ("vip-address = http://a\n", "unknown scheme \"http\""),
        ("agent-isolation-mode = True\n", "an administrator sets it up once with: sudo "),
        ("allow-auth = False\nvip-address = tcp://0.0.0.0:5\n", "--insecure"),
    ] {
        refused(&Volttron::prepare_with(config), &[], 1, text);
    }
    let platform = Volttron::prepare();
    let output = platform.run(&["--vip-addr", "tcp://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(2), "abbreviations are usage errors");
}

#[test]
fn files_that_cannot_be_used() {
    for (name, content, text) in [
        ("keystore", "{", "keystore is damaged"),
        ("keystores/control/keystore.json", "{\"public\": \"x\"}", "keystore.json is damaged"),
        ("auth.json", "{ not json", "auth.json"),
        ("auth.json", "{\"version\": {\"major\": 2, \"minor\": 0}}", "auth.json"),
        ("known_hosts", "[]", "known_hosts is damaged"),
    ] {
        let platform = Volttron::prepare();
        let path = platform.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        refused(&platform, &[], 1, text);
        assert_eq!(fs::read_to_string(&path).unwrap(), content, "{name} is left as it was");
    }
    let platform = Volttron::prepare();
    fs::create_dir(platform.file("keystore")).unwrap();
    refused(&platform, &[], 1, "keystore");
    refused(&platform, &["-l", "/no/such/directory/v.log"], 1, "/no/such/directory/v.log");
    refused(&platform, &["-c", "/no/such/file"], 1, "/no/such/file");
}

#[test]
fn addresses_that_are_taken() {
    let platform = Volttron::prepare();
    let _taken = TcpListener::bind(("127.0.0.1", platform.port)).unwrap();
    refused(&platform, &[], 1, &format!("cannot listen on {}", platform.address()));
}

#[test]
fn a_home_too_deep_for_its_socket() {
    let platform = Volttron::prepare();
    let deep = platform.home().join("d".repeat(100));
    refused(&platform, &["--vhome", deep.to_str().unwrap()], 1, "choose a shorter VOLTTRON_HOME");
}
