//! `vctl doctor` names cause and cure of each fault, seeded on a real home or platform; `vctl explain` knows every code.

mod mends;
mod others;
mod site;

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::{Value, json};
use volttron_tests::deaf::Deaf;
use volttron_tests::platform::Platform;
use volttron_tests::probe::peer;
use volttron_tests::programs::{free_port, program};
use volttron_tests::pump::{Does, Pump};
use volttron_tests::wait::until;
use volttron_utils::keys::KeyPair;
use volttron_utils::vip::Message;

use crate::site::{Home, Seed, Site, duplicate, edit_entry, exec, findings_of, mode, own, require};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_cargo_that_cannot_be_run_is_none() {
    let (platform, programs) = (Platform::prepare(), tempfile::tempdir().expect("a directory"));
    let cargo = programs.path().join("cargo");
    for (bits, hinted) in [(0o644, true), (0o755, false)] {
        fs::write(&cargo, "#!/bin/sh\n").expect("write");
        mode(&cargo, bits);
        let mut vctl = platform.command("vctl");
        let diagnosis = findings_of(vctl.args(["--json", "doctor"]).env("PATH", programs.path()));
        let findings = diagnosis["findings"].as_array().expect("a list");
        assert_eq!(findings.iter().any(|f| f["code"] == "VT3067"), hinted, "{bits:o}: {diagnosis:#}");
    }
}

