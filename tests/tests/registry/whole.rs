//! This workspace's crates as somebody gets them who has nothing but a registry: the platform by `cargo install`, an
//! agent by `vctl install NAME`, its next version over it, one that is never well and goes again, a second agent from the
//! same lock file, and one from `vctl new`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use volttron_test_registry::pack;
use volttron_tests::platform::{Platform, sources};
use volttron_tests::python::interpreter;
use volttron_tests::wait::until;

use crate::shop::Shop;

/// Debug builds of everything: the same steps in a third of the time.
const QUICK: [&str; 2] = ["--profile", "dev"];

/// `cargo install` into `root`, in an empty directory, with `target` for what is built on the way.
fn cargo_install(shop: &Shop, name: &str, root: &Path, target: &Path) {
    let empty = shop.path("empty");
    fs::create_dir_all(&empty).expect("a directory");
    let mut cargo = Command::new("cargo");
    cargo.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", &empty);
    shop.furnish(&mut cargo);
    cargo.env("CARGO_TARGET_DIR", target).current_dir(&empty).stdin(Stdio::null());
    cargo.args(["install", "--locked", "--quiet", name, "--root"]).arg(root).args(QUICK);
    assert!(cargo.status().expect("run cargo").success(), "cargo install {name}");
}

/// Publishes the packaged crate `file` once more, as another version, or under another name; `change` may touch its
/// sources before.
fn publish_again(
    shop: &Shop,
    file: &Path,
    name: (&str, &str),
    version: (&str, &str),
    change: impl FnOnce(&Path),
) {
    let dir = shop.path(&format!("{}-{}", name.1, version.1));
    unpack(file, &dir);
    // cargo makes it again.
    fs::remove_file(dir.join("Cargo.toml.orig")).expect("the original manifest");
    let own = |name: &str, version: &str| format!("name = \"{name}\"\nversion = \"{version}\"\n");
    edit(&dir.join("Cargo.lock"), &own(name.0, version.0), &own(name.1, version.1));
    let line = |key: &str, value: &str| format!("{key} = \"{value}\"\n");
    edit(&dir.join("Cargo.toml"), &line("name", name.0), &line("name", name.1));
    edit(&dir.join("Cargo.toml"), &line("version", version.0), &line("version", version.1));
    change(&dir);
    shop.publish(&dir);
}

/// Replaces the first `from` in a file, which must be there.
fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("a file to change");
    assert!(text.contains(from), "{} has no {from:?}", file.display());
    fs::write(file, text.replacen(from, to, 1)).expect("write");
}

/// A listener that is never well.
fn ailing(dir: &Path) {
    let well = "tracing::info!(\"{}\", self.config().message);";
    let ill = "cx.health().set(volttron_client::utils::health::Status::Bad, \"no ears\");";
    edit(&dir.join("src/lib.rs"), well, ill);
}

/// Says how long it took, and how much of that the processor worked: on a busy machine the second is the figure.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (begin, worked) = (Instant::now(), children_seconds());
    let result = work();
    let worked = children_seconds() - worked;
    eprintln!("{what}: {:.1} s, {worked:.1} s of processor time", begin.elapsed().as_secs_f64());
    result
}

/// Processor time of all processes that this one started and that have ended (proc(5): `cutime` and `cstime`).
fn children_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields[n].parse::<f64>().expect("a number");
    (ticks(13) + ticks(14))
        / f64::from(u32::try_from(rustix::param::clock_ticks_per_second()).expect("small"))
}

/// Unpacks a packaged crate, so that it is a directory that cargo takes.
fn unpack(file: &Path, dir: &Path) {
    fs::create_dir_all(dir).expect("a directory");
    let tar =
        Command::new("tar").args(["--strip-components=1", "-xzf"]).arg(file).arg("-C").arg(dir).status();
    assert!(tar.expect("run tar").success(), "unpack {}", file.display());
}

