//! Builds libzmq 4.3.5 against the libsodium that `libsodium-sys-stable` carries, statically, with a C and
//! C++ compiler alone (no cmake, no pkg-config).

fn main() {
    let include = std::env::var("DEP_SODIUM_INCLUDE").expect("set by libsodium-sys-stable");
    let lib = std::env::var("DEP_SODIUM_LIB").expect("set by libsodium-sys-stable");
    zeromq_src::Build::new()
        // ROUTER_NOTIFY, the only way to learn *which* peer disconnected, is a draft option in 4.3.5.
        .enable_draft(true)
        .with_libsodium(Some(zeromq_src::LibLocation::new(lib, include)))
        .build();
}
