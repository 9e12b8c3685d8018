//! Builds libzmq 4.3.5 against the libsodium that `libsodium-sys-stable` carries, statically, with a C and
//! C++ compiler alone (no cmake, no pkg-config).

use std::env;

/// What libzmq's own configuration step finds out on any Linux, and what `zeromq-src`, which has no such step, leaves
/// out. Each is needed, not only nicer:
const LINUX: &[&str] = &[
    // Peer addresses of ipc connections name user, group and process (auth.md section 2).
    "ZMQ_HAVE_SO_PEERCRED",
    // Without these the keepalive options are accepted and do nothing.
    "ZMQ_HAVE_SO_KEEPALIVE",
    "ZMQ_HAVE_TCP_KEEPCNT",
    "ZMQ_HAVE_TCP_KEEPIDLE",
    "ZMQ_HAVE_TCP_KEEPINTVL",
    // Timers (heartbeats, reconnects, handshakes) by the monotonic clock; otherwise a step of the wall clock fires them.
    "HAVE_CLOCK_GETTIME",
    // No descriptor is inherited by agents started at the wrong moment: a listener's would keep its port occupied.
    "ZMQ_HAVE_SOCK_CLOEXEC",
    "ZMQ_HAVE_O_CLOEXEC",
    "HAVE_ACCEPT4",
    "ZMQ_IOTHREAD_POLLER_USE_EPOLL_CLOEXEC",
    "ZMQ_HAVE_EVENTFD_CLOEXEC",
    // Threads wake each other through an eventfd; otherwise through a socket pair, at several times the price.
    "ZMQ_HAVE_EVENTFD",
    // Interface names in endpoints, scopes of IPv6 addresses, names of threads.
    "ZMQ_HAVE_IFADDRS",
    "HAVE_IF_NAMETOINDEX",
    "ZMQ_HAVE_PTHREAD_SETNAME_2",
    // Moves instead of copies.
    "ZMQ_HAVE_NOEXCEPT",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let include = env::var("DEP_SODIUM_INCLUDE").expect("set by libsodium-sys-stable");
    let lib = env::var("DEP_SODIUM_LIB").expect("set by libsodium-sys-stable");
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        define(LINUX);
        link_cpp_runtime_statically();
    }
    zeromq_src::Build::new()
        // ROUTER_NOTIFY, the only way to learn *which* peer disconnected, is a draft option in 4.3.5.
        .enable_draft(true)
        .with_libsodium(Some(zeromq_src::LibLocation::new(lib, include)))
        .build();
}

/// Takes the few parts of the C++ runtime that libzmq uses into the program, where the compiler brings it as an
/// archive: programs then run on machines without a C++ runtime, and every agent is a megabyte smaller in memory.
fn link_cpp_runtime_statically() {
    let target = env::var("TARGET").expect("set by cargo").replace('-', "_");
    let own = format!("CXXSTDLIB_{target}");
    println!("cargo:rerun-if-env-changed={own}");
    println!("cargo:rerun-if-env-changed=CXXSTDLIB");
    if env::var_os(&own).is_some() || env::var_os("CXXSTDLIB").is_some() {
        return;
    }
    let compiler = cc::Build::new().cpp(true).get_compiler();
    let Ok(output) = compiler.to_command().arg("-print-file-name=libstdc++.a").output() else { return };
    // The bare name means that there is none.
    let path = std::path::PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if let Some(dir) = path.parent().filter(|_| path.is_absolute() && path.is_file()) {
        println!("cargo:rustc-link-search=native={}", dir.display());
        // SAFETY: a build script has one thread.
        unsafe { env::set_var(own, "static:-bundle=stdc++") };
    }
}

/// Adds definitions to the compilation, through the only way that `zeromq_src::Build` leaves: the variable from which
/// the C++ compiler's flags are read. The target's own variable is read first, so it has to keep what the general ones
/// say.
fn define(names: &[&str]) {
    let target = env::var("TARGET").expect("set by cargo").replace('-', "_");
    let own = format!("CXXFLAGS_{target}");
    let given = env::var(&own).or_else(|_| env::var("TARGET_CXXFLAGS")).or_else(|_| env::var("CXXFLAGS"));
    let mut flags = given.unwrap_or_default();
    for name in names {
        flags.extend([" -D", name, "=1"]);
    }
    // SAFETY: a build script has one thread.
    unsafe { env::set_var(own, flags) };
}