#[test]
fn the_registry_has_all_that_the_packaged_crates_are_locked_to() {
    let shop = Shop::open();
    let root = sources().parent().expect("the workspace").to_owned();
    let packed = pack(&root, &shop.path("packing"), shop.registry(), false).expect("packed");
    assert!(packed.ours.len() >= 10 && packed.others > 100, "{packed:?}");
    for (name, file) in &packed.ours {
        let dir = shop.path(&format!("unpacked/{name}"));
        unpack(file, &dir);
        let mut cargo = Command::new("cargo");
        cargo.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        shop.furnish(&mut cargo);
        // Finds every locked version in the index, with its checksum, and downloads nothing: publishing has read the files.
        let output =
            cargo.args(["update", "--workspace", "--locked"]).current_dir(&dir).output().expect("run cargo");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
#[ignore = "builds the platform from nothing, minutes of work; `cargo xtask dist --check` runs it"]
fn the_platform_and_its_agents_come_from_a_registry_alone() {
    let shop = Shop::open();
    let root = sources().parent().expect("the workspace").to_owned();
    let packed =
        timed("package", || pack(&root, &shop.path("packing"), shop.registry(), false)).expect("packed");
    let listener = packed.ours.iter().find(|(name, _)| name == "volttron-listener").expect("the listener");

    let programs = shop.path("installed");
    let mut platform = Platform::prepare();
    platform.use_programs_of(&programs.join("bin"));
    let target = platform.home().join("cache/target");
    timed("cargo install volttron-server", || cargo_install(&shop, "volttron-server", &programs, &target));
    platform.launch();

    let install = |args: &[&str]| shop.install(&platform, &[args, &QUICK, &["--start"]].concat());
    let first =
        timed("vctl install volttron-listener --start", || install(&["volttron-listener", "--tag", "hall"]));
    assert_eq!(first["started"], true);
    let before = platform.row("listener-1");
    assert_eq!(before["health"]["message"], "GOOD");

    let dir = platform.home().join("agents/listener-1");
    let key = fs::read(dir.join("keystore.json")).expect("keys");
    fs::write(dir.join("data/kept"), "data").expect("write");
    let same = "volttron-listener";
    publish_again(&shop, &listener.1, (same, same), ("0.1.0", "0.2.0"), |_| {});
    let forced = ["volttron-listener@0.2.0", "--force", "--vip-identity", "listener-1"];
    let second = timed("its next version", || install(&forced));
    assert_eq!((&second["started"], &second["agent_uuid"]), (&true.into(), &first["agent_uuid"]));
    let is_second = || {
        let after = platform.row("listener-1");
        assert_eq!(after["health"]["message"], "GOOD");
        assert_eq!(
            (&after["agent_tag"], &after["agent_uuid"]),
            (&before["agent_tag"], &before["agent_uuid"])
        );
        let manifest = fs::read_to_string(dir.join("agent.json")).expect("agent.json");
        let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
        assert_eq!(
            (&manifest["version"], &manifest["source"]["kind"]),
            (&"0.2.0".into(), &"registry".into())
        );
        assert_eq!(fs::read(dir.join("keystore.json")).expect("keys"), key);
        assert_eq!(fs::read_to_string(dir.join("data/kept")).expect("data"), "data");
    };
    is_second();

    publish_again(&shop, &listener.1, (same, same), ("0.1.0", "0.3.0"), ailing);
    let third = timed("a version whose health stays BAD, and back again", || {
        let trial = ["upgrade", "listener-1", "volttron-listener@0.3.0", "--auto-rollback", "5s"];
        shop.vctl(&platform, &[&trial[..], &QUICK].concat())
    });
    assert_eq!(third.status.code(), Some(1), "{third:?}");
    let said = String::from_utf8_lossy(&third.stdout);
    assert!(said.contains("its health was not GOOD within 5 s"), "{third:?}");
    is_second();

    publish_again(&shop, &listener.1, (same, "second-listener"), ("0.1.0", "0.1.0"), |_| {});
    let other = timed("a second agent from the same lock file, to GOOD", || {
        install(&["second-listener", "--vip-identity", "second"])
    });
    assert_eq!(other["started"], true);
    assert_eq!(platform.row("second")["health"]["message"], "GOOD");
    assert!(!points_back(&root, &platform.home().join("bin")), "nothing installed names the workspace");
    new_agent(&shop, &platform);
    of_every_make(&shop, &platform, &listener.1);
}

/// `vctl new agent`, its tests and its installation, in an empty directory.
fn new_agent(shop: &Shop, platform: &Platform) {
    let directory = shop.path("pump-watch");
    let vctl = |args: &[&str], at: &Path| {
        let mut vctl = platform.command("vctl");
        shop.furnish(&mut vctl);
        let output = vctl.args(args).current_dir(at).stdin(Stdio::null()).output().expect("run vctl");
        assert!(output.status.success(), "{args:?}: {output:?}");
    };
    let author = ["--yes", "--author", "A. Thor <a@example.org>"];
    let parent = directory.parent().expect("a parent");
    timed("vctl new agent", || vctl(&[&["new", "agent", "pump-watch"], &author[..]].concat(), parent));
    timed("cargo test in it", || {
        let mut cargo = Command::new("cargo");
        cargo.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        shop.furnish(&mut cargo);
        let status = cargo.args(["test", "--quiet"]).current_dir(&directory).status();
        assert!(status.expect("run cargo").success(), "its own tests");
    });
    timed("vctl install . --start", || {
        let install = ["install", ".", "--agent-config", "config.yml", "--vip-identity", "new", "--start"];
        vctl(&[&install[..], &QUICK].concat(), &directory);
    });
    assert_eq!(platform.row("new")["health"]["message"], "GOOD");
    platform.vctl_ok(&["pub", "devices/campus/pump/all", "[{\"Flow\": 1}]"]);
    assert_eq!(platform.vctl_ok(&["call", "new", "count"]).trim(), "1");
    platform.vctl_ok(&["remove", "-f", "new"]);
}

/// Agents from a `.crate` file, a program, PyPI and a directory for 9.x join those that run, and all hear each other.
fn of_every_make(shop: &Shop, platform: &Platform, packaged: &Path) {
    let Some(python) = interpreter() else { return };
    let install = |what: &str, args: &[&str]| {
        let installed = timed(what, || shop.install(platform, &[args, &QUICK, &["--start"]].concat()));
        assert_eq!(installed["started"], true, "{what}");
    };
    let python = python.display().to_string();
    install("a .crate file", &[&packaged.display().to_string(), "--vip-identity", "packaged"]);
    let listener =
        platform.home().join("bin/volttron-listener-0.2.0/bin/volttron-listener").display().to_string();
    install("a program", &[&listener, "--vip-identity", "program"]);
    install(
        "from PyPI",
        &["pypi:volttron-listener==0.2.0rc0", "--vip-identity", "pypi", "--python", &python],
    );
    let directory = sources().join("agents/classic").display().to_string();
    install("a directory for 9.x", &[&directory, "--vip-identity", "classic", "--python", &python]);

    let all = ["listener-1", "second", "packaged", "program", "pypi", "classic"];
    for identity in all {
        assert_eq!(platform.row(identity)["health"]["message"], "GOOD", "{identity}");
    }
    until("all of them to be heard by the classic agent", Duration::from_mins(2), || {
        let heard: Value =
            serde_json::from_str(&platform.vctl_ok(&["call", "classic", "heard_from"])).ok()?;
        all.iter().all(|who| heard.get(who).is_some()).then_some(())
    });
    until("the classic agent to be heard by the others", Duration::from_mins(2), || {
        let log = platform.log();
        let heard = log.lines().filter(|line| line.contains("side/classic"));
        let ears: std::collections::HashSet<&str> =
            heard.filter_map(|line| line.split_once('(')?.1.split(' ').nth(1)).collect();
        (ears.len() >= all.len() - 1).then_some(())
    });
    for identity in all {
        platform.vctl_ok(&["remove", "-f", identity]);
    }
}

/// Whether a manifest or ledger below `dir` names the workspace.
fn points_back(root: &Path, dir: &Path) -> bool {
    let files = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path().join("source.json"));
    let texts = files.filter_map(|path: PathBuf| fs::read_to_string(path).ok());
    texts.into_iter().any(|text| text.contains(&*root.to_string_lossy()))
}
