//! Publishing: the message is put into JSON once, the router re-wraps it without parsing.

use bytes::Bytes;
use serde::Serialize;
use serde::de::IgnoredAny;
use volttron_utils::headers::Headers;
use volttron_utils::json as wire_json;
use volttron_utils::vip::typed;

use crate::{CallError, Cx, PublishError};

impl Cx {
    /// Publishes `message` on `topic`. Returns how many subscribers and platforms it went to.
    pub async fn publish<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        message: &T,
    ) -> Result<u32, PublishError> {
        self.publish_with(topic, Headers::default(), message).await
    }

    /// Publishes with headers. The compatibility headers of subsystems.md section 5.6 are added, nothing else: a
    /// time stamp is the caller's.
    pub async fn publish_with<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        headers: Headers,
        message: &T,
    ) -> Result<u32, PublishError> {
        let text = wire_json::to_string(message)
            .map_err(|e| PublishError::BadMessage { topic: topic.to_owned(), why: e.to_string() })?;
        self.publish_text("", topic, headers, &text).await
    }

    /// Publishes a message that is JSON text already.
    pub async fn publish_json(&self, topic: &str, headers: Headers, json: &str) -> Result<u32, PublishError> {
        serde_json::from_str::<IgnoredAny>(json)
            .map_err(|e| PublishError::BadMessage { topic: topic.to_owned(), why: e.to_string() })?;
        if json.is_ascii() {
            return self.publish_text("", topic, headers, json).await;
        }
        self.publish_text("", topic, headers, &escape(json)).await
    }

    /// Publishes on another bus than the default one.
    pub async fn publish_on_bus<T: Serialize + ?Sized>(
        &self,
        bus: &str,
        topic: &str,
        headers: Headers,
        message: &T,
    ) -> Result<u32, PublishError> {
        let text = wire_json::to_string(message)
            .map_err(|e| PublishError::BadMessage { topic: topic.to_owned(), why: e.to_string() })?;
        self.publish_text(bus, topic, headers, &text).await
    }

    async fn publish_text(
        &self,
        bus: &str,
        topic: &str,
        headers: Headers,
        message: &str,
    ) -> Result<u32, PublishError> {
        let args = vec![topic_frame(topic)?, body(bus, headers, message)?.into()];
        match self.pubsub_request("publish", args).await {
            Ok(value) => typed::as_uint(&value).and_then(|n| u32::try_from(n).ok()).ok_or_else(|| {
                PublishError::Router(CallError::BadReply {
                    peer: String::new(),
                    what: "pubsub publish".into(),
                    why: "the count cannot be read".into(),
                })
            }),
            Err(CallError::Vip(e)) if e.errno == -32001 => Err(PublishError::Denied(e.text)),
            Err(CallError::Again { peer }) if !peer.is_empty() => Err(PublishError::SubscriberFull { peer }),
            Err(error) => Err(error.into()),
        }
    }
}

/// `{"bus": .., "headers": .., "message": ..}`, in the order and with the headers that Python publishers send.
fn body(bus: &str, mut headers: Headers, message: &str) -> Result<String, PublishError> {
    headers.set("min_compatible_version", "3.0");
    headers.set("max_compatible_version", "");
    let encode = |e: serde_json::Error| PublishError::Router(CallError::BadParams(e.to_string()));
    let bus = wire_json::to_string(bus).map_err(encode)?;
    let headers = wire_json::to_string(&headers).map_err(encode)?;
    Ok(format!("{{\"bus\": {bus}, \"headers\": {headers}, \"message\": {message}}}"))
}

fn topic_frame(topic: &str) -> Result<Bytes, PublishError> {
    let bad = |why| PublishError::BadTopic { topic: topic.to_owned(), why };
    if typed::is_json_like(topic) {
        return Err(bad("it reads as JSON, which a Python hop would change"));
    }
    typed::latin1(topic).map(Bytes::from).ok_or_else(|| bad("it has characters outside ISO-8859-1"))
}

/// Replaces every character beyond ASCII by `\u` escapes. In valid JSON they occur only inside strings.
fn escape(json: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_beyond_ascii_as_python() {
        assert_eq!(escape("{\"é\": \"€😀\"}"), r#"{"\u00e9": "\u20ac\ud83d\ude00"}"#);
    }

    #[test]
    fn topics_that_python_would_change_are_refused() {
        for bad in ["123", "true", "\"x\"", "{}", "über€"] {
            assert!(matches!(topic_frame(bad), Err(PublishError::BadTopic { .. })), "{bad}");
        }
        assert_eq!(topic_frame("devices/é").ok(), Some(Bytes::from_static(b"devices/\xe9")));
    }
}
