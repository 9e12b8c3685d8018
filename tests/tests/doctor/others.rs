//! Other processes, platforms and users: who is in the way is named, and nobody is harmed.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use volttron_tests::platform::Platform;
use volttron_tests::programs::{free_port, program};

use crate::site::{Home, Site, edit_entry, findings_of, fixes, mode, own, paste, require};

#[test]
fn who_is_in_the_way_is_named() {
    let site = Site::stopped();
    let home = site.copy();
    // Another process has the port: this one.
    let port = site.platform.address().rsplit_once(':').expect("a port").1.to_owned();
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).expect("the port is free");
    let me = format!("pid {}", std::process::id());
    let diagnosis = home.doctor(&[]);
    require(&diagnosis, "VT2005", "fault", &[&port, &me], &format!("sed -i '3s/:{port}/:"));
    let output = paste(&home.path, fixes(&own(&diagnosis))[0]);
    assert!(output.status.success() && own(&home.doctor(&[])).is_empty(), "{output:?}");
    drop(listener);
    let home = site.copy();
    // And the local socket.
    use std::os::linux::net::SocketAddrExt;
    let name = format!("{}/run/vip.socket", home.path.display());
    let name = std::os::unix::net::SocketAddr::from_abstract_name(name).expect("a name");
    let listener = std::os::unix::net::UnixListener::bind_addr(&name).expect("bind");
    require(&home.doctor(&[]), "VT2005", "fault", &["vip.socket", &me], "ps ");
    drop(listener);
    // A lock whose holder does not get ready.
    let lock = home.file("volttron.lock");
    fs::write(&lock, "pid: 4711\nsince: x\nversion: 0.1.0\nstate: running\n").expect("write");
    let held = volttron_utils::files::FileLock::try_acquire(&lock).expect("lock").expect("free");
    let old = fs::File::options().append(true).open(&lock).expect("open");
    old.set_modified(SystemTime::now() - Duration::from_secs(600)).expect("set the time");
    require(&home.doctor(&[]), "VT3033", "fault", &["process 4711", "not ready"], "kill 4711");
    drop(held);
    // Peers that are not there.
    let gone = free_port();
    home.configure(&format!("volttron-central-address = http://127.0.0.1:{gone}"));
    home.write("external_address.json", &format!("[\"http://127.0.0.1:{port}\"]"));
    let diagnosis = home.doctor(&[]);
    require(&diagnosis, "VT3052", "warning", &[&gone.to_string(), "volttron-central-address"], "nc -vz");
    require(&diagnosis, "VT3052", "warning", &[&port, "external_address.json"], "nc -vz");
    // A limit of the shell.
    let home = site.copy();
    let mut shell = Command::new("sh");
    shell.env_clear().env("VOLTTRON_HOME", &home.path).env("HOME", &home.path);
    let vctl = program("vctl");
    shell.arg("-c").arg(format!("ulimit -n 100; exec {} --json doctor", vctl.display()));
    require(&findings_of(&mut shell), "VT3074", "warning", &["100 files", "2 agents"], "ulimit -n");
}

/// The platform of another home goes on, and this one gets another port; its own platform is in nobody's way.
#[test]
fn platforms_leave_each_other_alone() {
    let platform = Platform::start();
    let port = platform.address().rsplit_once(':').expect("a port").1.to_owned();
    let parent = tempfile::Builder::new().prefix("vd").tempdir().expect("a directory");
    let path = parent.path().join("vh");
    fs::create_dir(&path).expect("create");
    fs::copy(platform.home().join("config"), path.join("config")).expect("copy");
    let copy = Home { parent, path };
    let whose = format!("the platform of {}", platform.home().display());
    let pid = format!("pid {}", platform.pid());
    let diagnosis = copy.doctor(&[]);
    require(&diagnosis, "VT2005", "fault", &[&port, &whose, &pid], "sed -i '3s/:");
    for fix in fixes(&own(&diagnosis)) {
        assert!(!fix.contains("kill"), "{fix}");
        assert!(paste(&copy.path, fix).status.success(), "{fix}");
    }
    assert_eq!(own(&copy.doctor(&[])), Vec::<Value>::new());

    // As it is while it starts and stops.
    let doctor = || findings_of(platform.command("vctl").args(["--json", "doctor"]));
    fs::remove_file(platform.home().join("VOLTTRON_PID")).expect("remove");
    let diagnosis = doctor();
    assert_eq!(diagnosis["running"], Value::Null);
    assert_eq!(own(&diagnosis), Vec::<Value>::new(), "{diagnosis:#}");
    fs::write(platform.home().join("VOLTTRON_PID"), platform.pid().to_string()).expect("write");
    assert_eq!(own(&doctor()), Vec::<Value>::new());
}

/// doctor as another user, from where that user may run it.
fn doctor_as(home: &Path, uid: u32) -> Value {
    let programs = tempfile::tempdir().expect("a directory");
    mode(programs.path(), 0o755);
    let copy = programs.path().join("vctl");
    fs::copy(program("vctl"), &copy).expect("copy");
    let mut other = Command::new(&copy);
    other.env_clear().env("VOLTTRON_HOME", home).env("HOME", home).args(["--json", "doctor"]);
    other.uid(uid).gid(uid);
    findings_of(&mut other)
}

/// What others may not read is not broken. Only root can become somebody else.
#[test]
fn another_user_is_sent_to_the_one_whose_home_it_is() {
    const NOBODY: u32 = 65534;
    let site = Site::stopped();
    let home = site.copy();
    if !rustix::process::geteuid().is_root() {
        mode(&home.path, 0o555);
        let diagnosis = home.doctor(&[]);
        mode(&home.path, 0o755);
        return require(&diagnosis, "VT3002", "fault", &["not writable"], "chmod u+rwx");
    }
    let only = |diagnosis: &Value, home: &Path| {
        let fix = format!("sudo -u root vctl --vhome {} doctor", home.display());
        require(diagnosis, "VT3004", "fault", &["belongs to root", "were not examined"], &fix);
        assert_eq!(own(diagnosis).len(), 1, "{diagnosis:#}");
    };
    let parent = home.parent.path();
    // Hidden altogether, then to be looked at, then with a platform in it.
    only(&doctor_as(&home.path, NOBODY), &home.path);
    mode(parent, 0o755);
    mode(&home.path, 0o755);
    only(&doctor_as(&home.path, NOBODY), &home.path);
    let platform = Platform::start();
    mode(platform.home(), 0o755);
    only(&doctor_as(platform.home(), NOBODY), platform.home());

    // Root may look; what it does is done as the one whose home it is.
    edit_entry(&home, |entry| entry["enabled"] = false.into());
    give(&home.path, NOBODY);
    let fix = format!("sudo -u nobody vctl --vhome {} auth admit pump", home.path.display());
    require(&home.doctor(&[]), "VT3042", "fault", &["pump", "disabled"], &fix);
    // What root left there is to be the owner's, and nothing else.
    chown(home.file("auth.json"), Some(0), Some(0)).expect("chown");
    let diagnosis = doctor_as(&home.path, NOBODY);
    let fix = format!("sudo chown {NOBODY} {0}/auth.json && chmod 600 {0}/auth.json", home.path.display());
    require(&diagnosis, "VT2008", "fault", &["auth.json cannot be read"], &fix);
    assert_eq!(own(&diagnosis).len(), 1, "{diagnosis:#}");
}

fn give(path: &Path, uid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(uid)).expect("chown");
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).expect("read").flatten() {
            give(&entry.path(), uid);
        }
    }
}
