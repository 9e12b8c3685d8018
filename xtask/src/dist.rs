//! `cargo xtask dist`: every public crate packaged, each built alone from its package, in a static registry that also
//! holds everything they are locked to.

use std::fs;
use std::process::Command;
use std::thread;

use volttron_test_registry::{Registry, Server, pack};

use crate::shell::{Outcome, cargo, step, target_dir, workspace_root};
use crate::test_peers;

/// Options of `cargo xtask dist`.
#[derive(clap::Args)]
pub struct Args {
    /// Do not build each crate from its package
    #[arg(long)]
    no_verify: bool,
    /// Only install the platform and agents from such a registry, with nothing else at hand, and see them work
    #[arg(long)]
    check: bool,
    /// Only make the Debian package of the platform
    #[arg(long, conflicts_with = "check")]
    deb: bool,
    /// Where the registry will be served
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8421")]
    url: String,
    /// Serve the registry on loopback until Ctrl-C, on this port
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "8421")]
    serve: Option<u16>,
}

/// Runs the task.
pub fn run(args: &Args) -> Outcome {
    if args.check {
        return check();
    }
    if args.deb {
        return deb();
    }
    let dist = target_dir().join("dist");
    // Anew: nothing that was packaged once and is no longer there.
    if dist.exists() {
        fs::remove_dir_all(&dist).map_err(|e| format!("{}: {e}", dist.display()))?;
    }
    let registry = Registry::open(&dist.join("registry"), &args.url)?;
    eprintln!("== package");
    let packed = pack(&workspace_root(), &target_dir(), &registry, !args.no_verify)?;
    for (name, file) in &packed.ours {
        let to = dist.join(file.file_name().unwrap_or_default());
        fs::copy(file, &to).map_err(|e| format!("{}: {e}", to.display()))?;
        println!("{name}: {}", to.display());
    }
    println!(
        "registry: {} ({} crates of ours, {} of others)",
        registry.dir().display(),
        packed.ours.len(),
        packed.others
    );
    args.serve.map_or(Ok(()), |port| serve(&registry, port))
}

/// The Debian package, `target/dist/volttron_VERSION_ARCH.deb`, with manual pages of the programs that are in it.
fn deb() -> Outcome {
    let (target, root) = (target_dir(), workspace_root());
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--package", "volttron-server", "--bins"]);
    step("build the programs", &mut build)?;
    // Where the manifest of the package looks for them.
    let pages = root.join("target/man");
    step("write manual pages", Command::new(target.join("release/vctl")).arg("man").arg(&pages))?;
    let dist = target.join("dist");
    fs::create_dir_all(&dist).map_err(|e| format!("{}: {e}", dist.display()))?;
    let mut pack = cargo();
    pack.args(["deb", "--no-build", "--locked", "--package", "volttron-server", "--output"]).arg(&dist);
    step("package (needs `cargo install --locked cargo-deb`)", &mut pack)
}

/// The long test of `tests/tests/registry/`, Python agents included.
fn check() -> Outcome {
    let peers = test_peers::set_up()?;
    step("build the programs", cargo().args(["build", "--workspace", "--bins"]))?;
    let mut test = cargo();
    test.env("VOLTTRON_TEST_PYTHON", &peers.python).env("VOLTTRON_TEST_REQUIRE_PEERS", "1");
    test.args(["test", "--quiet", "--workspace", "--test", "registry", "--", "--ignored", "--nocapture"]);
    step("from the registry alone", &mut test)
}

fn serve(registry: &Registry, port: u16) -> Outcome {
    let server = Server::start(registry.dir(), port).map_err(|e| format!("port {port} of loopback: {e}"))?;
    println!(
        "\nserved at {}; Ctrl-C ends it. To install from it alone, `$CARGO_HOME/config.toml` says:\n",
        server.url()
    );
    println!("{}", server.in_place_of_crates_io());
    loop {
        thread::park();
    }
}
