//! `vpkg`: packages of crates, made, looked at and installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;
use volttron_tests::platform::Platform;

use crate::shop::{Shop, describes};

/// Debug builds: the code does nothing worth optimising.
const QUICK: [&str; 2] = ["--profile", "dev"];

/// What the last line names, as scripts read it.
fn created(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("Package created at: ").unwrap_or_else(|| panic!("{text}")).to_owned()
}

fn refused(output: &Output, part: &str) {
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("vpkg: error: ") && said.contains(part), "{said}");
}

fn names(dir: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn exec(platform: &Platform, identity: &str) -> Value {
    let path = platform.home().join("agents").join(identity).join("agent.json");
    serde_json::from_str::<Value>(&fs::read_to_string(path).expect("agent.json")).expect("JSON")["source"]["kind"].take()
}

#[test]
fn packages_of_a_crate_are_installed_and_made_again_from_what_is_installed() {
    let shop = Shop::open();
    let platform = Platform::start();
    let dir = shop.write("tiny", "1.0.0", "", &[("src/main.rs", &describes("tiny", "1.0.0", 1))]);
    let dir = dir.to_str().expect("text");
    let packaged = platform.home().join("packaged");

    let sources = created(&shop.run("vpkg", &platform, &["package", dir]));
    assert_eq!(sources, packaged.join("tiny-1.0.0.crate").display().to_string());
    assert_eq!(fs::metadata(&packaged).expect("made").permissions().mode() & 0o777, 0o750);
    shop.install(&platform, &[&[&*sources, "--offline", "--vip-identity", "a"][..], &QUICK].concat());
    assert_eq!(exec(&platform, "a"), "crate");

    let elsewhere = shop.path("else/where");
    let to = ["--dest", elsewhere.to_str().expect("text")];
    let args = [&["package", dir, "--binary"][..], &to, &QUICK].concat();
    let program = created(&shop.run("volttron-pkg", &platform, &args));
    assert!(fs::metadata(&program).expect("made").permissions().mode() & 0o111 != 0);
    assert!(!fs::read(&program).expect("read").windows(8).any(|w| w == b".symtab\0"), "it is stripped");
    shop.install(&platform, &[&program, "--vip-identity", "b"]);
    assert_eq!(exec(&platform, "b"), "binary");

    let installed = platform.home().join("agents/a");
    let installed = installed.to_str().expect("text");
    let again = created(&shop.run("vpkg", &platform, &[&["repackage", installed][..], &to].concat()));
    assert_eq!(again, program, "of the same name");
    shop.install(&platform, &[&again, "--vip-identity", "c"]);
    assert_eq!(names(&elsewhere).len(), 1, "nothing is left beside it");
    assert_eq!(names(&packaged), ["tiny-1.0.0.crate"]);

    let json = shop.run("vpkg", &platform, &["--json", "package", dir, "--no-verify"]);
    let object: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(object["package"], sources);
}

#[test]
fn what_is_no_package_leaves_the_former_one_and_says_why() {
    let shop = Shop::open();
    let platform = Platform::prepare();
    let run = |args: &[&str]| shop.run("vpkg", &platform, args);
    let dir = shop.write("tiny", "1.0.0", "", &[("src/main.rs", &describes("tiny", "1.0.0", 1))]);
    let text = dir.to_str().expect("text");
    let package = created(&run(&["package", text, "--no-verify"]));
    let before = fs::read(&package).expect("read");

    fs::write(dir.join("src/main.rs"), "fn main() { no }\n").expect("write");
    refused(&run(&["package", text]), "cannot find value");
    refused(&run(&["package", text, "--binary", "--profile", "dev"]), "cannot find value");
    assert_eq!(fs::read(&package).expect("read"), before);
    created(&run(&["package", text, "--no-verify"]));
    assert_ne!(fs::read(&package).expect("read"), before, "untried, it takes the other one's place");

    refused(&run(&["package", text, "--vip-identity", "x"]), "vctl install PACKAGE --vip-identity x");
    refused(&run(&["package", shop.path("").to_str().expect("text")]), "neither Cargo.toml");
    refused(&run(&["package", "/no/such/thing"]), "Invalid file");
    refused(&run(&["repackage", text]), "this is no installed agent");
    fs::write(shop.path("c"), "{}").expect("write");
    refused(&run(&["configure", &package, "c"]), "--agent-config c");
    refused(&run(&["sign", &package, "--contract", "x"]), "minisign -S -m PACKAGE");
    refused(&run(&["create_ca"]), "minisign -G");
    refused(&run(&["create_cert", "--admin", "--name", "x"]), "minisign -G");
    let library = shop.write("library", "1.0.0", "", &[("src/lib.rs", "")]);
    refused(&run(&["package", library.to_str().expect("text")]), "it is a library, not an agent");
    assert_eq!(names(&platform.home().join("packaged")), ["tiny-1.0.0.crate"]);
}

#[test]
fn a_new_agent_is_that_of_vctl_new() {
    let shop = Shop::open();
    let platform = Platform::prepare();
    let by = |program: &str, args: &[&str]| {
        let output = shop.run(program, &platform, args);
        assert!(output.status.success(), "{output:?}");
    };
    for (template, kind) in [("common", "agent"), ("historian", "historian"), ("driver", "driver")] {
        let (ours, theirs) = (format!("{kind}-1/shelf"), format!("{kind}-2"));
        by("vpkg", &["init", &ours, "shelf", "--template", template, "--identity", "s", "--silent"]);
        by("vctl", &["new", kind, "shelf", "--path", &theirs, "--vip-identity", "s", "--yes"]);
        let same = std::process::Command::new("diff")
            .arg("-r")
            .args([&ours, &theirs])
            .current_dir(shop.path(""))
            .status();
        assert!(same.expect("run diff").success(), "{kind}");
        refused(&shop.run("vpkg", &platform, &["init", &ours, "shelf", "--silent"]), "is there already");
    }
    fs::create_dir(shop.path("empty")).expect("a directory");
    refused(&shop.run("vpkg", &platform, &["init", "empty", "shelf", "--silent"]), "empty is there already");
}

/// The example of minisign's documentation: a key, and its signature of `test`.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
    RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
    trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
    wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==\n";

#[test]
fn signatures_are_verified_as_an_installation_does() {
    let shop = Shop::open();
    let platform = Platform::prepare();
    let run = |args: &[&str]| shop.run("vpkg", &platform, args);
    fs::write(shop.path("a.crate"), "test").expect("write");
    refused(&run(&["verify", "a.crate"]), "name a key (--key)");
    refused(&run(&["verify", "a.crate", "--key", KEY]), "it is not signed");
    fs::write(shop.path("a.crate.minisig"), SIGNATURE).expect("write");
    let good = run(&["verify", "a.crate", "--key", KEY]);
    assert_eq!(String::from_utf8_lossy(&good.stdout), "a.crate is signed with a trusted key\n", "{good:?}");
    platform.configure(&format!("trusted-package-keys = {KEY}"));
    assert!(run(&["verify", "a.crate"]).status.success());
    fs::write(shop.path("a.crate"), "tesT").expect("write");
    refused(&run(&["verify", "a.crate"]), "none of the trusted keys");
    refused(&run(&["verify", "empty"]), "only .crate files, wheels and programs are signed");
}
