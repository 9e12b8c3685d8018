//! What must not leave the home: finding the secrets in it, and masking them wherever they occur.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;
use volttron_utils::config::{OptionFile, parse_config};
use volttron_utils::files::read_bounded;
use volttron_utils::home::Home;
use volttron_utils::keys::keystore;

use crate::supervisor::InstalledAgent;

/// What stands in the place of a secret.
pub const MASK: &str = "[masked]";
/// Texts that are shorter are masked where they are given only: everywhere they would take the sense out of all texts.
const LEAST_CHARS: usize = 4;
const MAX_FILE_BYTES: u64 = 16 << 20;
/// How deep configurations are looked through.
const MAX_DEPTH: usize = 64;

/// Words in the name of a setting whose value is a secret.
const WORDS: &str = "passw|passphrase|pwd|secret|token|api[-_]?key|private[-_]?key|access[-_]?key|credential|authorization|\
                     bearer|cookie|connection[-_]?string|dsn|community|pin[-_]?code|psk|\
                     (?:wifi|wlan|shared|encryption|signing|master|session|auth|license|ssh|aes|hmac)[-_]?key";

static NAME: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("(?i)(?:{WORDS})|^(?:pass|pin|key)$")));
/// A setting in free text: name, separator, value.
static SETTING: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r#"(?i)([\w.\-]*(?:{WORDS})[\w.\-]*\\?["']?\s*[:=]\s*)(\\?"(?:[^"\\]|\\.)*"|'[^'\n]*'|[^\s,;}}\])]+)"#
    ))
});
static BEARER: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)\b(bearer|basic)\s+[\w.~+/=\-]{8,}"));
static USER_IN_URL: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"([a-zA-Z][\w+.\-]*://)([^\s/@"'<>:]*):([^\s/@"'<>]+)@"#));
static PEM: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)")
});
static KEY_TEXT: LazyLock<Regex> = LazyLock::new(|| pattern(r"[A-Za-z0-9_\-]{20,}"));

#[expect(clippy::unwrap_used, reason = "each is a literal, tried by the tests")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

/// Whether a setting of this name holds a secret.
pub fn is_secret_name(name: &str) -> bool {
    NAME.is_match(name)
}

/// The name of a setting in free text whose value is a secret.
pub fn setting_in(text: &str) -> Option<String> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
    let setting =
        SETTING.captures_iter(text).find(|found| !found[2].trim_matches(['"', '\'', '\\']).is_empty());
    let name = setting.map(|found| found[1].trim_matches(|c| !is_part(c)).to_owned());
    name.or_else(|| USER_IN_URL.is_match(text).then(|| "password in an address".to_owned()))
}

/// Which members of a list are secrets by what stands before them: what follows `--password`, and the second half of a
/// pair of name and password.
pub fn secret_members(name: &str, list: &[Value]) -> Vec<bool> {
    let is_pair = name.eq_ignore_ascii_case("auth") && list.len() == 2;
    let follows_option = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| list[before].as_str());
        before.is_some_and(|text| text.starts_with('-') && !text.contains('=') && is_secret_name(text))
    };
    (0..list.len()).map(|at| list[at].is_string() && ((is_pair && at == 1) || follows_option(at))).collect()
}

/// The secrets of a home, the longest first.
#[derive(Debug, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Looks for them in every file of the home that has some.
    pub fn of(home: &Home, agents: &[InstalledAgent]) -> Self {
        let mut found = BTreeSet::new();
        let mut keystores = vec![home.keystore()];
        keystores
            .extend(children(&home.path().join("keystores")).iter().map(|dir| dir.join("keystore.json")));
        keystores.extend(agents.iter().map(InstalledAgent::keystore));
        for path in keystores {
            keys(&path, &mut found);
        }
        if let Ok(file) = OptionFile::load(&home.config_file()) {
            for entry in file.entries() {
                value(&entry.key, &Value::String(entry.value()), 0, &mut found);
            }
        }
        let mut documents: Vec<PathBuf> =
            children(home.path()).into_iter().filter(|p| is_document(p)).collect();
        for agent in agents {
            documents.extend(agent.config());
            documents.push(agent.dir.launch());
        }
        for path in documents {
            document(&path, &mut found);
        }
        for path in children(&home.configuration_store()) {
            store(&path, &mut found);
        }
        for path in children(&home.certificates().join("private")) {
            pem(&path, &mut found);
        }
        Self::new(found)
    }

    fn new(found: BTreeSet<String>) -> Self {
        let mut all = BTreeSet::new();
        for secret in found.into_iter().filter(|secret| secret.chars().count() >= LEAST_CHARS) {
            // As JSON has it, with and without letters of other alphabets.
            for escaped in
                [serde_json::to_string(&secret).ok(), volttron_utils::json::to_string(&secret).ok()]
            {
                all.extend(escaped.map(|text| text.trim_matches('"').to_owned()));
            }
            all.insert(secret);
        }
        let mut all: Vec<String> = all.into_iter().collect();
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(all)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// A text without them, and without anything that looks like one.
    pub fn mask(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        for secret in &self.0 {
            if masked.contains(secret.as_str()) {
                masked = masked.replace(secret.as_str(), MASK);
            }
        }
        let masked = PEM.replace_all(&masked, MASK);
        let masked = BEARER.replace_all(&masked, format!("$1 {MASK}"));
        let masked = USER_IN_URL.replace_all(&masked, format!("$1$2:{MASK}@"));
        SETTING.replace_all(&masked, format!("${{1}}{MASK}")).into_owned()
    }
}

