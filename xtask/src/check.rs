//! Format, lints, and the rules of structure that no compiler knows.

use std::fs;
use std::path::Path;

use crate::check_tools;
use crate::shell::{Outcome, cargo, step, workspace_root};

/// `cargo xtask check`.
pub fn run() -> Outcome {
    step("format", cargo().args(["fmt", "--all", "--check"]))?;
    step(
        "lints",
        cargo().args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
    )?;
    structure()?;
    check_tools::run()
}

/// Every crate is named in docs/architecture.md, every `lib.rs`, `main.rs` and `mod.rs` says what it owns, and of our
/// crates an agent depends on the client alone.
pub fn structure() -> Outcome {
    eprintln!("== structure");
    let root = workspace_root();
    let map = fs::read_to_string(root.join("docs/architecture.md"))
        .map_err(|e| format!("docs/architecture.md: {e}"))?;
    let mut faults = Vec::new();
    for parent in ["crates", "agents"] {
        for entry in fs::read_dir(root.join(parent)).map_err(|e| format!("{parent}: {e}"))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !map.contains(&name) {
                faults.push(format!("docs/architecture.md does not name {parent}/{name}"));
            }
            if parent == "agents" {
                agent_dependencies(&entry.path(), &mut faults);
            }
            module_docs(&entry.path().join("src"), &mut faults);
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(format!("structure:\n  {}", faults.join("\n  "))) }
}

fn agent_dependencies(agent: &Path, faults: &mut Vec<String>) {
    let manifest = fs::read_to_string(agent.join("Cargo.toml")).unwrap_or_default();
    for line in manifest.lines().filter(|l| l.starts_with("volttron-") || l.starts_with("zmq")) {
        if !line.starts_with("volttron-client ") && !line.starts_with("volttron-client=") {
            faults.push(format!(
                "{}: an agent may depend on volttron-client only, found `{line}`",
                agent.display()
            ));
        }
    }
}

/// The tests of a module, in a file of their own beside it; what they are about stands there.
fn is_test_module(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests" || stem.to_string_lossy().ends_with("_tests"))
}

fn module_docs(dir: &Path, faults: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            module_docs(&path, faults);
        } else if path.extension().is_some_and(|e| e == "rs")
            && !is_test_module(&path)
            && !fs::read_to_string(&path).unwrap_or_default().trim_start().starts_with("//!")
        {
            faults.push(format!("{}: no module documentation at the top", path.display()));
        }
    }
}
