//! `vcfg update-config-store`: configurations from metadata files into the store of a platform that does not run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use serde_json::{Map, Value, json};
use volttron_utils::files;
use volttron_utils::home::Home;
use volttron_utils::json as py;

use super::CfgError;
use crate::lock::HomeLock;
use crate::services::config_store::offline::{self, OfflineError};

/// Largest file that is read.
const MAX_BYTES: u64 = 64 << 20;

/// What scripts expect behind a complaint, letter by letter.
const FORMAT: &str = "Metadata file format:
{ \"vip-id\": [
 { 
     \"config-name\": \"optional. name. defaults to config
     \"config\": \"json config or string config or config file name\", 
     \"config-type\": \"optional. type of config - csv or json or raw. defaults to json\"
 }, ...
 ],...
}
";

/// Stores what the files say, all or nothing.
pub(super) fn update(home: &Home, given: &[String]) -> Result<(), CfgError> {
    if home.running().is_some() {
        return Err(running(home));
    }
    let mut transaction: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for path in files_of(given)? {
        read(&path, &mut transaction)?;
    }
    // Owned while the stores change: no platform may start in between.
    files::create_dir(home.path(), 0o755)
        .map_err(|e| CfgError::Known(format!("cannot create {}: {e}", home.path().display())))?;
    let _lock = HomeLock::take(home, Duration::ZERO).map_err(|_| running(home))?;
    let wishes: Map<String, Value> =
        transaction.into_iter().map(|(identity, set)| (identity, json!({"set": set}))).collect();
    match offline::apply(home, Value::Object(wishes)) {
        Ok(_) => Ok(()),
        Err(OfflineError::Refused(why)) => {
            let why = why.detail().map_or_else(|| why.to_string(), str::to_owned);
            Err(CfgError::Known(format!("{why}; nothing was changed")))
        }
        Err(OfflineError::Store(error)) => Err(CfgError::Known(error.to_string())),
    }
}

fn running(home: &Home) -> CfgError {
    CfgError::Known(format!(
        "VOLTTRON is running using at {}, you can add/update single configuration using vctl config command.",
        home.path().display()
    ))
}

fn with_format(text: &str) -> CfgError {
    CfgError::Known(format!("{text}\n\n{FORMAT}"))
}

/// Every file that is named or in a directory that is named.
fn files_of(given: &[String]) -> Result<Vec<PathBuf>, CfgError> {
    let mut all = Vec::new();
    for name in given {
        let path = Path::new(name);
        if path.is_dir() {
            let io = |e: io::Error| CfgError::Known(format!("cannot read {name}: {e}"));
            let mut inside: Vec<PathBuf> = fs::read_dir(path)
                .map_err(io)?
                .map(|entry| entry.map(|e| e.path()))
                .collect::<io::Result<_>>()
                .map_err(io)?;
            inside.retain(|path| path.is_file());
            inside.sort();
            all.extend(inside);
        } else if path.is_file() {
            all.push(path.to_owned());
        } else {
            let list: Vec<String> = given.iter().map(|g| py::python::repr_str(g)).collect();
            return Err(with_format(&format!(
                "Value is neither a file nor a directory: [{}]: \n\
                 The --metadata-file accepts one or more metadata files or directory containing metadata file",
                list.join(", ")
            )));
        }
    }
    Ok(all)
}

fn read(path: &Path, into: &mut BTreeMap<String, Map<String, Value>>) -> Result<(), CfgError> {
    let shown = path.display();
    let text = files::read_bounded(path, MAX_BYTES)
        .map_err(|e| CfgError::Known(format!("cannot read {shown}: {e}")))?;
    let parsed: Value = py::parse_commented(&text)
        .map_err(|e| with_format(&format!("Metadata file {shown} is not JSON: {e}")))?;
    let Value::Object(agents) = parsed else {
        return Err(with_format(&format!("Metadata file {shown} should be a dictionary of vip-identities")));
    };
    for (identity, value) in agents {
        let configs = match value {
            Value::Object(_) => vec![value],
            Value::Array(list) if list.iter().all(Value::is_object) => list,
            other => {
                return Err(with_format(&format!(
                    "Metadata for vip-identity {identity} in file {shown} should be a dictionary or list of \
                     dictionary. Got type <class '{}'>",
                    py::python::type_name(&other)
                )));
            }
        };
        let set = into.entry(identity.clone()).or_default();
        for config in configs {
            let (name, entry) = one(path, &identity, &config)?;
            set.insert(name, entry);
        }
    }
    Ok(())
}