/// A document without the values of settings whose name says that they are secret.
pub fn mask_value(value: &Value) -> Value {
    mask_named("", value)
}

fn mask_named(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let masked = map.iter().map(|(name, value)| {
                let secret = is_secret_name(name) && !matches!(value, Value::Bool(_) | Value::Null);
                (name.clone(), if secret { MASK.into() } else { mask_named(name, value) })
            });
            Value::Object(masked.collect())
        }
        Value::Array(list) => {
            let secret = secret_members(name, list);
            let members = list.iter().zip(secret);
            members.map(|(inner, secret)| if secret { MASK.into() } else { mask_named("", inner) }).collect()
        }
        other => other.clone(),
    }
}

fn children(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect()
}

/// Files at the top of the home that are JSON or YAML.
fn is_document(path: &Path) -> bool {
    let known =
        path.extension().and_then(|e| e.to_str()).is_some_and(|e| matches!(e, "json" | "yml" | "yaml"));
    known && path.is_file()
}

/// Everything in a keystore but the public key, in both forms that keys have as text. Also in one that is damaged.
fn keys(path: &Path, found: &mut BTreeSet<String>) {
    if let Ok(pair) = keystore::load(path) {
        found.insert(pair.secret.reveal().to_string());
        found.insert(pair.secret.to_z85().to_string());
    } else if let Ok(bytes) = fs::read(path) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        found.extend(KEY_TEXT.find_iter(&text).map(|word| word.as_str().to_owned()));
    }
}

/// Values under secret names, and passwords in addresses.
fn value(name: &str, given: &Value, depth: usize, found: &mut BTreeSet<String>) {
    if depth > MAX_DEPTH {
        return;
    }
    match given {
        Value::Object(map) => {
            // In auth.json credentials are public keys, or passwords.
            let plain = map.get("mechanism").and_then(Value::as_str).is_some_and(|m| m != "PLAIN");
            for (inner, given) in map {
                if inner == "credentials" && plain {
                    continue;
                }
                // What is below a secret name is secret.
                let name = if is_secret_name(name) { name } else { inner };
                value(name, given, depth + 1, found);
            }
        }
        Value::Array(list) => {
            for (given, secret) in list.iter().zip(secret_members(name, list)) {
                value(if secret { "secret" } else { name }, given, depth + 1, found);
            }
        }
        Value::String(text) => {
            if is_secret_name(name) && !text.is_empty() {
                found.insert(text.clone());
            }
            found.extend(USER_IN_URL.captures_iter(text).map(|c| c[3].to_owned()));
            found
                .extend(SETTING.captures_iter(text).map(|c| c[2].trim_matches(['"', '\'', '\\']).to_owned()));
        }
        Value::Number(number) if is_secret_name(name) => {
            found.insert(number.to_string());
        }
        _ => {}
    }
}

fn document(path: &Path, found: &mut BTreeSet<String>) {
    let Ok(text) = read_bounded(path, MAX_FILE_BYTES) else { return };
    any_text(&text, found);
    if path.file_name().is_some_and(|name| name == "agent.json")
        && let Ok(manifest) = serde_json::from_str::<Value>(&text)
    {
        // Variables are given to an agent and to nobody else, secret or not.
        let values = manifest["env"].as_object().into_iter().flatten().filter_map(|(_, v)| v.as_str());
        found.extend(values.map(str::to_owned));
    }
}

