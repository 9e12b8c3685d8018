//! Bytes as the files that say who may do what. The checks stand beside the code, which also runs them as tests.

use volttron_server::auth::fuzzing;

/// The bytes as `auth.json`: what is accepted is written in the current version and reads as the same document.
pub fn auth_json(data: &[u8]) {
    fuzzing::auth_file(data);
}

/// The bytes as `protected_topics.json`.
pub fn protected_topics(data: &[u8]) {
    fuzzing::protected_topics(data);
}
