//! The home and the agents of one run: the same files for both platforms.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use volttron_utils::keys::KeyPair;

/// Who connects, for each client language.
const PREFIXES: [&str; 2] = ["rs", "py"];

/// What both platforms get: keys, rights, protected topics, configurations.
pub struct Site {
    pub instance: &'static str,
    keys: BTreeMap<String, KeyPair>,
}

impl Site {
    pub fn new(instance: &'static str) -> Self {
        let mut keys = BTreeMap::from([("first".to_owned(), KeyPair::generate())]);
        for prefix in PREFIXES {
            for who in ["tester", "mate", "guest"] {
                keys.insert(format!("{prefix}-{who}"), KeyPair::generate());
            }
        }
        Self { instance, keys }
    }

    pub fn keys(&self, identity: &str) -> &KeyPair {
        &self.keys[identity]
    }

    /// Writes the files into a home before its platform starts.
    pub fn furnish(&self, home: &Path) {
        let entries: Vec<Value> = self.keys.iter().map(|(identity, keys)| entry(identity, keys)).collect();
        let auth = json!({
            "allow": entries, "deny": [], "groups": {}, "roles": {}, "version": {"major": 1, "minor": 3}
        });
        let guarded =
            json!({"write-protect": [{"topic": "guarded", "capabilities": ["may_publish_guarded"]}]});
        fs::write(home.join("auth.json"), auth.to_string()).expect("write auth.json");
        fs::write(home.join("protected_topics.json"), guarded.to_string()).expect("write protected topics");
        let config = |kind: &str, data: &str| json!({"type": kind, "modified": "2026-11-20T17:22:57.468425+00:00", "data": data});
        let store = json!({
            "config": config("json", r#"{"interval": 5, "table": "config://points.csv"}"#),
            "points.csv": config("csv", "Point,Unit\nA,F\n"),
        });
        let stores = home.join("configuration_store");
        fs::create_dir_all(&stores).expect("make the store's directory");
        for prefix in PREFIXES {
            fs::write(stores.join(format!("{prefix}-tester.store")), store.to_string())
                .expect("write a store");
        }
    }
}

fn entry(identity: &str, keys: &KeyPair) -> Value {
    let mut capabilities = json!({"edit_config_store": {"identity": identity}});
    if identity.ends_with("-tester") {
        capabilities["probe_unit"] = json!({"unit": "a"});
    }
    if identity.ends_with("-mate") {
        capabilities["probe_secret"] = Value::Null;
        capabilities["may_publish_guarded"] = Value::Null;
    }
    json!({
        "domain": null, "address": null, "mechanism": "CURVE", "credentials": keys.public.to_string(),
        "groups": [], "roles": [], "capabilities": capabilities, "rpc_method_authorizations": {},
        "comments": null, "user_id": identity, "identity": identity, "enabled": true
    })
}

/// How the agents of one run reach their platform.
pub struct World<'a> {
    pub site: &'a Site,
    pub prefix: &'static str,
    pub address: String,
    pub server_key: String,
}

impl<'a> World<'a> {
    pub fn new(site: &'a Site, prefix: &'static str, address: &str, server_key: &str) -> Self {
        Self { site, prefix, address: address.to_owned(), server_key: server_key.to_owned() }
    }

    /// The identity of one of the agents.
    pub fn name(&self, who: &str) -> String {
        format!("{}-{who}", self.prefix)
    }

    pub fn keys(&self, who: &str) -> &KeyPair {
        self.site.keys(&self.name(who))
    }
}
