//! Agents as Unix users of their own, with real users: needs root, and is skipped (aloud) without.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed; one that is skipped says so"
)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::geteuid;
use serde_json::json;
use volttron_tests::platform::Platform;
use volttron_tests::programs::program;
use volttron_tests::wait::until;

const PATIENCE: Duration = Duration::from_secs(20);

fn is_root() -> bool {
    let root = geteuid().is_root();
    if !root {
        eprintln!("skipped: only root can make users");
    }
    root
}

/// A platform's home with two agents, and their users, which go with it.
struct Isolated {
    dir: tempfile::TempDir,
    users: Vec<String>,
    _alone: MutexGuard<'static, ()>,
}

/// One site at a time: the group goes with the last of its users.
static ALONE: Mutex<()> = Mutex::new(());

impl Isolated {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        // Users must be able to get there, as they would be in /var/lib.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("open the directory");
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = Self { dir, users: Vec::new(), _alone: alone };
        for agent in ["one", "two"] {
            fs::create_dir_all(new.agent(agent).join("data/deep")).expect("create an agent");
            new.write(&format!("agents/{agent}/keystore.json"), 0o600, "secret");
            new.write(&format!("agents/{agent}/config"), 0o644, "{}");
            new.write(&format!("agents/{agent}/USER_ID"), 0o644, "volttron_1");
            new.write(&format!("agents/{agent}/agent.json"), 0o644, "{}");
            new.write(&format!("agents/{agent}/data/deep/history"), 0o644, "data");
        }
        new.write("keystore", 0o600, "the platform's secret");
        new.write("auth.json", 0o600, "rules");
        let mut setup =
            new.helper(&["setup", "--instance", "isolationtest", "--platform-user", "root", "--home"]);
        ok(&setup.arg(new.home()).output().expect("the helper runs"));
        for _ in 0..2 {
            let name = ok(&new.helper(&["add-user"]).output().expect("the helper runs"));
            new.users.push(name.trim().to_owned());
        }
        new
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("vh")
    }

    fn agent(&self, identity: &str) -> PathBuf {
        self.home().join("agents").join(identity)
    }

    fn write(&self, path: &str, mode: u32, text: &str) {
        let path = self.home().join(path);
        fs::write(&path, text).expect("write a file");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set the mode");
    }

    fn helper(&self, args: &[&str]) -> Command {
        let mut helper = Command::new(program("volttron-agent-exec"));
        helper.arg("--site").arg(self.dir.path().join("site.json")).args(args);
        helper
    }

    /// Runs a script as the user of agent `which`.
    fn spawn(&self, which: usize, script: &str) -> Child {
        let identity = ["one", "two"][which];
        let launch = json!({"exec": "/bin/sh", "args": ["-c", script], "cwd": self.agent(identity),
            "env": {"PATH": "/usr/bin:/bin", "HOME_OF_PLATFORM": self.home()}});
        let mut helper = self.helper(&["run", &self.users[which], identity]);
        let mut child = helper
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the helper runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(launch.to_string().as_bytes()).expect("say what to run");
        child
    }

    fn run(&self, which: usize, script: &str) -> Output {
        self.spawn(which, script).wait_with_output().expect("the script ends")
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        for user in &self.users {
            let _ = self.helper(&["signal", user, "KILL"]).output();
            let _ = self.helper(&["remove-user", user]).output();
        }
        let _ = Command::new("groupdel").arg("volttron_isolationtest").output();
    }
}

fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn an_agents_user_has_its_own_files_and_nobody_elses() {
    if !is_root() {
        return;
    }
    let site = Isolated::new();
    // Both have been started, so both have been handed over.
    for which in [0, 1] {
        let own = "cat keystore.json config data/deep/history && echo new > data/deep/made && echo more >> data/deep/history";
        assert_eq!(ok(&site.run(which, own)), "secret{}data");
        assert_eq!(ok(&site.run(which, "id -un")).trim(), site.users[which]);
    }
    let home = "$HOME_OF_PLATFORM";
    for forbidden in [
        format!("cat {home}/agents/two/keystore.json"),
        format!("cat {home}/agents/two/config"),
        format!("ls {home}/agents/two"),
        format!("cat {home}/agents/two/data/deep/history"),
        format!("echo x > {home}/agents/two/data/x"),
        format!("echo x > {home}/agents/one/x"),
        "echo x > keystore.json && false || cat /etc/shadow".to_owned(),
        format!("cat {home}/keystore"),
        format!("cat {home}/auth.json"),
        format!("echo x > {home}/x"),
        format!("ls {home}"),
        format!("ls {home}/agents"),
        "rm config".to_owned(),
        // Whose rights it is given, and what it runs as.
        "chmod 0666 USER_ID; echo volttron_2 > USER_ID".to_owned(),
        "chmod 0666 agent.json; echo > agent.json".to_owned(),
    ] {
        let output = site.run(0, &forbidden);
        assert!(!output.status.success(), "{forbidden}: {}", String::from_utf8_lossy(&output.stdout));
        assert!(output.stdout.is_empty(), "{forbidden}");
    }
    // The platform still reads and replaces what it has to.
    assert_eq!(fs::read_to_string(site.agent("one").join("data/deep/made")).expect("read"), "new\n");
    // Setuid programs give it nothing: su exists wherever users do.
    assert!(!site.run(0, "su -c id root < /dev/null").status.success());
    assert!(ok(&site.run(0, "grep NoNewPrivs /proc/self/status")).contains('1'));
}

