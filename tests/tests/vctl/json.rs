//! What `--json` prints against its schema, `docs/vctl-json-1.schema.json`.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use volttron_tests::platform::Platform;
use volttron_tests::programs::program;

fn schema() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/vctl-json-1.schema.json");
    serde_json::from_str(&fs::read_to_string(file).expect("the schema")).expect("JSON")
}

/// The part of the schema for a command, with the definitions it may refer to.
fn part(schema: &Value, name: &str) -> Value {
    assert!(schema["$defs"][name].is_object(), "the schema does not describe {name}");
    json!({"$schema": schema["$schema"], "$ref": format!("#/$defs/{name}"), "$defs": schema["$defs"]})
}

fn check(schema: &Value, name: &str, value: &Value) {
    let errors: Vec<String> = jsonschema::validator_for(&part(schema, name))
        .expect("a schema")
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}\n{value:#}");
}

/// Command, and the part of the schema; more than one line of `sub` and `watch` is not waited for.
const READS: &[(&str, &str)] = &[
    ("list", "list"),
    ("list nobody", "list"),
    ("status", "status"),
    ("status nobody", "status"),
    ("health pump", "health"),
    ("health pump platform.health", "health_of_several"),
    ("health nobody", "health"),
    ("peerlist", "names"),
    ("tag pump", "tag"),
    ("history pump", "history"),
    ("metrics", "metrics"),
    ("stats", "stats"),
    ("stats dump", "counts"),
    ("top --once --interval 0.1", "top"),
    ("doctor", "doctor"),
    ("explain VT1001", "explain"),
    ("explain", "explain"),
    ("rpc list", "rpc_list"),
    ("rpc list control", "rpc_list"),
    ("rpc list nobody", "rpc_list"),
    ("rpc list control tag_agent", "rpc_list"),
    ("rpc code control", "rpc_code"),
    ("config list", "names"),
    ("config list pump", "names"),
    ("config get pump ahu", "configuration"),
    ("config get pump note", "configuration"),
    ("auth list", "auth_list"),
    ("auth list-roles", "members"),
    ("auth list-groups", "members"),
    ("auth rpc list", "members"),
    ("auth list-known-hosts", "known_hosts"),
    ("auth publickey", "publickey"),
    ("auth serverkey", "serverkey"),
    ("auth keypair", "keypair"),
    ("auth admit pump", "admitted"),
    ("auth remote list", "remote"),
    ("auth why pump", "why"),
    ("auth why pump control.tag_agent", "why"),
    ("enable pump", "switched"),
    ("disable pump nobody", "switched"),
];

#[test]
fn every_read_prints_json_of_its_schema_and_nothing_else() {
    let schema = schema();
    let platform = Platform::start();
    let listener = program("volttron-listener").display().to_string();
    let done =
        platform.vctl_json(&["install", &listener, "--vip-identity", "pump", "--tag", "hall", "--start"]);
    check(&schema, "install", &done);
    platform.vctl_ok(&["config", "store", "pump", "note", "--raw"]);
    let stored = platform.vctl(&["config", "store", "pump", "ahu", "/dev/null", "--raw"]);
    assert!(stored.status.success(), "{stored:?}");
    platform.vctl_ok(&["auth", "add-role", "operator", "x"]);
    for (line, name) in READS {
        let args: Vec<&str> = line.split(' ').collect();
        let output = platform.vctl(&[&["--json"], args.as_slice()].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let value = serde_json::from_str(&text);
        let value: Value = value.unwrap_or_else(|e| panic!("vctl --json {line}: {e}\n{output:?}"));
        check(&schema, name, &value);
    }
    for (line, name) in [("sub --count 1 --for 60", "publication"), ("watch --count 1 --for 60", "passed")] {
        let mut command = platform.command("vctl");
        command.arg("--json").args(line.split(' ')).stdin(Stdio::null());
        let output = command.output().expect("run vctl");
        let value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{line}: {e}: {output:?}"));
        check(&schema, name, &value);
    }
}

#[test]
fn a_schema_that_is_not_kept_is_noticed() {
    let part = part(&schema(), "list");
    let validator = jsonschema::validator_for(&part).expect("a schema");
    assert!(validator.is_valid(&json!({})));
    assert!(!validator.is_valid(&json!({"pump": {"agent_uuid": 1}})) && !validator.is_valid(&json!([])));
}
