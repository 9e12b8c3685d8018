//! What must hold for anything the bus delivers; driven by the fuzzer and by the tests below.

use bytes::Bytes;
use serde_json::{Map, Value};
use volttron_utils::json;

use crate::config::{Action, Mirror, Told};
use crate::pubsub::parse_delivery;

/// Any frames are answered. A delivery that is understood holds the message's own bytes.
///
/// # Panics
/// When that does not hold.
pub fn delivery(frames: &[Bytes]) {
    let Some(publication) = parse_delivery(frames) else { return };
    let body = frames.get(2).map(Bytes::len).unwrap_or_default();
    assert!(publication.message.len() <= body.max(4), "a message is a part of its delivery");
    let _ = publication.json::<Value>();
}

/// Nodes of a resolved configuration; more than any real one has, and little enough to hold.
const NODES_MAX: usize = 1_000_000;

/// Any configurations a store may send are taken, listed and handed out, links replaced, in bounded space; changes and
/// removals of them as well.
///
/// # Panics
/// When that does not hold.
pub fn stored_configurations(bytes: &[u8]) {
    let Ok(configs) = json::from_slice::<Map<String, Value>>(bytes) else { return };
    let mut mirror = Mirror::default();
    let first = mirror.initial_update(configs.clone());
    assert_eq!(first.len(), mirror.names().len(), "everything is new");
    assert!(mirror.initial_update(configs).is_empty(), "the same again changes nothing");
    // Each name may take a million values to resolve.
    for name in mirror.names().into_iter().take(4) {
        let contents = mirror.get(&name);
        assert!(contents.as_ref().map_or(0, nodes) <= NODES_MAX, "{name:?} grows without bound");
        let told = |action| vec![Told { action, name: name.clone(), contents: Value::Null }];
        let changed = mirror.apply(told(Action::Update));
        assert!(changed.iter().any(|change| change.name == name), "{name:?}");
        assert!(!mirror.apply(told(Action::Delete)).is_empty(), "{name:?}");
    }
    let rest = mirror.names().len();
    assert_eq!(mirror.clear().len(), rest);
    assert!(mirror.names().is_empty());
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(nodes).sum::<usize>(),
        Value::Object(map) => map.values().map(nodes).sum::<usize>(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_frames_are_answered(
            topic in proptest::collection::vec(any::<u8>(), 0..20),
            body in r#"\{("(sender|bus|headers|message)": ?("x"|null|\{\}|\[1\]|\{"Date": 5\}),? ?){0,4}\}"#,
        ) {
            delivery(&["publish".into(), topic.into(), body.into()]);
        }

        #[test]
        fn any_store_is_taken(body in r#"\{("(a|B|c)": ("config://[abC]"|\["config://(a|b)"\]|\{"x": 1\}), ){0,3}"z": 1\}"#) {
            stored_configurations(body.as_bytes());
        }
    }
}
