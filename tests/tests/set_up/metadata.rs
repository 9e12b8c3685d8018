//! `vcfg update-config-store`.

use std::fs;

use serde_json::{Value, json};

use crate::site::{Site, stderr, stdout};

fn store(site: &Site, identity: &str) -> Value {
    let path = site.home().join(format!("configuration_store/{identity}.store"));
    serde_json::from_str(&fs::read_to_string(path).expect("a store")).expect("JSON")
}

fn update(site: &Site, files: &[&str]) -> std::process::Output {
    site.vcfg().args(["update-config-store", "--metadata-file"]).args(files).output().unwrap()
}

#[test]
fn changes_are_silent_and_what_stays_keeps_its_time() {
    let site = Site::new();
    let write = |name: &str, value: &Value| site.write(name, &value.to_string()).display().to_string();
    let raw = |text: &str| json!({"config": text, "config-type": "raw"});
    let one = write("../meta/one.json", &json!({"agent1": raw("string config")}));
    let output = update(&site, &[&one]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    let before = store(&site, "agent1");
    assert_eq!(
        (&before["config"]["data"], &before["config"]["type"]),
        (&json!("string config"), &json!("raw"))
    );

    let csv = site.write("../points.csv", "point_name,type\npoint1,boolean\n").display().to_string();
    let two = write(
        "../meta/two.json",
        &json!({"agent1": [raw("string config"), {"config-name": "new", "config": {"a": [1.5]}}],
            "agent2": {"config": csv, "config-type": "csv"}}),
    );
    let output = update(&site, &[&one, &two]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    let after = store(&site, "agent1");
    assert_eq!(after["config"], before["config"]);
    assert_eq!(after["new"]["data"], "{\"a\": [1.5]}");
    assert_eq!(store(&site, "agent2")["config"]["data"], "point_name,type\npoint1,boolean\n");

    // Directories, and one file that is wrong: nothing of either.
    fs::remove_dir_all(site.home().join("configuration_store")).unwrap();
    let directory = site.dir().join("meta").display().to_string();
    assert!(update(&site, &[&directory]).status.success());
    assert!(store(&site, "agent2")["config"].is_object());
    write("../meta/zzz.json", &json!({"agent3": raw("x"), "agent4": "text"}));
    let output = update(&site, &[&directory]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains(
        "should be a dictionary or list of dictionary. Got type <class 'str'>\n\nMetadata file format:"
    ));
    assert!(!site.home().join("configuration_store/agent3.store").exists());
}

#[test]
fn usage_as_scripts_know_it() {
    let site = Site::new();
    let usage = "usage: vcfg update-config-store [-h] --metadata-file METADATA_FILE";
    let help = site.vcfg().args(["update-config-store", "--help"]).output().unwrap();
    assert!(help.status.success() && stdout(&help).starts_with(usage), "{help:?}");
    for args in [&["update-config-store"][..], &["update-config-store", "--metadata-file"]] {
        let output = site.vcfg().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).starts_with(usage), "{output:?}");
    }
    let output = update(&site, &["invalid"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).starts_with(
            "Value is neither a file nor a directory: ['invalid']: \nThe --metadata-file accepts one or more metadata \
             files or directory containing metadata file\n\nMetadata file format:\n{ \"vip-id\": [\n"
        ),
        "{output:?}"
    );
}

#[test]
fn a_running_platform_is_left_alone() {
    let site = Site::new();
    let up = site.command("volttron").args(["up", "--vhome"]).arg(site.home()).output().unwrap();
    assert!(up.status.success(), "{up:?}");
    let output = update(&site, &["test"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).starts_with(&format!(
            "VOLTTRON is running using at {}, you can add/update single configuration using vctl config command.",
            site.home().display()
        )),
        "{output:?}"
    );
}
