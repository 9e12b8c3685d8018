//! What must hold for any `.store` file whatsoever; driven by the fuzzer and by the test below.

use serde_json::{Map, Value};
use volttron_utils::json;

use super::entry::parse;
use super::store::Store;

/// Any bytes are answered. Nothing of a document is lost: what is not kept is given back. What is kept is written in a
/// form that reads as the same store, with nothing more to put aside, and every entry of it can be handed out.
///
/// # Panics
/// When that does not hold.
pub fn store_file(bytes: &[u8]) {
    let Ok(members) = json::from_slice::<Map<String, Value>>(bytes) else { return };
    let many = members.len();
    let (store, rejected) = Store::load(members);
    assert_eq!(store.names().len() + rejected.len(), many, "an entry is kept or given back");
    let Some(written) = store.render() else {
        assert!(store.is_empty());
        return;
    };
    let written = written.unwrap_or_default();
    match json::from_str::<Map<String, Value>>(&written) {
        Ok(members) => {
            let (again, rejected) = Store::load(members);
            assert!(rejected.is_empty(), "{written:?} has something to put aside: {rejected:?}");
            assert_eq!(again.all(), store.all(), "{written:?} reads as another store");
        }
        Err(e) => panic!("something unreadable is written: {e}: {written}"),
    }
    for (name, entry) in store.all() {
        assert!(parse(entry.kind, &entry.data).is_ok(), "{name:?} cannot be handed out");
        assert_eq!(
            store.get(&name.to_uppercase()).is_some(),
            name.to_uppercase().to_lowercase() == name.to_lowercase()
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEED: &str = r#"{"config":{"type":"json","modified":"2026-03-04T16:00:00.000000+00:00","data":"{\"a\": \"config://b\"}"},
        "b":{"type":"csv","modified":null,"data":"A,B\n1,2\n"},"B":{"type":"raw","data":"x"},"c":{"type":"json","data":"[\"config://C\"]"}}"#;

    #[test]
    fn entries_are_kept_or_given_back() {
        store_file(SEED.as_bytes());
    }

    proptest! {
        #[test]
        fn damaged_files_are_answered(cuts in proptest::collection::vec((0..SEED.len(), any::<u8>()), 0..6)) {
            let mut bytes = SEED.as_bytes().to_vec();
            for (at, byte) in cuts {
                bytes[at] = byte;
            }
            store_file(&bytes);
        }
    }
}