fn any_text(text: &str, found: &mut BTreeSet<String>) {
    match parse_config(text) {
        Ok(parsed) => value("", &parsed, 0, found),
        Err(_) => value("", &Value::String(text.to_owned()), 0, found),
    }
}

fn store(path: &Path, found: &mut BTreeSet<String>) {
    let Ok(text) = read_bounded(path, MAX_FILE_BYTES) else { return };
    let Ok(Value::Object(entries)) = serde_json::from_str(&text) else { return any_text(&text, found) };
    for entry in entries.values() {
        any_text(entry["data"].as_str().unwrap_or_default(), found);
    }
}

/// Each line of a private key.
fn pem(path: &Path, found: &mut BTreeSet<String>) {
    let Ok(text) = read_bounded(path, MAX_FILE_BYTES) else { return };
    found.extend(text.lines().filter(|line| !line.starts_with("-----") && line.len() > 8).map(str::to_owned));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_masked_in_any_text() {
        let secrets =
            Secrets::new(BTreeSet::from(["hunter2!".to_owned(), "a\"b\\c".to_owned(), "übung".to_owned()]));
        for (text, gone, kept) in [
            ("login with hunter2! failed", "hunter2", "login with"),
            ("{\"x\": \"a\\\"b\\\\c\"}", "a\\\"b", "x"),
            ("x = \\u00fcbung", "fcbung", "x ="),
            ("password = geheim1", "geheim1", "password"),
            ("'db_password': 'two words', 'host': 'h1'", "two words", "h1"),
            ("{\"api-key\": \"abc\\\"def\", \"n\": 1}", "def", "\"n\": 1"),
            ("postgres://me:pa55@db/x", "pa55", "postgres://me:"),
            ("tcp://h:1?secretkey=AbC-123&serverkey=PUB", "AbC-123", "tcp://h:1"),
            ("Authorization: Bearer abcdefghij.klm", "abcdefghij", "Authorization"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nrest", "MIIE", "rest"),
            ("-----BEGIN PRIVATE KEY-----\nMIIE cut", "MIIE", ""),
        ] {
            let masked = secrets.mask(text);
            assert!(
                !masked.contains(gone) && masked.contains(kept) && masked.contains(MASK),
                "{text}: {masked}"
            );
        }
        assert_eq!(secrets.mask("agent pump is up, 3 tokens"), "agent pump is up, 3 tokens");
    }

    #[test]
    fn settings_in_free_text_are_noticed() {
        for (text, name) in [
            ("host: h\npassword: S1\n", Some("password")),
            ("{'api_key': 'x'}", Some("api_key")),
            ("postgres://me:pa55@db/x", Some("password in an address")),
            ("tcp://h:1?secretkey=AbC&serverkey=PUB", Some("secretkey")),
            ("password = \"\"", None),
            ("the token is kept elsewhere", None),
        ] {
            assert_eq!(setting_in(text).as_deref(), name, "{text}");
        }
    }

    #[test]
    fn values_under_secret_names_are_masked_and_found() {
        let document = json!({
            "host": "h", "password": "one-secret", "nested": [{"apiKey": 123_456, "n": 2}], "passwords": {"a": "two-secret"},
            "use_token": true, "uri": "mqtt://u:three-secret@h", "wifi_key": "four-secret", "auth": ["me", "five-secret"],
            "args": ["--password", "six-secret", "--token=seven-secret", "-v", "x"], "primary_key": "id",
        });
        let text = mask_value(&document).to_string();
        for (secret, host) in [
            ("one-secret", "\"h\""),
            ("123456", "\"n\":2"),
            ("two-secret", "true"),
            ("four-secret", "\"id\""),
            ("five-secret", "\"me\""),
            ("six-secret", "\"-v\",\"x\""),
        ] {
            assert!(!text.contains(secret) && text.contains(host), "{text}");
        }
        let mut found = BTreeSet::new();
        value("", &document, 0, &mut found);
        for secret in [
            "one-secret",
            "123456",
            "two-secret",
            "three-secret",
            "four-secret",
            "five-secret",
            "six-secret",
            "seven-secret",
        ] {
            assert!(found.contains(secret), "{found:?}");
        }
        let auth = json!([{"mechanism": "CURVE", "credentials": "public"}, {"mechanism": "PLAIN", "credentials": "plain"}]);
        let mut found = BTreeSet::new();
        value("allow", &auth, 0, &mut found);
        assert_eq!(found, BTreeSet::from(["plain".to_owned()]));
    }
}
