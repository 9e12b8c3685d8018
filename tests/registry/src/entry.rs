//! The index's line about one version of a crate.

use serde_json::{Value, json};

/// From what `cargo metadata` says about a package, and the SHA-256 of its `.crate` file. Dependencies for development
/// stay, for features may name them; those that have no version go, as they do from a packaged crate.
pub fn entry(package: &Value, checksum: &str) -> Value {
    let only_a_path = |d: &Value| d["kind"] == "dev" && !d["path"].is_null() && d["req"] == "*";
    let all = package["dependencies"].as_array().into_iter().flatten();
    let dependencies: Vec<Value> = all.filter(|d| !only_a_path(d)).map(dependency).collect();
    json!({
        "name": package["name"],
        "vers": package["version"],
        "deps": dependencies,
        "cksum": checksum,
        // The second form: these may hold `dep:` and `?/`, which the first may not.
        "features": {},
        "features2": package["features"],
        "yanked": false,
        "links": package["links"],
        "rust_version": package["rust_version"],
        "v": 2,
    })
}

fn dependency(d: &Value) -> Value {
    let renamed = !d["rename"].is_null();
    json!({
        "name": if renamed { &d["rename"] } else { &d["name"] },
        "package": if renamed { d["name"].clone() } else { Value::Null },
        "req": d["req"],
        "features": d["features"],
        "optional": d["optional"],
        "default_features": d["uses_default_features"],
        "target": d["target"],
        "kind": d["kind"].as_str().unwrap_or("normal"),
        // The same registry: it has everything.
        "registry": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renamed_optional_and_target_dependencies_keep_their_meaning() {
        let package = json!({
            "name": "a", "version": "1.2.3", "links": "z", "rust_version": "1.88",
            "features": {"default": ["zmq"], "zmq": ["dep:zmq"]},
            "dependencies": [
                {"name": "volttron-zmq", "rename": "zmq", "req": "=0.1.0", "kind": null, "optional": true,
                 "uses_default_features": false, "features": ["x"], "target": "cfg(unix)"},
                {"name": "cc", "rename": null, "req": "^1", "kind": "build", "optional": false,
                 "uses_default_features": true, "features": [], "target": null},
                {"name": "proptest", "rename": null, "req": "^1", "kind": "dev", "optional": false,
                 "uses_default_features": true, "features": [], "target": null},
                {"name": "a", "rename": null, "req": "*", "path": "/a", "kind": "dev", "optional": false,
                 "uses_default_features": true, "features": [], "target": null},
            ],
        });
        let line = entry(&package, "00ff");
        assert_eq!(
            (&line["vers"], &line["cksum"], &line["links"]),
            (&"1.2.3".into(), &"00ff".into(), &"z".into())
        );
        assert_eq!(line["features2"]["zmq"], json!(["dep:zmq"]));
        let deps = line["deps"].as_array().expect("a list");
        assert_eq!(deps.len(), 3, "all but that without a version");
        assert_eq!((&deps[0]["name"], &deps[0]["package"]), (&"zmq".into(), &"volttron-zmq".into()));
        assert_eq!((&deps[0]["target"], &deps[0]["kind"]), (&"cfg(unix)".into(), &"normal".into()));
        assert_eq!((&deps[1]["name"], &deps[1]["kind"]), (&"cc".into(), &"build".into()));
        assert!(deps[1]["package"].is_null());
    }
}