#[test]
fn links_and_strangers_files_do_not_change_hands() {
    if !is_root() {
        return;
    }
    let site = Isolated::new();
    let outside = site.dir.path().join("outside");
    fs::write(&outside, "root's").expect("write");
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o600)).expect("set the mode");
    symlink(&outside, site.agent("one").join("data/link")).expect("a link");
    fs::hard_link(&outside, site.agent("one").join("data/second-name")).expect("a second name");
    symlink("/etc", site.agent("one").join("data/etc")).expect("a link");
    let owner = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        let facts = fs::symlink_metadata(path).expect("metadata");
        (facts.uid(), facts.mode() & 0o7777)
    };
    let etc = owner(Path::new("/etc"));
    assert!(!site.run(0, "cat data/link").status.success());
    assert!(!site.run(0, "cat data/second-name").status.success());
    assert_eq!(owner(&outside), (0, 0o600));
    assert_eq!(owner(Path::new("/etc")), etc);

    // An agent's directory that is a link leads nowhere.
    symlink("/etc", site.home().join("agents/three")).expect("a link");
    let mut helper = site.helper(&["run", &site.users[0], "three"]);
    let mut child = helper.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the helper runs");
    let launch = json!({"exec": "/bin/true", "args": [], "env": {}, "cwd": "/"}).to_string();
    child.stdin.take().expect("a pipe").write_all(launch.as_bytes()).expect("say what to run");
    assert!(!child.wait().expect("the helper ends").success());
}

#[test]
fn the_helper_serves_nobody_but_agents() {
    if !is_root() {
        return;
    }
    let site = Isolated::new();
    for args in [
        &["signal", "root", "KILL"][..],
        &["signal", "nobody", "TERM"],
        &["signal", "volttron_1", "TERM"],
        &["signal", &site.users[0], "STOP"],
        &["remove-user", "root"],
        &["remove-user", "daemon"],
        &["run", "root", "one"],
        &["run", &site.users[0], "../two"],
        &["add-user", "--site", "/etc/passwd"],
    ] {
        let output = site.helper(args).stdin(Stdio::null()).output().expect("the helper runs");
        assert!(!output.status.success(), "{args:?}");
    }
    // One who is not root gets nothing from it.
    let exec = program("volttron-agent-exec").display().to_string();
    let output = site.run(0, &format!("{exec} --site /etc/passwd add-user"));
    assert!(!output.status.success());
}

#[test]
fn a_signal_reaches_everything_the_user_runs_and_nothing_else() {
    if !is_root() {
        return;
    }
    let site = Isolated::new();
    let mut one = site.spawn(0, "setsid sleep 1000 & sleep 1000 & echo ready; wait");
    let mut two = site.spawn(1, "echo ready; sleep 1000");
    let sleeping = |user: &str| {
        let found = Command::new("pgrep").args(["-c", "-u", user, "sleep"]).output().expect("pgrep runs");
        String::from_utf8_lossy(&found.stdout).trim().parse::<u32>().expect("a number")
    };
    until("both sleep", PATIENCE, || {
        (sleeping(&site.users[0]) == 2 && sleeping(&site.users[1]) == 1).then_some(())
    });
    ok(&site.helper(&["signal", &site.users[0], "KILL"]).output().expect("the helper runs"));
    assert!(!one.wait().expect("it ends").success());
    until("its children ended too", PATIENCE, || (sleeping(&site.users[0]) == 0).then_some(()));
    assert_eq!(sleeping(&site.users[1]), 1);
    assert!(two.try_wait().expect("ask").is_none());
    two.kill().expect("kill");
    two.wait().expect("it ends");
}

