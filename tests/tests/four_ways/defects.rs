//! Where the suite is known to fail, and why. The list stays true: a case that fails and is not here fails the test, and
//! so does one that is here and passes.

/// Client and platform.
pub const RUST_ON_RUST: &str = "Rust client, Rust platform";
/// Client and platform.
pub const RUST_ON_PYTHON: &str = "Rust client, Python platform";
/// Client and platform.
pub const PYTHON_ON_RUST: &str = "Python client, Rust platform";
/// Client and platform.
pub const PYTHON_ON_PYTHON: &str = "Python client, Python platform";

/// Case, combination, reason.
pub const DEFECTS: &[(&str, &str, &str)] = &[
    ("rpc.unreachable", PYTHON_ON_RUST, CANNOT_READ_ERRORS),
    ("rpc.unreachable", PYTHON_ON_PYTHON, CANNOT_READ_ERRORS),
    ("rpc.batch", PYTHON_ON_RUST, NO_BATCHES),
    ("rpc.batch", PYTHON_ON_PYTHON, NO_BATCHES),
    ("pubsub.protected_refused", RUST_ON_PYTHON, NO_PROTECTION),
    ("pubsub.protected_refused", PYTHON_ON_RUST, CANNOT_READ_ERRORS),
    ("pubsub.protected_refused", PYTHON_ON_PYTHON, NO_PROTECTION),
    ("ping.router", PYTHON_ON_RUST, PINGS_NOBODY),
    ("ping.router", PYTHON_ON_PYTHON, PINGS_NOBODY),
    ("ping.peer", PYTHON_ON_RUST, PINGS_NOBODY),
    ("ping.peer", PYTHON_ON_PYTHON, PINGS_NOBODY),
];

/// Case, combination, reason: fails now and then.
pub const BY_CHANCE: &[(&str, &str, &str)] = &[("peers.drop", PYTHON_ON_PYTHON, LISTED_AGAIN)];

const CANNOT_READ_ERRORS: &str =
    "the 10.0.5 client takes the error number for text and loses its connection, whatever the error";
const NO_BATCHES: &str = "the client's batch() raises AttributeError before anything is sent";
const NO_PROTECTION: &str =
    "the 10.0.5 platform does not read protected_topics.json when it starts, so nothing is protected";
const LISTED_AGAIN: &str =
    "the client still speaks after its farewell, and the platform then lists it again until it ends itself";
const PINGS_NOBODY: &str =
    "the client's ping() sends the word 'drop' and the peer's name to the router instead of the data";
