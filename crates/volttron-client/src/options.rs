//! The options of an agent's configuration file, described as a JSON schema.
//!
//! Owns how they are described. Must never read a configuration, nor refuse one.

use serde_json::Value;

/// Key, default and meaning of an option of the configuration file.
pub type OptionText = (&'static str, Value, &'static str);

/// A JSON schema that describes options and refuses nothing, for `Program::config_schema`: for agents that report what
/// they cannot use and go on with a default, as those of the original do. A schema that says types and required keys lets
/// `vctl install` refuse a configuration instead.
///
/// ```
/// # use serde_json::json;
/// let schema = volttron_client::options::options_schema(vec![("interval", json!(60), "Seconds between readings")]);
/// assert_eq!(schema["properties"]["interval"]["default"], 60);
/// ```
pub fn options_schema(options: Vec<OptionText>) -> Value {
    let describe = |(key, default, meaning): OptionText| {
        let mut about = serde_json::Map::from_iter([("description".to_owned(), Value::from(meaning))]);
        if !default.is_null() {
            about.insert("default".to_owned(), default);
        }
        (key.to_owned(), Value::Object(about))
    };
    let properties: serde_json::Map<String, Value> = options.into_iter().map(describe).collect();
    serde_json::json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "properties": properties})
}