#[test]
fn a_platform_runs_each_agent_as_a_user_of_its_own() {
    if !is_root() {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("open the directory");
    let site = dir.path().join("site.json");
    let mut platform = Platform::prepare_in(dir.path());
    platform.configure("instance-name = isolationtest");
    platform.configure("agent-isolation-mode = True");
    platform.configure(&format!("agent-isolation-site = {}", site.display()));

    // Nobody has set it up: the platform says how, rather than run agents as itself.
    let refused = platform.command("volttron").output().expect("volttron runs");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("setup --instance isolationtest"), "{said}");

    let mut setup = Command::new(program("volttron-agent-exec"));
    setup.arg("--site").arg(&site).args(["setup", "--instance", "isolationtest", "--platform-user", "root"]);
    ok(&setup.arg("--home").arg(platform.home()).output().expect("the helper runs"));
    platform.launch();
    let listener = program("volttron-listener").display().to_string();
    let mut users = Vec::new();
    for identity in ["one", "two"] {
        let installed = platform.vctl_json(&["install", &listener, "--vip-identity", identity, "--start"]);
        assert_eq!(installed["started"], true, "{}", platform.log());
        let status = platform.vctl_json(&["status"]);
        assert_eq!(status[identity]["health"]["message"], "GOOD");
        let user = status[identity]["agent_user"].as_str().expect("a user").to_owned();
        let uid = ok(&Command::new("id").args(["-u", &user]).output().expect("id runs"));
        let process = fs::read_to_string(format!("/proc/{}/status", installed["pid"])).expect("it runs");
        assert!(process.contains(&format!("Uid:\t{0}\t{0}\t{0}\t{0}", uid.trim())), "{process}");
        users.push(user);
    }
    assert_ne!(users[0], users[1]);
    assert!(platform.vctl_ok(&["status"]).contains(&users[0]));

    let as_one = |path: &str| {
        let mut run = Command::new(program("volttron-agent-exec"));
        run.arg("--site").arg(&site).args(["run", &users[0], "one"]).stdin(Stdio::piped());
        let mut child = run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the helper runs");
        let launch = json!({"exec": "/bin/cat", "args": [platform.home().join(path)], "env": {}, "cwd": "/"});
        child
            .stdin
            .take()
            .expect("a pipe")
            .write_all(launch.to_string().as_bytes())
            .expect("say what to run");
        child.wait_with_output().expect("cat ends").status.success()
    };
    assert!(as_one("agents/one/keystore.json"));
    for theirs in [
        "agents/two/keystore.json",
        "agents/two/config",
        "keystore",
        "auth.json",
        "audit.log",
        "keystores/control/keystore.json",
        "configuration_store/platform.driver.store",
    ] {
        assert!(!as_one(theirs), "{theirs}");
    }

    platform.vctl_ok(&["stop", "one"]);
    assert_eq!(platform.vctl_json(&["status"])["one"]["status"], "0");
    platform.vctl_ok(&["restart", "two"]);
    remove_both(platform, &users);
}

/// Removes the agents `one` and `two`; their users go with them, and so does what else was made for the platform.
fn remove_both(mut platform: Platform, users: &[String]) {
    for identity in ["one", "two"] {
        platform.vctl_ok(&["remove", identity, "--force"]);
    }
    for user in users {
        let known = Command::new("id").arg(user).stderr(Stdio::null()).stdout(Stdio::null()).status();
        assert!(!known.expect("id runs").success(), "{user} stays");
    }
    platform.terminate();
    let _ = Command::new("groupdel").arg("volttron_isolationtest").output();
}

/// A user for a platform that is not root, and the rule that an administrator would write for it.
struct Unprivileged {
    name: &'static str,
    uid: u32,
    gid: u32,
    rule: PathBuf,
}

impl Unprivileged {
    /// None without sudo, said aloud.
    fn new() -> Option<Self> {
        let sudo = Command::new("sudo").arg("--version").output();
        if !sudo.is_ok_and(|output| output.status.success()) || !Path::new("/etc/sudoers.d").is_dir() {
            eprintln!("LEFT OUT: there is no sudo");
            return None;
        }
        let name = "volttronisolation";
        let made =
            Command::new("useradd").args(["--system", "--no-create-home", "--user-group", name]).output();
        ok(&made.expect("useradd runs"));
        let number = |flag: &str| {
            let said = ok(&Command::new("id").args([flag, name]).output().expect("id runs"));
            said.trim().parse().expect("a number")
        };
        let rule = PathBuf::from("/etc/sudoers.d/volttron_isolationtest");
        Some(Self { name, uid: number("-u"), gid: number("-g"), rule })
    }
}

impl Drop for Unprivileged {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.rule);
        let _ = Command::new("pkill").args(["-KILL", "-u", self.name]).output();
        let _ = Command::new("userdel").arg(self.name).output();
    }
}

