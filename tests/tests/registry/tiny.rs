//! Crates of a few lines: what is stored, and how everything that cannot be installed is refused.

use std::fs;

use serde_json::{Value, json};
use volttron_tests::platform::Platform;

use crate::shop::{Shop, describes};

/// Debug builds: the code does nothing worth optimising.
const QUICK: [&str; 2] = ["--profile", "dev"];

fn manifest(platform: &Platform, identity: &str) -> Value {
    let path = platform.home().join("agents").join(identity).join("agent.json");
    serde_json::from_str(&fs::read_to_string(path).expect("agent.json")).expect("JSON")
}

fn sell(shop: &Shop, name: &str, version: &str) -> std::path::PathBuf {
    shop.sell(name, version, "", &[("src/main.rs", &describes(name, version, 1))])
}

#[test]
fn a_crate_is_installed_by_name_and_replaced_by_its_next_version() {
    let shop = Shop::open();
    let platform = Platform::start();
    let file = sell(&shop, "tiny", "1.0.0");
    sell(&shop, "tiny", "1.1.0");
    sell(&shop, "tiny", "2.0.0");

    let first = shop.install(&platform, &[&["tiny@1.0.0", "--tag", "t"][..], &QUICK].concat());
    let one = manifest(&platform, "tiny-1");
    assert_eq!((&one["package"], &one["version"]), (&"tiny".into(), &"1.0.0".into()));
    assert_eq!(
        (&one["source"]["kind"], &one["source"]["registry"]),
        (&"registry".into(), &"crates.io".into())
    );
    let sum = std::process::Command::new("sha256sum").arg(&file).output().expect("sha256sum").stdout;
    let sum = String::from_utf8_lossy(&sum[..64]).into_owned();
    assert_eq!(one["source"]["checksum"], format!("sha256:{sum}"));
    let ledger = fs::read_to_string(platform.home().join("bin/tiny-1.0.0/source.json")).expect("source.json");
    assert_eq!(serde_json::from_str::<Value>(&ledger).expect("JSON")["source"], one["source"]);

    // A part of a version is the newest that fits; keys, uuid and data stay.
    let dir = platform.home().join("agents/tiny-1");
    let key = fs::read(dir.join("keystore.json")).expect("keys");
    fs::write(dir.join("data/kept"), "data").expect("write");
    let forced = ["--vip-identity", "tiny-1", "--force"];
    let again = shop.install(&platform, &[&["tiny@1"][..], &forced, &QUICK].concat());
    assert_eq!(again["agent_uuid"], first["agent_uuid"]);
    assert_eq!(manifest(&platform, "tiny-1")["version"], "1.1.0");
    shop.install(&platform, &[&["tiny", "--registry", "ours"][..], &forced, &QUICK].concat());
    let newest = manifest(&platform, "tiny-1");
    assert_eq!((&newest["version"], &newest["source"]["registry"]), (&"2.0.0".into(), &"ours".into()));
    shop.install(&platform, &[&["tiny@1.0.0", "--index", &shop.index()][..], &forced, &QUICK].concat());
    assert_eq!(manifest(&platform, "tiny-1")["source"]["registry"], shop.index());
    assert_eq!(fs::read(dir.join("keystore.json")).expect("keys"), key);
    assert_eq!(fs::read_to_string(dir.join("data/kept")).expect("data"), "data");
    assert_eq!(platform.vctl_json(&["status"])["tiny-1"]["agent_tag"], "t");
}

#[test]
fn a_crate_file_is_installed_and_a_damaged_one_is_not() {
    let shop = Shop::open();
    let platform = Platform::start();
    let file = sell(&shop, "packed", "0.3.0");
    let path = file.display().to_string();
    shop.install(&platform, &[&[path.as_str(), "--offline"][..], &QUICK].concat());
    let installed = manifest(&platform, "packed-1");
    assert_eq!((&installed["version"], &installed["source"]["kind"]), (&"0.3.0".into(), &"crate".into()));
    assert!(file.exists(), "what the user gave stays");

    let whole = fs::read(&file).expect("the file");
    let half = shop.path("packed-0.3.0.crate");
    fs::write(&half, &whole[..whole.len() / 2]).expect("write");
    let error = shop.refused(&platform, &[&half.display().to_string()]);
    assert!(error.contains("damaged"), "{error}");
    assert_eq!(platform.vctl_json(&["status"]).as_object().map(serde_json::Map::len), Some(1));
}

