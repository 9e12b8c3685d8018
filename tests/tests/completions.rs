//! What shells are offered at a tab, with and without the platform, and the manual pages.

use std::fs;
use std::process::Command;

use volttron_tests::platform::Platform;
use volttron_tests::programs::program;

/// What bash is offered for the last of these words.
fn offered(platform: &Platform, words: &[&str]) -> Vec<String> {
    let output = platform
        .command("vctl")
        .env("VCTL_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string())
        .env("_CLAP_COMPLETE_IFS", "\n")
        .arg("--")
        .args(words)
        .output()
        .expect("run vctl");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn agents_configurations_and_topics_are_offered_also_when_the_platform_is_down() {
    let mut platform = Platform::start();
    let pump = program("volttron-listener");
    platform.vctl_ok(&["install", pump.to_str().expect("text"), "--vip-identity", "pump.one"]);
    let file = platform.home().join("x.json");
    fs::write(&file, "{}").expect("write");
    for (identity, name) in [("platform.driver", "devices/campus/b1/ahu"), ("pump.one", "config")] {
        platform.vctl_ok(&["config", "store", identity, name, file.to_str().expect("text")]);
    }
    platform.vctl_ok(&["tag", "pump.one", "roof"]);
    let programs = platform.home().join("programs");
    fs::create_dir_all(programs.join("fans")).expect("make a directory");
    let (typed, whole) = (format!("{}/fa", programs.display()), format!("{}/fans/", programs.display()));
    platform.vctl_ok(&["auth", "add", "--identity", "weather", "--credentials", &"k".repeat(43)]);
    let expected: [(&[&str], &[&str]); 15] = [
        (&["vctl", "start", "--tag", "r"], &["roof"]),
        (&["vctl", "logs", "p"], &["pump.one"]),
        (&["vctl", "logs", "--level", "w"], &["warning"]),
        (&["vctl", "explain", "VT1001"], &["VT1001"]),
        (&["vctl", "install", &typed], &[&whole]),
        (&["vctl", "apply", "-f", &typed], &[&whole]),
        (&["volttron-ctl", "start", "pu"], &["pump.one"]),
        (&["vctl", "start", "pu"], &["pump.one"]),
        (&["vctl", "call", "we"], &["weather"]),
        (&["vctl", "config", "get", "platform.d"], &["platform.driver"]),
        (&["vctl", "config", "get", "platform.driver", "dev"], &["devices/campus/b1/ahu"]),
        (&["vctl", "config", "get", "pump.one", "c"], &["config"]),
        (&["vctl", "sub", "devices/"], &["devices/campus/b1/ahu/all"]),
        (&["vctl", "sub", "heart"], &["heartbeat/pump.one"]),
        (&["vctl", "expo"], &["export"]),
    ];
    for up in [true, false] {
        for (words, offers) in expected {
            assert_eq!(offered(&platform, words), offers, "{words:?}, up: {up}");
        }
        if up {
            assert_eq!(platform.terminate(), 0);
        }
    }
    let empty = Platform::prepare();
    assert_eq!(
        offered(&empty, &["vctl", "start", ""]).iter().filter(|word| !word.starts_with('-')).count(),
        0
    );
}

#[test]
fn scripts_are_for_their_shells_and_pages_for_every_verb() {
    let platform = Platform::prepare();
    for shell in ["bash", "zsh", "fish"] {
        let script = platform.vctl_ok(&["completions", shell]);
        assert!(script.contains("VCTL_COMPLETE") && script.contains(shell), "{shell}: {script}");
        assert!(script.contains(" volttron-ctl"), "{shell}: {script}");
        if shell == "bash" {
            let checked = Command::new("bash").args(["-n", "-c", &script]).status().expect("run bash");
            assert!(checked.success());
        }
    }
    let dir = tempfile::tempdir().expect("a directory");
    platform.vctl_ok(&["man", dir.path().to_str().expect("text")]);
    let page = fs::read_to_string(dir.path().join("vctl-apply.1")).expect("a page");
    assert!(page.contains(".SH OPTIONS") && page.contains("Exit codes"), "{page}");
    for name in [
        "vctl.1",
        "volttron.1",
        "vcfg.1",
        "vpkg.1",
        "vpkg-package.1",
        "volttron-upgrade.1",
        "vctl-config-store.1",
        "vctl-status.1",
    ] {
        assert!(dir.path().join(name).exists(), "{name}");
    }
    assert!(!dir.path().join("vctl-man.1").exists(), "it is for packagers");
}