/// Processes of a user that run the listener.
fn listeners(user: &str) -> Vec<String> {
    let found =
        Command::new("pgrep").args(["-u", user, "-f", "volttron-listener"]).output().expect("pgrep runs");
    String::from_utf8_lossy(&found.stdout).split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_platform_that_is_not_root_does_it_with_sudo() {
    if !is_root() {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(user) = Unprivileged::new() else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("open the directory");
    let below = dir.path().join("platform");
    fs::create_dir(&below).expect("create a directory");
    std::os::unix::fs::chown(&below, Some(user.uid), Some(user.gid)).expect("give it away");
    let site = dir.path().join("site.json");
    let mut platform = Platform::prepare_in(&below);
    platform.run_as(user.uid, user.gid);
    platform.configure("instance-name = isolationtest");
    platform.configure("agent-isolation-mode = True");
    platform.configure("agent-sandbox = on");
    platform.configure("agent-pids-max = 48");
    platform.configure(&format!("agent-isolation-site = {}", site.display()));
    let mut setup = Command::new(program("volttron-agent-exec"));
    setup.arg("--site").arg(&site).args([
        "setup",
        "--instance",
        "isolationtest",
        "--platform-user",
        user.name,
    ]);
    setup.arg("--home").arg(platform.home()).arg("--sudoers").arg(&user.rule);
    ok(&setup.output().expect("the helper runs"));
    ok(&Command::new("visudo").arg("-cf").arg(&user.rule).output().expect("visudo runs"));

    // The rule is for what the platform needs, and nothing else.
    let exec = program("volttron-agent-exec").display().to_string();
    let site = site.display().to_string();
    for forbidden in [
        &["id"][..],
        &[&exec, "confine"],
        &[&exec, "--site", "/tmp/other.json", "add-user"],
        &[&exec, "--site", &site, "setup", "--instance", "other", "--home", "/", "--platform-user", "root"],
        &[&exec, "--site", &site, "run", "root", "one"],
        &[&exec, "--site", &site, "signal", "nobody", "KILL"],
        &[&exec, "--site", &site, "add-user", "--help"],
    ] {
        let output = Command::new("sudo")
            .uid(user.uid)
            .gid(user.gid)
            .args(["-n", "--"])
            .args(forbidden)
            .output()
            .expect("sudo runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("a password is required"), "{forbidden:?}: {output:?}");
    }

    platform.launch();
    let listener = program("volttron-listener").display().to_string();
    let mut users = Vec::new();
    for identity in ["one", "two"] {
        let installed = platform.vctl_json(&["install", &listener, "--vip-identity", identity, "--start"]);
        assert_eq!(installed["started"], true, "{}", platform.log());
        let status = platform.vctl_json(&["status"]);
        assert_eq!(status[identity]["health"]["message"], "GOOD");
        // Without a control group it is the user's processes that are counted.
        assert_eq!(status[identity]["protection"]["limits"]["pids_max"], 48, "{status}");
        let agent = status[identity]["agent_user"].as_str().expect("a user").to_owned();
        let pids = listeners(&agent);
        assert_eq!(pids.len(), 1, "{pids:?}");
        let about = |what: &str| fs::read_to_string(format!("/proc/{}/{what}", pids[0])).expect("it runs");
        assert!(about("status").contains("NoNewPrivs:\t1"));
        let counted = about("limits").lines().any(|l| l.starts_with("Max processes") && l.contains("48"));
        assert!(counted, "{}", about("limits"));
        users.push(agent);
    }
    platform.vctl_ok(&["stop", "one"]);
    assert_eq!(platform.vctl_json(&["status"])["one"]["status"], "0");
    assert!(listeners(&users[0]).is_empty());
    platform.vctl_ok(&["restart", "two"]);
    assert_eq!(listeners(&users[1]).len(), 1);
    platform.vctl_ok(&["stop", "two"]);

    // What a platform that was killed left behind is ended by the next, though it is not the platform's to signal; also
    // if it takes no notice of being asked.
    let file = platform.home().join("agents/two/agent.json");
    let text = fs::read_to_string(&file).expect("agent.json");
    let mut stubborn: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    stubborn["exec"] = "/bin/sh".into();
    let script = "trap '' TERM INT; echo volttron-listener; while :; do sleep 1; done";
    stubborn["args"] = json!(["-c", script]);
    fs::write(&file, stubborn.to_string()).expect("write agent.json");
    let _ = platform.vctl(&["start", "two"]);
    let left = until("it to run", PATIENCE, || Some(listeners(&users[1])).filter(|pids| !pids.is_empty()));
    platform.kill();
    platform.launch();
    until("the leftover to end", PATIENCE, || listeners(&users[1]).is_empty().then_some(()));
    assert!(platform.log().contains("ended two, which an earlier platform had left"), "{}", platform.log());
    assert_eq!(left.len(), 1);
    fs::write(&file, text).expect("write agent.json");
    platform.vctl_ok(&["start", "two"]);
    remove_both(platform, &users);
}
