//! dropin.md, Commands: each row as a script drives it, through pipes, with standard input, and with no variables but the
//! listed ones. The row of `vcfg` is with its program.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use volttron_tests::platform::Platform;
use volttron_tests::programs::program;

use crate::site::{Mode, Site};

/// What a command left.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }

    /// The text between the first bracket and the next.
    fn pid(&self) -> Option<u32> {
        let (_, rest) = self.out.split_once('[')?;
        rest.split_once(']')?.0.parse().ok()
    }
}

/// Runs a program that is found on PATH, as scripts do.
fn run(platform: &Platform, name: &str, args: &[&str], input: &str) -> Said {
    let programs = program("volttron").parent().expect("a directory").to_owned();
    let path = std::env::join_paths([programs, "/usr/bin".into(), "/bin".into()]).expect("a PATH");
    let mut child = Command::new(name)
        .env_clear()
        .env("PATH", path)
        .env("HOME", platform.home())
        .env("VOLTTRON_HOME", platform.home())
        .envs([("PACKAGED_DIR", "/nonexistent"), ("DEBUG", ""), ("DEBUG_MODE", ""), ("SKIP_CLEANUP", "")])
        .envs([("LANG", "xx_XX.UTF-8"), ("LC_ALL", "xx_XX.UTF-8"), ("PYTHONDONTWRITEBYTECODE", "1")])
        .env("VOLTTRON_ROOT", "/nonexistent")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start a program");
    // One that has ended does not read.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

fn vctl(site: &Site, args: &[&str]) -> Said {
    run(&site.platform, "vctl", args, "")
}

fn ok(site: &Site, args: &[&str]) -> Said {
    answering(site, args, "")
}

fn answering(site: &Site, args: &[&str], input: &str) -> Said {
    let said = run(&site.platform, "vctl", args, input);
    assert_eq!(said.code, 0, "vctl {args:?}: {}{}", said.out, said.err);
    said
}

fn agent() -> String {
    program("volttron-listener").display().to_string()
}

async fn the_version_is_two_words_and_the_routers(mode: Mode) {
    let site = Site::start(mode);
    let said = run(&site.platform, "volttron", &["--version"], "");
    let words: Vec<&str> = said.out.split_whitespace().collect();
    assert!(said.code == 0 && said.err.is_empty() && words.len() == 2, "{}{}", said.out, said.err);
    let control = site.control().await;
    let version = control.router_request("query", vec!["platform-version".into()]).await.expect("an answer");
    assert_eq!(version[1].as_ref(), words[1].as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_in_setup_mode_is_up_when_its_pid_is_written() {
    let mut site = Site::prepare(Mode::Authenticated);
    site.platform.configure("setup-mode = true");
    site.platform.launch();
    assert_eq!(vctl(&site, &["peerlist"]).code, 0);
}

async fn installing_prints_one_object_and_force_replaces(mode: Mode) {
    let site = Site::start(mode);
    let config = site.platform.home().join("a.config");
    fs::write(&config, "{\"x\": 1}").expect("write");
    let (agent, config) = (agent(), config.display().to_string());
    let install = ["--json", "install", &agent, "--agent-config", &config, "--vip-identity", "one"];
    let first = ok(&site, &[&install[..], &["--tag", "t", "--start", "--priority", "20"]].concat());
    let object = first.json();
    let uuid = object["agent_uuid"].as_str().expect("a uuid").to_owned();
    assert_eq!(
        (&object["tag"], &object["priority"], &object["started"]),
        (&json!("t"), &json!("20"), &json!(true))
    );
    let before = ok(&site, &["status", &uuid]).pid().expect("it runs");
    let listed = ok(&site, &["--json", "list"]).out;
    // The same identity again: refused, and nothing changed.
    let again = vctl(&site, &install);
    assert!(again.code != 0 && again.out.is_empty(), "{}", again.out);
    assert_eq!(ok(&site, &["--json", "list"]).out, listed);
    assert_eq!(ok(&site, &["status", &uuid]).pid(), Some(before));
    let forced = ok(&site, &[&install[..], &["--force", "--start"]].concat()).json();
    let uuid = forced["agent_uuid"].as_str().expect("a uuid").to_owned();
    let after = ok(&site, &["status", &uuid]).pid().expect("it runs again");
    assert_ne!(after, before);
}

async fn a_wheel_that_is_not_there_is_an_invalid_file(mode: Mode) {
    let site = Site::start(mode);
    let said = vctl(&site, &["--json", "install", "/no/such/agent-1.0-py3-none-any.whl"]);
    assert_ne!(said.code, 0);
    assert!(
        said.out.is_empty() && said.err.contains("Invalid file /no/such/agent-1.0-py3-none-any.whl"),
        "{}",
        said.err
    );
}

async fn starting_stopping_and_removing_show_pids_in_brackets(mode: Mode) {
    let site = Site::start(mode);
    assert_eq!(ok(&site, &["--json", "status"]).json(), json!({}));
    let uuid = ok(&site, &["--json", "install", &agent(), "--vip-identity", "two"]).json();
    let uuid = uuid["agent_uuid"].as_str().expect("a uuid").to_owned();
    let row = |said: Said| said.json()["two"].clone();
    let idle = row(ok(&site, &["--json", "status"]));
    for key in ["identity", "agent_uuid", "agent_tag", "status", "health"] {
        assert!(idle.get(key).is_some(), "{key}: {idle}");
    }
    assert_eq!((&idle["status"], &idle["health"]), (&json!(""), &json!("")));
    for json in [&["--json"][..], &[]] {
        ok(&site, &[json, &["start", &uuid]].concat());
        // Good as soon as start has returned.
        let status = ok(&site, &["--json", "status", &uuid]);
        assert!(status.pid().is_some(), "{}", status.out);
        let running = row(status);
        assert!(running["status"].as_str().is_some_and(|s| s.starts_with("running [")), "{running}");
        assert_eq!(running["health"]["message"], "GOOD", "{running}");
        assert!(ok(&site, &["status", &uuid]).pid().is_some());
        ok(&site, &[json, &["stop", &uuid]].concat());
        let stopped = row(ok(&site, &["--json", "status", &uuid]));
        assert!(stopped["status"].as_str().is_some_and(|s| s.parse::<i32>().is_ok()), "{stopped}");
    }
    ok(&site, &["remove", &uuid]);
    let gone = vctl(&site, &["status", &uuid]);
    assert!(gone.code != 0 || !gone.out.contains('['), "{}", gone.out);
}

async fn nobody_to_start_is_no_failure_and_a_misspelt_option_is(mode: Mode) {
    let site = Site::start(mode);
    let uuid = ok(&site, &["--json", "install", &agent(), "--vip-identity", "three", "--tag", "hall"]).json();
    let uuid = uuid["agent_uuid"].as_str().expect("a uuid").to_owned();
    for verb in ["start", "stop", "restart"] {
        ok(&site, &[verb, "no.such.agent"]);
        ok(&site, &[verb, "--tag", "no.such.tag"]);
        for bad in [["--all-tag", ""], ["--tagg", "hall"], ["--ta", "hall"]] {
            assert_ne!(vctl(&site, &[verb, bad[0], bad[1]]).code, 0, "{verb} {bad:?}");
        }
    }
    let pid = || ok(&site, &["status", &uuid]).pid();
    ok(&site, &["start", "--tag", "hall"]);
    let first = pid().expect("it runs");
    ok(&site, &["restart", "--all-tagged"]);
    assert!(pid().expect("it runs again") != first);
    ok(&site, &["stop", "--all-tagged"]);
    assert_eq!(pid(), None);
}

async fn what_works_without_a_platform_and_what_does_not(mode: Mode) {
    let mut site = Site::prepare(mode);
    let none = vctl(&site, &["list"]);
    assert!(none.out.is_empty() && none.err.contains("No installed Agents found"), "{}", none.err);
    let peers = vctl(&site, &["peerlist"]);
    let text = "VOLTTRON is not running. This command requires VOLTTRON platform to be running";
    assert!(peers.code != 0 && peers.err.contains(text), "{}", peers.err);
    site.platform.launch();
    let uuid = ok(&site, &["--json", "install", &agent(), "--vip-identity", "four"]).json();
    let uuid = uuid["agent_uuid"].as_str().expect("a uuid").to_owned();
    site.platform.terminate();
    for pattern in [&uuid, "volttron-listener"] {
        let listed = ok(&site, &["list", pattern]);
        assert!(listed.out.contains("four"), "{pattern}: {}{}", listed.out, listed.err);
    }
}

async fn configurations_are_stored_and_shown(mode: Mode) {
    let site = Site::start(mode);
    let put = |name: &str, text: &str| {
        let file = site.platform.home().join(name);
        fs::write(&file, text).expect("write");
        file.display().to_string()
    };
    let files = [
        (put("a.json", "{\"a\": 1}"), "one", "--json", "{\n  \"a\": 1\n}\n"),
        (put("a.csv", "x,y\n1,2\n"), "two", "--csv", "[\n  {\n    \"x\": \"1\",\n    \"y\": \"2\"\n  }\n]\n"),
        (put("a.txt", "text"), "three", "--raw", "text"),
    ];
    for (file, name, kind, shown) in &files {
        ok(&site, &["config", "store", "agent", name, file, kind]);
        assert_eq!(ok(&site, &["config", "get", "agent", name]).out, *shown);
        ok(&site, &["--json", "config", "get", "agent", name]).json();
        let stored = fs::read_to_string(file).expect("the file");
        assert_eq!(ok(&site, &["config", "get", "agent", name, "--raw"]).out, stored);
    }
    answering(&site, &["config", "store", "agent", "piped", "--raw"], "from a pipe");
    answering(&site, &["config", "store", "agent", "dash", "-", "--raw"], "from a dash");
    assert_eq!(ok(&site, &["config", "get", "agent", "piped"]).out, "from a pipe");
    assert_eq!(ok(&site, &["config", "get", "agent", "dash"]).out, "from a dash");
}

/// The entries in `auth list`, as scripts take them apart.
fn entries(site: &Site) -> Vec<Value> {
    let text = ok(site, &["auth", "list"]).out;
    if text.starts_with("No entries in ") {
        return Vec::new();
    }
    let mut all = Vec::new();
    for (n, part) in text.split("\nINDEX: ").skip(1).enumerate() {
        let (index, rest) = part.split_once('\n').expect("an index");
        assert_eq!(index, n.to_string());
        let (entry, _) = rest.split_once("\n}\n").expect("an entry of several lines");
        all.push(serde_json::from_str(&format!("{entry}\n}}")).expect("an entry is JSON"));
    }
    assert!(text.starts_with('\n') && text.ends_with("}\n\n"), "{text}");
    all
}

async fn entries_are_added_changed_and_removed_by_answers(mode: Mode) {
    let site = Site::start(mode);
    let key = "a".repeat(43);
    let before = entries(&site).len();
    // domain, address, user_id, identity, capabilities, roles, groups, mechanism, credentials, comments, enabled
    let answers = format!("\n\nasked\nasked.agent\ncan_x\nr1,r2\ng1\n\n{key}\nby answers\n\n");
    answering(&site, &["auth", "add"], &answers);
    let all = entries(&site);
    assert_eq!(all.len(), before + 1);
    let added = &all[before];
    assert_eq!(
        (
            &added["user_id"],
            &added["identity"],
            &added["credentials"],
            &added["mechanism"],
            &added["enabled"]
        ),
        (&json!("asked"), &json!("asked.agent"), &json!(key), &json!("CURVE"), &json!(true)),
    );
    assert_eq!((&added["roles"], &added["groups"]), (&json!(["r1", "r2"]), &json!(["g1"])));
    assert_eq!((&added["domain"], &added["comments"]), (&Value::Null, &json!("by answers")));
    // All as it is, save the comment.
    let index = before.to_string();
    answering(&site, &["auth", "update", &index], "\n\n\n\n\n\n\n\n\nanother\n\n");
    let changed = entries(&site)[before].clone();
    assert_eq!((&changed["comments"], &changed["user_id"]), (&json!("another"), &json!("asked")));
    let other = "b".repeat(43);
    let capabilities = r#"{"edit_config_store": {"identity": "opt"}}"#;
    ok(
        &site,
        &[
            "auth",
            "add",
            "--domain",
            "vip",
            "--address",
            "127.0.0.1",
            "--mechanism",
            "CURVE",
            "--credentials",
            &other,
            "--user_id",
            "opt",
            "--capabilities",
            capabilities,
            "--groups",
            "g",
            "--roles",
            "r",
            "--comments",
            "c",
            "--disabled",
        ],
    );
    let all = entries(&site);
    let added = &all[before + 1];
    assert_eq!(
        (&added["enabled"], &added["capabilities"]["edit_config_store"]["identity"]),
        (&json!(false), &json!("opt"))
    );
    ok(&site, &["auth", "rpc", "add", "asked.agent.run", "cap1", "cap2"]);
    let required = |all: &[Value]| all[before]["rpc_method_authorizations"]["run"].clone();
    assert_eq!(required(&entries(&site)), json!(["cap1", "cap2"]));
    ok(&site, &["auth", "rpc", "remove", "asked.agent.run", "cap1"]);
    assert_eq!(required(&entries(&site)), json!(["cap2"]));
    for _ in 0..2 {
        answering(&site, &["auth", "remove", &index], "Y\n");
    }
    assert_eq!(entries(&site).len(), before);
}

async fn groups_roles_and_hosts_are_two_columns_below_two_lines(mode: Mode) {
    let site = Site::start(mode);
    let rows = |args: &[&str]| -> Vec<String> {
        ok(&site, args)
            .out
            .lines()
            .skip(2)
            .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    };
    for (add, update, remove, list) in [
        ("add-group", "update-group", "remove-group", "list-groups"),
        ("add-role", "update-role", "remove-role", "list-roles"),
    ] {
        let had = rows(&["auth", list]).len();
        ok(&site, &["auth", add, "name", "one"]);
        assert!(rows(&["auth", list]).contains(&"name ['one']".to_owned()));
        ok(&site, &["auth", update, "name", "two"]);
        assert!(rows(&["auth", list]).contains(&"name ['one', 'two']".to_owned()));
        ok(&site, &["auth", update, "name", "one", "--remove"]);
        assert!(rows(&["auth", list]).contains(&"name ['two']".to_owned()));
        ok(&site, &["auth", remove, "name"]);
        assert_eq!(rows(&["auth", list]).len(), had);
    }
    let key = "c".repeat(43);
    ok(&site, &["auth", "add-known-host", "--host", "10.0.0.9:22916", "--serverkey", &key]);
    assert!(rows(&["auth", "list-known-hosts"]).contains(&format!("10.0.0.9:22916 {key}")));
    ok(&site, &["auth", "remove-known-host", "10.0.0.9:22916"]);
    assert!(!ok(&site, &["auth", "list-known-hosts"]).out.contains("10.0.0.9"));
}

crate::in_both_modes! {
    the_version_is_two_words_and_the_routers,
    installing_prints_one_object_and_force_replaces,
    a_wheel_that_is_not_there_is_an_invalid_file,
    starting_stopping_and_removing_show_pids_in_brackets,
    nobody_to_start_is_no_failure_and_a_misspelt_option_is,
    what_works_without_a_platform_and_what_does_not,
    configurations_are_stored_and_shown,
    entries_are_added_changed_and_removed_by_answers,
    groups_roles_and_hosts_are_two_columns_below_two_lines,
}
