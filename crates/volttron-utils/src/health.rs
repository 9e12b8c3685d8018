//! Health of an agent: status words and the report object (subsystems.md section 8).

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::time;

/// Status words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Works.
    #[default]
    Good,
    /// Does not do its job.
    Bad,
    /// Cannot tell.
    Unknown,
    /// Not ready yet.
    Starting,
}

/// A word that is no status; the text is Python's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid status value {0}")]
pub struct BadStatus(pub String);

impl Status {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "GOOD",
            Self::Bad => "BAD",
            Self::Unknown => "UNKNOWN",
            Self::Starting => "STARTING",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Status {
    type Err = BadStatus;
    fn from_str(text: &str) -> Result<Self, BadStatus> {
        match text {
            "GOOD" => Ok(Self::Good),
            "BAD" => Ok(Self::Bad),
            "UNKNOWN" => Ok(Self::Unknown),
            "STARTING" => Ok(Self::Starting),
            other => Err(BadStatus(other.to_owned())),
        }
    }
}

/// What `health.get_status` answers and alerts carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthReport {
    /// The word.
    pub status: Status,
    /// Text or JSON that explains it; null when there is nothing to say.
    #[serde(default)]
    pub context: Value,
    /// When the status was set; canonical time text in UTC.
    pub last_updated: String,
}

impl HealthReport {
    /// A report as of now. Contexts that Python counts as false (empty text, zero, `false`, empty containers)
    /// become null.
    pub fn new(status: Status, context: impl Into<Value>) -> Self {
        Self::at(status, context, Timestamp::now())
    }

    /// A report as of the given instant.
    pub fn at(status: Status, context: impl Into<Value>, when: Timestamp) -> Self {
        let context = context.into();
        let context = if is_falsy(&context) { Value::Null } else { context };
        Self { status, context, last_updated: time::format_timestamp(when) }
    }
}

fn is_falsy(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_object() {
        let when: Timestamp = "2026-11-20T17:18:47.757522Z".parse().unwrap();
        assert_eq!(
            serde_json::to_string(&HealthReport::at(Status::Good, Value::Null, when)).unwrap(),
            r#"{"status":"GOOD","context":null,"last_updated":"2026-11-20T17:18:47.757522+00:00"}"#
        );
        for falsy in [Value::from(""), 0.into(), false.into(), serde_json::json!([]), serde_json::json!({})] {
            assert_eq!(HealthReport::at(Status::Bad, falsy, when).context, Value::Null);
        }
        assert_eq!(HealthReport::at(Status::Bad, "why", when).context, "why");
    }

    #[test]
    fn words() {
        for status in [Status::Good, Status::Bad, Status::Unknown, Status::Starting] {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert_eq!("WRONG".parse::<Status>().unwrap_err().to_string(), "Invalid status value WRONG");
    }
}
