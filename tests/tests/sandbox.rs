//! Confined agents (`agent-sandbox`), native and Python, with the same Unix user: what they still can and what they cannot.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed; one that is skipped says so"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use volttron_tests::platform::{Platform, sources};
use volttron_tests::programs::program;
use volttron_tests::python::interpreter;
use volttron_tests::wait::until;

const PATIENCE: Duration = Duration::from_secs(60);

fn platform(mode: &str) -> Platform {
    let mut platform = Platform::prepare();
    platform.configure(&format!("agent-sandbox = {mode}"));
    platform.launch();
    platform
}

/// The agent `two`, confined; none where the kernel cannot do it, and that is said loudly.
fn install_confined(platform: &Platform) -> Option<Value> {
    let listener = program("volttron-listener").display().to_string();
    let output = platform.vctl(&["--json", "install", &listener, "--vip-identity", "two", "--start"]);
    let said = format!("{output:?}");
    if said.contains("this machine lacks") {
        eprintln!("LEFT OUT: {said}");
        return None;
    }
    assert!(output.status.success(), "{said}");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// Changes an agent's `agent.json`; counts from its next start on.
fn edit(platform: &Platform, identity: &str, change: impl FnOnce(&mut Value)) {
    let path = platform.home().join("agents").join(identity).join("agent.json");
    let mut manifest = serde_json::from_str(&fs::read_to_string(&path).expect("read")).expect("JSON");
    change(&mut manifest);
    fs::write(&path, manifest.to_string()).expect("write agent.json");
}

/// Each of these is tried by a shell that is started in the agent's place and then becomes the agent.
/// `$OTHER` is the process of another agent.
const ALLOWED: [(&str, &str); 8] = [
    ("own keys", "cat keystore.json"),
    ("own configuration", "cat config"),
    ("data", "mkdir -p data/a && echo x > data/a/b && mv data/a/b data/c && cat data/c && rm data/c"),
    ("temporary files", "test \"$TMPDIR\" = \"$VOLTTRON_HOME/agents/one/tmp\" && mktemp"),
    ("the system", "cat /etc/passwd /proc/self/status && ls /usr"),
    ("null", "echo x > /dev/null"),
    ("its own children", "sleep 100 & kill $!"),
    ("the platform's config", "cat \"$VOLTTRON_HOME/config\""),
];
const FORBIDDEN: [(&str, &str); 12] = [
    ("another's keys", "cat ../two/keystore.json"),
    ("another's configuration", "cat ../two/config"),
    ("another's data", "ls ../two/data"),
    ("the platform's keys", "cat \"$VOLTTRON_HOME/keystore\""),
    ("who may do what", "cat \"$VOLTTRON_HOME/auth.json\""),
    ("how it is launched", "echo >> agent.json"),
    (
        "whom the platform trusts",
        "touch \"$VOLTTRON_HOME/known_hosts\" && echo >> \"$VOLTTRON_HOME/known_hosts\"",
    ),
    ("temporary files of others", "mktemp -p /tmp"),
    ("another's environment", "cat /proc/$OTHER/environ"),
    ("another's signals", "kill -0 $OTHER"),
    (
        "another's memory",
        "python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(None).ptrace(0x4206, $OTHER, 0, 0) != 0)'",
    ),
    ("namespaces", "unshare --user true"),
];

/// What the shell in the agent's place could do.
fn tried(platform: &Platform, identity: &str, other: &str) -> BTreeMap<String, bool> {
    let mut script = format!("OTHER={other}; rm -f data/tried\n");
    for (name, command) in ALLOWED.iter().chain(&FORBIDDEN) {
        script.push_str(&format!(
            "if ( {command} ) > /dev/null 2>> data/said; then r=yes; else r=no; fi; echo \"{name}:$r\" >> data/tried\n"
        ));
    }
    script.push_str(&format!("exec {}\n", program("volttron-listener").display()));
    edit(platform, identity, |manifest| {
        manifest["exec"] = "/bin/sh".into();
        manifest["args"] = json!(["-c", script]);
        // The listener as it was built, which no home contains.
        let rules = json!({"read": [program("volttron-listener")]});
        manifest["sandbox"] = rules;
    });
    platform.vctl_ok(&["restart", identity]);
    let path = platform.home().join("agents").join(identity).join("data/tried");
    let text = until("all to be tried", PATIENCE, || {
        fs::read_to_string(&path).ok().filter(|t| t.lines().count() == ALLOWED.len() + FORBIDDEN.len())
    });
    let lines = text.lines().filter_map(|line| line.rsplit_once(':'));
    lines.map(|(name, answer)| (name.to_owned(), answer == "yes")).collect()
}

fn install(platform: &Platform, identity: &str) -> Value {
    let listener = program("volttron-listener").display().to_string();
    platform.vctl_json(&["install", &listener, "--vip-identity", identity, "--start"])
}

fn health(platform: &Platform, identity: &str) -> Value {
    platform.vctl_json(&["status"])[identity]["health"]["message"].clone()
}

#[test]
fn a_native_agent_has_its_own_and_nothing_else() {
    let platform = platform("require");
    let Some(two) = install_confined(&platform) else { return };
    install(&platform, "one");
    let other = two["pid"].to_string();
    let done = tried(&platform, "one", &other);
    let said = fs::read_to_string(platform.home().join("agents/one/data/said")).unwrap_or_default();
    for (name, _) in ALLOWED {
        assert!(done[name], "{name}: {said}");
    }
    for (name, _) in FORBIDDEN {
        assert!(!done[name], "{name}");
    }
    until("the listener in the shell's place", PATIENCE, || {
        (health(&platform, "one") == "GOOD").then_some(())
    });
    let status = platform.vctl_json(&["status"]);
    let protection = &status["one"]["protection"];
    assert_eq!(protection["sandbox"], "require");
    assert!(protection["landlock_abi"].as_i64().is_some_and(|abi| abi >= 4), "{protection}");
    assert_eq!(protection["calls_refused"], true);
    assert_eq!(protection["missing"], json!([]));
    let kernel = fs::read_to_string(format!("/proc/{other}/status")).expect("it runs");
    assert!(kernel.contains("Seccomp:\t2") && kernel.contains("NoNewPrivs:\t1"), "{kernel}");
    assert!(platform.log().contains("kept to its files (Landlock"), "{}", platform.log());
}

#[test]
fn without_a_sandbox_the_same_is_open() {
    let platform = platform("off");
    install(&platform, "one");
    let other = install(&platform, "two")["pid"].to_string();
    let done = tried(&platform, "one", &other);
    // Not all: some need root, or a kernel that allows it.
    for name in ["another's keys", "the platform's keys", "another's environment", "another's signals"] {
        assert!(done[name], "{name}");
    }
    assert_eq!(platform.vctl_json(&["status"])["one"]["protection"]["sandbox"], "off");
}

#[test]
fn an_agent_may_be_told_apart_in_its_agent_json() {
    if install_confined(&platform("require")).is_none() {
        return;
    }
    let platform = platform("off");
    let port: u16 = platform.address().rsplit_once(':').expect("a port").1.parse().expect("a number");
    install(&platform, "one");
    // A port that is listed can be reached, another one that is listened on cannot.
    let script = format!(
        "import socket, os, time\n\
         def can(port):\n    \
             try: socket.create_connection(('127.0.0.1', port), 5).close(); return 'yes'\n    \
             except PermissionError: return 'no'\n\
         open('data/ports.new', 'w').write(can({port}))\n\
         os.rename('data/ports.new', 'data/ports')\n\
         time.sleep(1000)\n"
    );
    for (ports, expected) in [(json!([port]), "yes"), (json!([1]), "no"), (Value::Null, "yes")] {
        edit(&platform, "one", |manifest| {
            manifest["exec"] = "/usr/bin/python3".into();
            manifest["args"] = json!(["-c", script]);
            manifest["sandbox"] = json!({"mode": "on"});
            if !ports.is_null() {
                manifest["sandbox"]["connect_tcp"] = ports;
            }
        });
        platform.vctl(&["stop", "one"]);
        let answer = platform.home().join("agents/one/data/ports");
        let _ = fs::remove_file(&answer);
        let _ = platform.vctl(&["start", "--wait", "0", "one"]);
        let said = until("the ports", PATIENCE, || fs::read_to_string(&answer).ok());
        assert_eq!(said, expected);
    }
    for (wrong, why) in [
        (json!({"mode": "maybe"}), "unknown variant `maybe`"),
        (json!({"reed": []}), "unknown field `reed`"),
        (json!({"mode": "on", "write": ["data"]}), "not an absolute path"),
    ] {
        platform.vctl(&["stop", "one"]);
        edit(&platform, "one", |manifest| manifest["sandbox"] = wrong);
        let output = platform.vctl(&["start", "one"]);
        assert!(!output.status.success());
        let said = format!("{output:?}");
        assert!(said.contains("`sandbox` in its agent.json") && said.contains(why), "{said}");
    }
}

/// What the agent of 9.x is taught for this test.
const ATTEMPT: &str = r#"
    @RPC.export
    def attempt(self, expression):
        try:
            return str(eval(expression))
        except Exception as error:
            return type(error).__name__

"#;

#[test]
fn a_python_agent_works_and_is_kept_in() {
    let Some(python) = interpreter() else { return };
    let mut platform = Platform::prepare();
    platform.configure("agent-sandbox = require");
    platform.configure(&format!("agent-python = {}", python.display()));
    platform.launch();
    if install_confined(&platform).is_none() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let source = dir.path().join("classic");
    let copied = Command::new("cp").arg("-r").arg(sources().join("agents/classic")).arg(&source).status();
    assert!(copied.expect("cp runs").success());
    let module = source.join("echo_classic/agent.py");
    let text = fs::read_to_string(&module).expect("read");
    fs::write(&module, text.replace("\ndef main():", &format!("{ATTEMPT}\ndef main():"))).expect("write");
    let source = source.display().to_string();
    let mut vctl = platform.command("vctl");
    vctl.envs(std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PIP_")));
    let output =
        vctl.args(["install", &source, "--vip-identity", "py", "--start"]).output().expect("run vctl");
    assert!(output.status.success(), "{output:?}\n{}", platform.log());
    until("it to be well", PATIENCE, || (health(&platform, "py") == "GOOD").then_some(()));

    let attempt = |expression: &str| {
        let argument = json!(expression).to_string();
        let said = platform.vctl_ok(&["call", "py", "attempt", &argument]);
        serde_json::from_str::<Value>(&said).expect("JSON").as_str().expect("a text").to_owned()
    };
    let home = platform.home().display().to_string();
    for (expression, expected) in [
        (format!("open('{home}/agents/py/data/new', 'w').write('abc')"), "3"),
        ("__import__('tempfile').TemporaryFile().write(b'ab')".to_owned(), "2"),
        ("__import__('sqlite3').connect(os.environ['AGENT_DATA_DIR'] + '/x.db').execute('create table t (a)').fetchall()".to_owned(), "[]"),
        ("__import__('subprocess').run(['true']).returncode".to_owned(), "0"),
        ("__import__('threading').Thread(target=int).start()".to_owned(), "None"),
        (format!("open('{home}/agents/two/keystore.json')"), "PermissionError"),
        (format!("open('{home}/keystore')"), "PermissionError"),
        (format!("open('{home}/auth.json')"), "PermissionError"),
        (format!("os.listdir('{home}')"), "PermissionError"),
        ("open('/tmp/x', 'w')".to_owned(), "PermissionError"),
        ("__import__('ctypes').CDLL(None).ptrace(0, 0, 0, 0)".to_owned(), "-1"),
        ("__import__('time').clock_settime(0, 0)".to_owned(), "PermissionError"),
    ] {
        assert_eq!(attempt(&expression), expected, "{expression}");
    }
    let data = platform.home().join("agents/py/data");
    assert!(data.join("starts").is_file() && data.join("x.db").is_file());
    assert!(!Path::new("/tmp/x").exists());
}