#[test]
fn a_configuration_that_does_not_fit_is_shown_before_anything_changes() {
    let shop = Shop::open();
    let platform = Platform::start();
    let schema = json!({"type": "object", "properties": {"interval_s": {"type": "integer"}}});
    let answer = json!({"name": "picky", "version": "1.0.0", "protocol": 1, "config_schema": schema});
    let source = format!("fn main() {{ println!(\"{{}}\", r#\"{answer}\"#); }}\n");
    shop.sell("picky", "1.0.0", "", &[("src/main.rs", &source)]);
    let config = shop.path("picky.config");
    let file = config.display().to_string();
    let args = [&["picky", "--vip-identity", "picky", "--agent-config", &file][..], &QUICK].concat();
    fs::write(&config, "# seconds\ninterval_s: soon\n").expect("write");
    let error = shop.refused(&platform, &args);
    assert!(
        error.contains("line 2: interval_s: soon") && error.contains("not of type \"integer\""),
        "{error}"
    );
    assert_eq!(platform.vctl_json(&["status"]), json!({}));
    fs::write(&config, "interval_s: 5\n").expect("write");
    shop.install(&platform, &args);
}

#[test]
fn with_a_trusted_key_only_signed_packages_are_installed() {
    let shop = Shop::open();
    let platform = Platform::start();
    let file = sell(&shop, "tiny", "1.0.0");
    let path = file.display().to_string();
    platform.configure("trusted-package-keys = RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3");
    let error = shop.refused(&platform, &[&path]);
    assert!(error.contains("it is not signed: there is no"), "{error}");
    // A good signature, of another file.
    let signature = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
        wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==\n";
    fs::write(format!("{path}.minisig"), signature).expect("write");
    let error = shop.refused(&platform, &[&path]);
    assert!(error.contains("none of the trusted keys, or the file was changed"), "{error}");
    assert_eq!(platform.vctl_json(&["status"]), json!({}), "nothing was installed");
    // cargo checks what comes from a registry.
    shop.install(&platform, &[&["tiny"][..], &QUICK].concat());
}

#[test]
fn what_cannot_be_installed_is_refused_with_a_reason() {
    let mut shop = Shop::open();
    let platform = Platform::start();
    sell(&shop, "tiny", "1.0.0");
    sell(&shop, "tiny", "1.2.0");
    let main = |name| describes(name, "1.0.0", 1);
    shop.sell("library", "1.0.0", "", &[("src/lib.rs", "")]);
    shop.sell("broken", "1.0.0", "", &[("src/main.rs", "fn main() { nonsense }")]);
    shop.sell("future", "1.0.0", "", &[("src/main.rs", &describes("future", "1.0.0", 9))]);
    shop.sell("mute", "1.0.0", "", &[("src/main.rs", "fn main() {}")]);
    let two = [("src/bin/one.rs", main("two")), ("src/bin/other.rs", main("two"))];
    let two = two.each_ref().map(|(file, source)| (*file, source.as_str()));
    shop.sell("two", "1.0.0", "", &two);
    shop.sell("chosen", "1.0.0", "[package.metadata.volttron]\nbin = \"other\"", &two);

    for (args, expected) in [
        (vec!["unheard-of"], "there is no crate unheard-of on crates.io"),
        (vec!["tiny@7"], "there is no such version; there are: 1.2.0, 1.0.0"),
        (vec!["library"], "it is a library, not an agent"),
        (vec!["broken"], "cannot find value `nonsense`"),
        (vec!["future"], "speaks version 9 of the agent protocol, this platform version 1"),
        (vec!["mute"], "does not answer `--describe` as an agent does"),
        (vec!["two"], "choose one with --bin: one, other"),
        (vec!["two", "--bin", "third"], "third"),
        (vec!["tiny", "--registry", "elsewhere"], "elsewhere"),
        (vec!["never-seen", "--offline"], "--offline forbids it"),
    ] {
        let error = shop.refused(&platform, &[&args[..], &QUICK].concat());
        assert!(error.contains(expected), "{args:?}: {error}");
        assert!(!error.contains("Compiling"), "progress is no part of an error: {error}");
    }
    assert_eq!(platform.vctl_json(&["status"]), json!({}), "nothing was installed");
    let stage = fs::read_dir(platform.home().join("cache/stage")).expect("the stage");
    assert_eq!(stage.count(), 0, "nothing is left");

    shop.install(&platform, &[&["two", "--bin", "one"][..], &QUICK].concat());
    shop.install(&platform, &[&["chosen", "--vip-identity", "chosen"][..], &QUICK].concat());
    assert!(manifest(&platform, "chosen")["exec"].as_str().is_some_and(|exec| exec.ends_with("/bin/other")));

    let mut without = platform.command("vctl");
    let output = without.env("PATH", "/nowhere").args(["install", "tiny"]).output().expect("run vctl");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("cannot run cargo") && error.contains("rustup.rs"), "{error}");
    shop.close();
    let error = shop.refused(&platform, &["library"]);
    assert!(error.contains("The registry cannot be reached"), "{error}");
}
