//! Platforms in the background: `volttron up` and `down`, `start-volttron`, `stop-volttron`, `volttron --daemon`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::site::{Site, stderr, stdout};

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("run the program")
}

#[test]
fn up_and_down_without_a_question() {
    let site = Site::new();
    let up = run(site.command_at_home("volttron").arg("up"));
    assert!(up.status.success(), "{up:?}");
    let pid = site.pid();
    let text = stdout(&up);
    assert!(text.starts_with(&format!("VOLTTRON is up (pid {pid}).\n")), "{text}");
    for part in ["vctl install PATH --start", "volttron down", "tcp://127.0.0.1:", "agents    0 installed"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let config = site.config();
    assert!(config.contains("vip-address = tcp://127.0.0.1:"));
    assert!(site.vctl(&["status"]).status.success());
    // Again: it says so and changes nothing.
    let again = run(site.command_at_home("volttron").args(["up", "--json"]));
    let value: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&value["pid"], &value["started"]), (&pid.into(), &false.into()));
    assert_eq!((site.pid(), site.config()), (pid, config.clone()));
    // A second home finds a port of its own.
    let other = Site::new();
    let up = run(other.command("volttron").args(["up", "--vhome"]).arg(other.home()));
    assert!(up.status.success(), "{up:?}");
    assert!(stdout(&up).contains(&format!("export VOLTTRON_HOME={}", other.home().display())));
    assert_ne!(other.config(), config);
    let down = run(site.command_at_home("volttron").arg("down"));
    assert!(down.status.success() && stdout(&down).contains("is down."), "{down:?}");
    assert!(!site.is_up());
    let down = run(site.command_at_home("volttron").arg("down"));
    assert!(down.status.success() && stdout(&down).contains("is not running in"), "{down:?}");
    // The settings that were made are kept by the next start.
    let up = run(site.command_at_home("volttron").args(["up", "--", "--setup-mode"]));
    assert!(up.status.success(), "{up:?}");
    assert_eq!(site.config(), config);
    assert!(fs::read_to_string(site.home().join("volttron.log")).unwrap().contains("setup mode"));
}

#[test]
fn up_in_the_foreground_ends_with_a_signal() {
    let site = Site::new();
    // A port of its own: which one is found free is the other tests' matter, and may be theirs a moment later.
    site.write("config", &format!("[volttron]\nvip-address = tcp://127.0.0.1:{}\n", site.port));
    let mut command = site.command_at_home("volttron");
    let mut child =
        command.args(["up", "--foreground"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let first = lines.next().expect("it says that it is up");
    assert_eq!(first, format!("VOLTTRON is up (pid {}).", child.id()));
    assert_eq!(site.pid(), child.id());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!site.is_up());
}

#[test]
fn several_at_once_find_a_port_each() {
    for way in [&["up", "--foreground"][..], &["up"]] {
        let sites: Vec<Site> = (0..6).map(|_| Site::new()).collect();
        let start = |site: &Site| {
            let mut command = site.command_at_home("volttron");
            command
                .args(way)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let mut children: Vec<_> = sites.iter().map(start).collect();
        let mut addresses = Vec::new();
        for (site, child) in sites.iter().zip(&mut children) {
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
            let Some(first) = lines.next() else {
                panic!("{way:?}: {}", std::io::read_to_string(child.stderr.take().unwrap()).unwrap());
            };
            assert!(first.starts_with("VOLTTRON is up"), "{way:?}: {first}");
            let shown =
                lines.find_map(|line| line.trim().strip_prefix("address").map(|a| a.trim().to_owned()));
            let address = shown.expect("an address");
            assert!(
                site.config().contains(&format!("vip-address = {address}\n")),
                "{address}: {}",
                site.config()
            );
            // Addresses that others have are not known under its key.
            let known = fs::read_to_string(site.home().join("known_hosts")).unwrap();
            let own = address.trim_start_matches("tcp://");
            let known: serde_json::Map<String, Value> = serde_json::from_str(&known).unwrap();
            assert!(
                known.keys().all(|host| host == own || !host.starts_with("127.0.0.1:")),
                "{own}: {known:?}"
            );
            assert!(site.vctl(&["status"]).status.success());
            addresses.push(address);
        }
        for (site, child) in sites.iter().zip(&mut children) {
            site.vctl(&["shutdown", "--platform"]);
            assert!(child.wait().unwrap().success());
        }
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), sites.len(), "{addresses:?}");
    }
}

#[test]
fn what_keeps_it_from_starting_is_told() {
    let site = Site::new();
    let config = site.write("config", "[volttron]\nautostart = maybe\n");
    let up = run(site.command_at_home("volttron").arg("up"));
    assert_eq!(up.status.code(), Some(1));
    assert!(stderr(&up).contains("(line 2): autostart: \"maybe\""), "{up:?}");
    let start = run(&mut site.command_at_home("start-volttron"));
    assert_eq!(start.status.code(), Some(2));
    assert_eq!(stdout(&start), "VOLTTRON startup failed/timed out. Please check volttron.log for details\n");
    assert!(stderr(&start).contains("(line 2): autostart"), "{start:?}");
    // What only shows when it runs.
    let held = std::net::TcpListener::bind(("127.0.0.1", site.port)).unwrap();
    fs::write(&config, format!("[volttron]\nvip-address = tcp://127.0.0.1:{}\n", site.port)).unwrap();
    for (program, args, code) in
        [("volttron", &["up"][..], 1), ("start-volttron", &[], 2), ("volttron", &["--daemon"], 2)]
    {
        let output = run(site.command_at_home(program).args(args));
        assert_eq!(output.status.code(), Some(code), "{program} {args:?}: {output:?}");
        assert!(
            stderr(&output).contains("it is in use; another platform or program listens there"),
            "{program} {args:?}: {output:?}"
        );
        assert!(!site.is_up());
    }
    drop(held);
    let up = run(site.command_at_home("volttron").arg("up"));
    assert!(up.status.success(), "{up:?}");
}

#[test]
fn the_helpers_around_the_original_say_what_scripts_know() {
    let site = Site::new();
    let address = format!("tcp://127.0.0.1:{}", site.port);
    let start = run(site.command_at_home("start-volttron").args(["--vip-address", &address]));
    assert!(start.status.success(), "{start:?}");
    assert_eq!(stdout(&start), "VOLTTRON startup complete\n");
    assert!(fs::metadata(site.dir().join("volttron.log")).unwrap().len() > 0);
    let pid = site.pid();
    for (program, args) in [("start-volttron", &[][..]), ("volttron", &["--daemon"])] {
        let again = run(site.command_at_home(program).args(args));
        assert_eq!(again.status.code(), Some(1));
        assert_eq!(stdout(&again), format!("VOLTTRON with process id {pid} is already running\n"));
    }
    let stop = run(&mut site.command_at_home("stop-volttron"));
    assert!(stop.status.success(), "{stop:?}");
    assert_eq!(stdout(&stop), "Shutting down VOLTTRON\n");
    assert!(!site.is_up());
    let stop = run(&mut site.command_at_home("stop-volttron"));
    assert_eq!(stop.status.code(), Some(10), "{stop:?}");
    // A pid of a process that is gone is no platform.
    fs::write(site.home().join("VOLTTRON_PID"), "999999999").unwrap();
    let log = site.dir().join("own.log");
    let daemon = run(site
        .command_at_home("volttron")
        .arg("--daemon")
        .arg("-l")
        .arg(&log)
        .args(["--vip-address", &address]));
    assert!(daemon.status.success(), "{daemon:?}");
    assert!(log.exists());
}
