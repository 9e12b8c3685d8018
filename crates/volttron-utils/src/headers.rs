//! Message headers: a JSON object whose names are looked up without regard to case and passed on as written
//! (topics-and-time.md section 3).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::time;

/// Publication time.
pub const DATE: &str = "Date";
/// Time of the measurement; historians prefer it.
pub const TIMESTAMP: &str = "TimeStamp";
/// Nominal time of the polling round.
pub const SYNC_TIMESTAMP: &str = "SynchronizedTimeStamp";
/// `application/json` or `text/plain`; informative only.
pub const CONTENT_TYPE: &str = "Content-Type";
/// Who asks, in actuation.
pub const REQUESTER_ID: &str = "requesterID";
/// Name of a task, in actuation.
pub const TASK_ID: &str = "taskID";
/// De-duplication key of an alert.
pub const ALERT_KEY: &str = "alert_key";
/// Set to "3.0" on every publish.
pub const MIN_COMPATIBLE_VERSION: &str = "min_compatible_version";
/// Set to the empty text on every publish.
pub const MAX_COMPATIBLE_VERSION: &str = "max_compatible_version";
/// Legacy: sender.
pub const FROM: &str = "From";
/// Legacy: addressee.
pub const TO: &str = "To";
/// Legacy: echoed by responders.
pub const COOKIE: &str = "Cookie";
/// Legacy: dropped by forwarders.
pub const ORIGIN: &str = "Origin";
/// Legacy: dropped by forwarders.
pub const DESTINATION: &str = "Destination";
/// Marks a forwarded message.
pub const X_FORWARDED: &str = "X-Forwarded";
/// Instances a message was forwarded from.
pub const X_FORWARDED_FROM: &str = "X-Forwarded-From";

/// Content type of JSON bodies.
pub const APPLICATION_JSON: &str = "application/json";
/// Content type of text bodies.
pub const TEXT_PLAIN: &str = "text/plain";

/// Headers of one message, in order of insertion.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(Map<String, Value>);

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The two version headers that every publication carries.
    pub fn versioned() -> Self {
        Self::new().with(MIN_COMPATIBLE_VERSION, "3.0").with(MAX_COMPATIBLE_VERSION, "")
    }

    /// Adds or replaces a header, for building.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// Adds or replaces a header. A name that is there in another case keeps its place and spelling.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.spelling(name) {
            Some(existing) => self.0.insert(existing, value),
            None => self.0.insert(name.to_owned(), value),
        };
    }

    /// Adds a header unless one of that name is there.
    pub fn set_default(&mut self, name: &str, value: impl Into<Value>) {
        if self.get(name).is_none() {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    /// Value of a header.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).or_else(|| self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v))
    }

    /// Value of a header if it is text.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// Removes a header.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let existing = self.spelling(name)?;
        self.0.shift_remove(&existing)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v))
    }

    /// Number of headers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `TimeStamp` as an instant; zone-less text is UTC.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.time(TIMESTAMP)
    }

    /// `Date` as an instant; zone-less text is UTC.
    pub fn date(&self) -> Option<Timestamp> {
        self.time(DATE)
    }

    /// `SynchronizedTimeStamp` as an instant; zone-less text is UTC.
    pub fn synchronized_timestamp(&self) -> Option<Timestamp> {
        self.time(SYNC_TIMESTAMP)
    }

    /// Sets a header to a time in the canonical text form.
    pub fn set_time(&mut self, name: &str, at: Timestamp) {
        self.set(name, time::format_timestamp(at));
    }

    fn time(&self, name: &str) -> Option<Timestamp> {
        time::parse_timestamp(self.get_str(name)?).ok().map(time::Parsed::or_utc)
    }

    fn spelling(&self, name: &str) -> Option<String> {
        self.0.keys().find(|n| n.eq_ignore_ascii_case(name)).cloned()
    }

    /// The JSON object.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl From<Map<String, Value>> for Headers {
    fn from(map: Map<String, Value>) -> Self {
        Self(map)
    }
}

impl From<Headers> for Value {
    fn from(headers: Headers) -> Self {
        Self::Object(headers.0)
    }
}

impl<N: AsRef<str>, V: Into<Value>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(items: I) -> Self {
        let mut headers = Self::new();
        for (name, value) in items {
            headers.set(name.as_ref(), value);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ignore_case_and_keep_spelling_and_order() {
        let mut headers = Headers::new().with("requesterID", "a").with("Other", 1);
        headers.set("REQUESTERID", "b");
        headers.set_default("other", 2);
        assert_eq!(serde_json::to_string(&headers).unwrap(), r#"{"requesterID":"b","Other":1}"#);
        assert_eq!(headers.get_str("RequesterId"), Some("b"));
        assert_eq!(headers.get_str("Other"), None);
        assert_eq!(headers.remove("OTHER"), Some(1.into()));
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn times() {
        let headers: Headers =
            serde_json::from_str(r#"{"timestamp": "2026-03-04T16:00:00.5", "Date": "x", "TimeStamp2": 5}"#)
                .unwrap();
        assert_eq!(headers.timestamp().unwrap().to_string(), "2026-03-04T16:00:00.5Z");
        assert_eq!(headers.date(), None);
        assert_eq!(Headers::versioned().iter().count(), 2);
    }
}