#[test]
fn a_stopped_home_in_order_has_no_findings_and_each_fault_is_named_with_its_cure() {
    let site = Site::stopped();
    let healthy = site.copy();
    let diagnosis = healthy.doctor(&[]);
    assert_eq!(own(&diagnosis), Vec::<Value>::new(), "{diagnosis:#}");
    assert_eq!(diagnosis["running"], Value::Null);
    assert!(diagnosis["measured"]["fsync_ms"].is_number(), "{diagnosis:#}");
    assert!(diagnosis["measured"]["disk_free_bytes"].as_u64() > Some(0), "{diagnosis:#}");
    assert_eq!(diagnosis["measured"]["agents"], 2);

    let seeds: &[(&str, &str, &[&str], &str, Seed)] = &[
        ("VT3041", "fault", &["keystore of pump", "644"], "chmod 600 ", |home| {
            mode(&home.file("agents/pump/keystore.json"), 0o644);
        }),
        ("VT3041", "fault", &["keystore of the platform"], "chmod 600 ", |home| {
            mode(&home.file("keystore"), 0o640)
        }),
        ("VT2007", "fault", &["keystore of pump", "damaged"], "vctl auth admit pump", |home| {
            home.write("agents/pump/keystore.json", "{\"public\": ");
        }),
        ("VT2007", "fault", &["keystore of control.connection"], "mv -n ", |home| {
            home.write("keystores/control.connection/keystore.json", "[]");
        }),
        ("VT3014", "warning", &["volttron.log has 101.0 MiB"], "log-rotate = 10M", |home| {
            fs::File::create(home.file("volttron.log")).unwrap().set_len(101 << 20).unwrap();
            home.configure(&format!("log = {}", home.file("volttron.log").display()));
        }),
        ("VT2019", "fault", &["log.json", "(line 3)", "SysLogHandler"], "--check-config", |home| {
            home.write(
                "log.json",
                "{\"version\": 1, \"handlers\": {\n\"a\": {\n\"class\": \"logging.handlers.SysLogHandler\"}}}",
            );
            home.configure(&format!("log-config = {}", home.file("log.json").display()));
        }),
        ("VT2008", "fault", &["auth.json", "line 3"], "+3 ", |home| {
            home.write("auth.json", "{\n \"allow\": [],\n \"deny\": [,]\n}");
        }),
        ("VT3047", "warning", &["auth.json"], "auth.json", |home| {
            home.edit_json("auth.json", |auth| {
                auth["allow"]
                    .as_array_mut()
                    .expect("a list")
                    .push(json!({"credentials": {"a": 1}, "user_id": "x"}));
            });
        }),
        ("VT3049", "warning", &["auth.json"], "chmod 600", |home| mode(&home.file("auth.json"), 0o666)),
        ("VT3044", "warning", &["(pump), ", "(twin)"], "vctl auth remove ", |home| {
            duplicate(home, |copy| {
                copy["user_id"] = "twin".into();
                copy["identity"] = "twin".into();
            });
        }),
        ("VT3045", "warning", &["(pump), ", "identity pump"], "vctl auth remove ", |home| {
            duplicate(home, |copy| {
                copy["user_id"] = "other".into();
                copy["credentials"] = KeyPair::generate().public.to_string().into();
            });
        }),
        ("VT3042", "fault", &["pump is installed and has no auth entry"], "vctl auth admit pump", |home| {
            home.edit_json("auth.json", |auth| {
                auth["allow"].as_array_mut().expect("a list").retain(|e| e["identity"] != "pump");
            });
        }),
        ("VT3042", "fault", &["pump", "disabled"], "vctl auth admit pump", |home| {
            edit_entry(home, |entry| entry["enabled"] = false.into());
        }),
        ("VT3043", "fault", &["pump has the key", "its auth entry"], "vctl auth admit pump", |home| {
            edit_entry(home, |entry| entry["credentials"] = KeyPair::generate().public.to_string().into());
        }),
        ("VT3046", "fault", &["known_hosts", "for @"], "vctl auth add-known-host --host @", |home| {
            home.edit_json("known_hosts", |hosts| hosts["@"] = KeyPair::generate().public.to_string().into());
        }),
        ("VT2009", "fault", &["known_hosts is damaged"], "known_hosts", |home| {
            home.write("known_hosts", "[")
        }),
        ("VT3048", "fault", &["protected_topics.json", "entry 0"], "protected_topics.json", |home| {
            home.write("protected_topics.json", "{\"write-protect\": [{\"topic\": \"a\"}]}");
        }),
        ("VT3031", "warning", &["VOLTTRON_PID names process 2147483647"], "rm ", |home| {
            home.write("VOLTTRON_PID", "2147483647");
        }),
        ("VT3032", "warning", &["2020-01-01", "pid 4711"], "volttron up --vhome", |home| {
            home.write("volttron.lock", "pid: 4711\nsince: 2020-01-01\nversion: 0.0.1\nstate: running\n");
        }),
        ("VT3066", "warning", &["version 99.0.0"], "99.0.0", |home| {
            home.write("volttron.lock", "pid: 4711\nsince: x\nversion: 99.0.0\nstate: stopping\n");
        }),
        ("VT3066", "fault", &["newer version (2.0)"], ".bak", |home| {
            home.edit_json("auth.json", |auth| auth["version"] = json!({"major": 2, "minor": 0}));
        }),
        ("VT3066", "fault", &["pump was installed by a newer version"], "vctl install ", |home| {
            home.edit_json("agents/pump/agent.json", |agent| agent["format"] = 9.into());
        }),
        (
            "VT3051",
            "warning",
            &["(line 5)", "vip-adress", "did you mean vip-address?"],
            "s/vip-adress/vip-address/",
            |home| {
                home.configure("vip-adress = tcp://127.0.0.1:1");
            },
        ),
        ("VT2002", "fault", &["(line 5)", "autostart"], "+5 ", |home| home.configure("autostart = perhaps")),
        ("VT2002", "fault", &["(line 5)", "closing"], "+5 ", |home| home.configure("[volttron")),
        ("VT2001", "fault", &["metrics-address"], "config", |home| {
            home.configure("metrics-address = pigeon")
        }),
        ("VT2006", "fault", &["192.0.2.1:22916", "no network interface"], "ip address", |home| {
            home.configure("vip-address = tcp://192.0.2.1:22916");
        }),
        ("VT3061", "warning", &["agents/half", "neither UUID nor IDENTITY"], "mv ", |home| {
            fs::create_dir(home.file("agents/half")).expect("create");
        }),
        ("VT3062", "fault", &["program of pump is missing"], "--vip-identity pump --force", |home| {
            fs::remove_dir_all(home.file("bin")).expect("remove");
        }),
        ("VT3062", "fault", &["not executable"], "chmod +x ", |home| mode(&exec(home), 0o644)),
        ("VT3063", "fault", &["program of pump", "s390x"], "--vip-identity pump --force", |home| {
            let mut bytes = fs::read(exec(home)).expect("read");
            // The machine of an ELF header, big-endian as that machine is.
            (bytes[5], bytes[16], bytes[17], bytes[18], bytes[19]) = (2, 0, 3, 0, 22);
            fs::write(exec(home), bytes).expect("write");
        }),
        ("VT3064", "fault", &["pump runs with the Python /nowhere/python9.9"], "vctl install ", |home| {
            let bin = home.file("bin/snake-1.0/bin");
            fs::create_dir_all(&bin).expect("create");
            symlink("python9", bin.join("python")).expect("link");
            symlink("/nowhere/python9.9", bin.join("python9")).expect("link");
            home.edit_json("agents/pump/agent.json", |agent| {
                agent["runtime"] = "python".into();
                agent["exec"] = "../../bin/snake-1.0/bin/snake".into();
            });
        }),
        ("VT3065", "warning", &["agents/pump/.change"], "volttron up --vhome", |home| {
            fs::create_dir(home.file("agents/pump/.change")).expect("create");
        }),
        ("VT3065", "warning", &["configuration_store/.transaction"], "volttron up --vhome", |home| {
            home.write("configuration_store/.transaction", "{}");
        }),
        ("VT3065", "warning", &["agents/.new-x"], "volttron up --vhome", |home| {
            fs::create_dir(home.file("agents/.new-x")).expect("create");
        }),
        ("VT3003", "warning", &["other users may write"], "chmod go-w", |home| mode(&home.path, 0o777)),
        ("VT2007", "fault", &["keystore of pump", "does not exist"], "vctl auth admit pump", |home| {
            fs::remove_file(home.file("agents/pump/keystore.json")).expect("remove");
        }),
        ("VT2008", "fault", &["auth.json is gone", "2 agents"], "vctl auth admit ", |home| {
            fs::remove_file(home.file("auth.json")).expect("remove");
        }),
        ("VT2010", "fault", &["configuration store of pump is damaged", "line 2"], "+2 ", |home| {
            home.write("configuration_store/pump.store", "{\n \"a\": [,]\n}");
        }),
        (
            "VT2010",
            "fault",
            &["configuration store of pump", "\"a\" would be put aside"],
            "pump.store",
            |home| {
                home.write("configuration_store/pump.store", "{\"a\": 1}");
            },
        ),
        ("VT2010", "warning", &["configurations of pump", "put them aside"], "mv -n ", |home| {
            home.write("configuration_store/pump.store.bad-2026-01-02T0304050000", "{");
        }),
        ("VT3061", "fault", &["agent pump is damaged", "agent.json"], "volttron up --vhome", |home| {
            home.write("agents/pump/agent.json", "{");
        }),
        ("VT3021", "fault", &["the clock says", "auth.json was written"], "timedatectl", |home| {
            let file = fs::File::options().append(true).open(home.file("auth.json")).expect("open");
            file.set_modified(SystemTime::now() + Duration::from_secs(86_400)).expect("set the time");
        }),
        ("VT2011", "fault", &["too deep"], "ln -s ", |_| {}),
    ];
    for (code, level, what, fix, seed) in seeds {
        let mut home = site.copy();
        if *code == "VT2011" {
            let deep = home.path.parent().expect("a parent").join("d".repeat(90));
            fs::rename(&home.path, &deep).expect("rename");
            home.path = deep;
        }
        seed(&home);
        require(&home.doctor(&[]), code, level, what, fix);
    }

    // Limits that the operator chooses.
    require(&healthy.doctor(&["--min-free", "99999T"]), "VT3011", "warning", &["nearly full"], "du -xh");
    require(&healthy.doctor(&["--max-fsync-ms", "0"]), "VT3012", "warning", &["to keep a write"], "iostat");
    // And no home at all.
    let gone = Home { path: healthy.file("nowhere"), ..site.copy() };
    require(&gone.doctor(&[]), "VT3001", "fault", &["there is no home"], "volttron up --vhome");
    // As text, and with the settings unreadable for everything else.
    healthy.configure("[volttron");
    let output = healthy.vctl().arg("doctor").output().expect("run vctl");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("FAULT    VT2002  ") && text.contains("\n                 fix: "), "{text}");
    assert!(text.lines().last().expect("a summary").starts_with("1 fault, "), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_platform_is_asked() {
    let programs = tempfile::tempdir().expect("a directory");
    let mut platform = Platform::prepare();
    let silent_keys = platform.admit("silent", &json!({}));
    platform.launch();
    let doctor = |args: &[&str]| findings_of(platform.command("vctl").args(["--json", "doctor"]).args(args));
    let diagnosis = doctor(&[]);
    assert_eq!(own(&diagnosis), Vec::<Value>::new(), "{diagnosis:#}");
    assert_eq!(diagnosis["running"], platform.pid());

    // One that crashes, with its reason.
    let path = Pump::write(programs.path(), "1.0.0", Does::Ends(7)).display().to_string();
    platform.vctl(&["install", &path, "--vip-identity", "pump", "--start"]);
    require(&doctor(&[]), "VT3071", "fault", &["pump ended with exit code 7"], "vctl start pump");
    // One that says that it is not well.
    let path = Pump::write(programs.path(), "1.0.1", Does::StaysBad).display().to_string();
    platform.vctl(&["install", &path, "--vip-identity", "ill", "--start"]);
    require(&doctor(&[]), "VT3075", "warning", &["ill reports", "BAD"], "vctl health ill");

    // One that was heard once and is silent since.
    let silent = peer("silent", &platform.address(), &platform.server_key(), silent_keys).await;
    silent.publish("heartbeat/silent", &"GOOD").await.expect("published");
    require(
        &doctor(&["--heartbeat-age", "0"]),
        "VT3072",
        "warning",
        &["silent is connected"],
        "vctl restart silent",
    );
    assert!(!own(&doctor(&[])).iter().any(|f| f["code"] == "VT3072"));

    // A setting that counts from the next start on.
    let other = free_port();
    platform.configure(&format!("vip-address = tcp://127.0.0.1:{other}"));
    require(&doctor(&[]), "VT3035", "warning", &[&other.to_string()], "volttron down ");

    // A process that stands still.
    let pid = rustix::process::Pid::from_raw(i32::try_from(platform.pid()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stop");
    let diagnosis = doctor(&[]);
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("continue");
    require(
        &diagnosis,
        "VT3034",
        "fault",
        &["does not answer", "stopped"],
        &format!("kill -CONT {}", platform.pid()),
    );
    assert_eq!(
        own(&diagnosis).iter().filter(|f| f["code"] == "VT3071").count(),
        0,
        "nothing is known: {diagnosis:#}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_messages_are_named_with_their_peer() {
    let mut platform = Platform::prepare();
    let (deaf_keys, keys) = (platform.admit("deaf", &json!({})), platform.admit("publisher", &json!({})));
    platform.launch();
    let publisher = Arc::new(peer("publisher", &platform.address(), &platform.server_key(), keys).await);
    let mut deaf = Some(Deaf::connect(&platform, "deaf", &deaf_keys));
    let meter = || platform.vctl_json(&["call", "control", "bus_meter"])["peers"]["deaf"].clone();
    until("the subscription", PATIENCE, || meter()["subscriptions"].as_u64().filter(|n| *n > 0));
    let body = json!({"bus": "", "headers": {}, "message": "x".repeat(4000)}).to_string();
    let deadline = std::time::Instant::now() + PATIENCE;
    while meter()["lost"].as_u64().unwrap_or_default() == 0 {
        assert!(std::time::Instant::now() < deadline, "{}", meter());
        if meter().is_null() {
            // libzmq's heartbeats found out; it comes back.
            deaf = None;
            deaf.replace(Deaf::connect(&platform, "deaf", &deaf_keys));
        }
        for _ in 0..2000 {
            let args = ["publish", "devices/all", &body].map(|arg| Bytes::copy_from_slice(arg.as_bytes()));
            let message = args.into_iter().fold(Message::new("", "pubsub").with_id("filling"), Message::arg);
            publisher.raw_send(message).await.expect("the platform runs");
        }
        let _ = publisher.publish("devices/all", &"x").await;
    }
    let diagnosis = findings_of(platform.command("vctl").args(["--json", "doctor"]));
    require(&diagnosis, "VT3073", "warning", &["messages for deaf were dropped"], "vctl restart deaf");
    drop(deaf);
}

#[test]
fn errors_have_codes_for_programs_and_people_and_not_for_scripts() {
    let platform = Platform::prepare();
    // Text for scripts: to the byte what it always was.
    let plain = platform.vctl(&["peerlist"]);
    assert_eq!(
        String::from_utf8_lossy(&plain.stderr),
        "VOLTTRON is not running. This command requires VOLTTRON platform to be running\n"
    );
    // For programs.
    let output = platform.vctl(&["--json", "peerlist"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        stderr.starts_with(&*String::from_utf8_lossy(&plain.stderr)) && output.stdout.is_empty(),
        "{stderr}"
    );
    let error: Value = serde_json::from_str(stderr.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&error["error"]["code"], &error["error"]["exit_code"]), (&json!("VT1001"), &json!(10)));
    // For people, on a terminal.
    let typed = on_a_terminal(&platform, "peerlist");
    assert!(typed.contains("try: vctl explain VT1001"), "{typed}");
    // And what they find there.
    let page = platform.vctl_ok(&["explain", "VT1001"]);
    assert!(
        page.starts_with("VT1001: The platform does not run\n\n") && page.contains("\nWhat to do:\n  - "),
        "{page}"
    );
    let page = platform.vctl_json(&["explain", "vt2005"]);
    assert!(page["causes"].as_array().is_some_and(|c| !c.is_empty()), "{page}");
    let all = platform.vctl_ok(&["explain"]);
    assert_eq!(all.lines().count(), platform.vctl_json(&["explain"]).as_array().expect("a list").len());
    assert_eq!(platform.vctl(&["explain", "VT9999"]).status.code(), Some(10));
}

/// What a command writes to a terminal.
fn on_a_terminal(platform: &Platform, words: &str) -> String {
    let vctl = program("vctl");
    let mut script = platform.command("vctl");
    script = {
        let mut command = Command::new("script");
        command.env_clear().envs(script.get_envs().filter_map(|(k, v)| Some((k, v?))));
        command
    };
    let mut child = script
        .args(["-q", "-c", &format!("{} {words}", vctl.display()), "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of util-linux");
    let mut text = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut text).expect("read");
    let _ = child.wait();
    text
}