/// One configuration: its name and what the store takes.
fn one(path: &Path, identity: &str, config: &Value) -> Result<(String, Value), CfgError> {
    let text =
        |key: &str, default: &str| config.get(key).and_then(Value::as_str).unwrap_or(default).to_owned();
    let (name, kind) = (text("config-name", "config"), text("config-type", "json"));
    let data = match config.get("config") {
        None | Some(Value::Null) => {
            return Err(with_format(&format!(
                "No config entry found in file {} for vip-id {identity} and config-name {name}",
                path.display()
            )));
        }
        Some(Value::String(text)) if Path::new(text).is_file() => {
            files::read_bounded(Path::new(text), MAX_BYTES)
                .map_err(|e| CfgError::Known(format!("cannot read {text}: {e}")))?
        }
        Some(Value::String(text)) if kind == "raw" => text.clone(),
        Some(value @ (Value::Object(_) | Value::Array(_))) if kind != "csv" => {
            py::to_string(value).map_err(|e| CfgError::Known(e.to_string()))?
        }
        Some(_) => {
            return Err(with_format(
                "Value for key \"config\" should be one of the following: \n1. filepath \n\
                 2. string with \"config-type\" set to \"raw\" \n3. a dictionary \n4. list ",
            ));
        }
    };
    Ok((name, json!({"type": kind, "data": data})))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update_with(text: &str) -> Result<Home, String> {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.keep()).unwrap();
        let file = home.path().join("meta.json");
        fs::write(&file, text).unwrap();
        update(&home, &[file.display().to_string()]).map(|()| home).map_err(|e| e.to_string())
    }

    #[test]
    fn bad_metadata_is_told_in_the_words_that_scripts_know() {
        for (text, part) in [
            (r#"{"a": {}}"#, "for vip-id a and config-name config\n\nMetadata file format:"),
            (r#"{"a": [{"config-name": "n"}]}"#, "config-name n\n\n"),
            (r#"{"a": "text"}"#, "should be a dictionary or list of dictionary. Got type <class 'str'>\n\n"),
            (r#"{"a": [1]}"#, "<class 'list'>"),
            (
                r#"{"a": {"config": "text"}}"#,
                "should be one of the following: \n1. filepath \n2. string with",
            ),
            (r#"{"a": {"config": {}, "config-type": "csv"}}"#, "1. filepath"),
            (r#"{"a": {"config": {}, "config-type": "xml"}}"#, "Unsupported configuration type"),
            (r#"{"../a": {"config": {}}}"#, "../a"),
            ("[]", "dictionary of vip-identities"),
            ("{", "is not JSON"),
        ] {
            let error = update_with(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn configurations_of_every_kind_are_stored() {
        let text = r#"{"a": {"config": {"k": 1}}, "b": [{"config": [1], "config-name": "x"},
            {"config": "text", "config-type": "raw"}] // both
        }"#;
        let home = update_with(text).unwrap();
        let store = |identity: &str| {
            let path = home.configuration_store().join(format!("{identity}.store"));
            serde_json::from_str::<Value>(&fs::read_to_string(path).unwrap()).unwrap()
        };
        assert_eq!(store("a")["config"]["data"], "{\"k\": 1}");
        assert_eq!(store("b")["x"]["type"], "json");
        assert_eq!(store("b")["config"]["data"], "text");
        fs::remove_dir_all(home.path()).unwrap();
    }
}
