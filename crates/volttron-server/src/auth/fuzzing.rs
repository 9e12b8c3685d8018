//! What must hold for any bytes whatsoever; driven by the fuzzer and by the tests below.

use super::file::AuthFile;
use super::protected::Protected;
use super::table::{AuthTable, Presented};
use crate::auth::entry::Mechanism;

/// Any bytes are answered. A document that is accepted is written in a form that reads as the same document, with
/// nothing left to upgrade, and it compiles to a table that answers.
///
/// # Panics
/// When that does not hold.
pub fn auth_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(first) = AuthFile::parse(&text) else { return };
    let written = first.file.to_text();
    match AuthFile::parse(&written) {
        Ok(second) => {
            assert!(
                second.file == first.file,
                "{text:?} reads as another document after it was written: {written}"
            );
            assert!(!second.upgraded(), "{text:?} is written in an old version");
        }
        Err(e) => panic!("{text:?} is written as something unreadable: {e}: {written}"),
    }
    let table = AuthTable::new(&first.file);
    let key = "A".repeat(43);
    let presented =
        Presented { domain: "vip", address: "127.0.0.1", mechanism: Mechanism::Curve, credentials: &key };
    let _ = table.authenticate(presented);
    assert!(table.admit("control", &key, true).is_err(), "{text:?} gives a service identity to a socket");
}

/// Any bytes are answered.
pub fn protected_topics(bytes: &[u8]) {
    if let Ok(protected) = Protected::parse(&String::from_utf8_lossy(bytes)) {
        let _ = protected.required("devices/campus/building/unit/all");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEED: &str = r#"{ # c
        "allow": [{"domain": null, "address": ["127.0.0.1", "/x.*/"], "mechanism": "CURVE",
          "credentials": "pU3b6KfN0yVt8qXw1ZsLr5DdGhJ2mAc9EeTiOoPkB4s", "groups": ["g"], "roles": [], "capabilities":
          {"a": {"p": "/.*/"}, "b": null}, "rpc_method_authorizations": {"m": ["c"]}, "comments": "x", "user_id": "u",
          "identity": "i", "enabled": true, "other": [1e3, -0.5, 123456789012345678901234567890]},
          {"mechanism": "NULL"}, {"credentials": "/(/"}], "deny": [{"credentials": "/.*/"}],
        "groups": {"g": ["r"]}, "roles": {"r": ["c", {"d": 1}]}, "version": {"major": 1, "minor": 4}}"#;

    proptest! {
        #[test]
        fn damaged_documents_are_answered(
            cuts in proptest::collection::vec((0..SEED.len(), 0..40_usize, any::<u8>(), any::<bool>()), 0..6)
        ) {
            let mut bytes = SEED.as_bytes().to_vec();
            for (at, len, byte, remove) in cuts {
                let at = at.min(bytes.len().saturating_sub(1));
                if remove {
                    bytes.drain(at..(at + len).min(bytes.len()));
                } else if let Some(slot) = bytes.get_mut(at) {
                    *slot = byte;
                }
            }
            auth_file(&bytes);
            protected_topics(&bytes);
        }

        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            auth_file(&bytes);
            protected_topics(&bytes);
        }
    }
}
