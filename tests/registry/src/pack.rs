//! Filling a registry with this workspace's public crates and everything that they are locked to.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{Fault, Registry};

/// What a registry was filled with.
#[derive(Debug)]
pub struct Packed {
    /// Our crates, with their files.
    pub ours: Vec<(String, PathBuf)>,
    /// How many of others.
    pub others: usize,
}

/// Packages every public crate of the workspace at `root` and publishes it, with all locked dependencies. cargo builds
/// below `target`; with `verify`, every crate alone, from its package.
pub fn pack(root: &Path, target: &Path, registry: &Registry, verify: bool) -> Result<Packed, Fault> {
    let metadata = metadata(root)?;
    let packages: Vec<&Value> = metadata["packages"].as_array().into_iter().flatten().collect();
    let ours: Vec<&Value> = packages.iter().copied().filter(|p| publishable(p)).collect();
    package(root, target, &ours, verify)?;
    let mut packed = Packed { ours: Vec::new(), others: 0 };
    for package in ours {
        let file = target.join("package").join(file_name(package));
        registry.publish(package, &file)?;
        packed.ours.push((text(package, "name").to_owned(), file));
    }
    for package in packages.iter().filter(|p| !p["source"].is_null()) {
        registry.publish(package, &downloaded(package)?)?;
        packed.others += 1;
    }
    Ok(packed)
}

/// What `cargo metadata` says about the packages below a manifest's directory, without their dependencies.
pub fn packages_of(root: &Path) -> Result<Vec<Value>, Fault> {
    let output = cargo(root)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output();
    let metadata: Value =
        serde_json::from_slice(&output.map_err(|e| format!("cannot run cargo: {e}"))?.stdout)
            .map_err(|e| format!("cargo metadata in {}: {e}", root.display()))?;
    Ok(metadata["packages"].as_array().cloned().unwrap_or_default())
}

/// Whether a package of the workspace may be published.
pub fn publishable(package: &Value) -> bool {
    package["source"].is_null() && package["publish"].as_array().is_none_or(|to| !to.is_empty())
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").as_deref().unwrap_or(OsStr::new("cargo")));
    command.current_dir(root);
    command
}

/// All features: the lock file covers them, so the registry must.
fn metadata(root: &Path) -> Result<Value, Fault> {
    let mut command = cargo(root);
    command
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .stderr(Stdio::inherit());
    let output = command.output().map_err(|e| format!("cannot run cargo: {e}"))?;
    if !output.status.success() {
        return Err(format!("`cargo metadata` failed in {} ({})", root.display(), output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))
}

fn package(root: &Path, target: &Path, ours: &[&Value], verify: bool) -> Result<(), Fault> {
    let mut command = cargo(root);
    command.args(["package", "--allow-dirty", "--locked"]).arg("--target-dir").arg(target);
    for package in ours {
        command.args(["--package", text(package, "name")]);
    }
    if !verify {
        command.args(["--no-verify", "--quiet"]);
    }
    let status = command.status().map_err(|e| format!("cannot run cargo: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("`cargo package` failed ({status})")) }
}

/// The `.crate` file that cargo keeps of a dependency: beside its unpacked source, in `cache` instead of `src`.
fn downloaded(package: &Value) -> Result<PathBuf, Fault> {
    let manifest = Path::new(text(package, "manifest_path"));
    let mut above = manifest.ancestors().skip(2);
    let (registry, cargo_registry) = (above.next(), above.nth(1));
    let (Some(registry), Some(cargo_registry)) = (registry.and_then(Path::file_name), cargo_registry) else {
        return Err(format!("{} does not lie where cargo keeps sources", manifest.display()));
    };
    let file = cargo_registry.join("cache").join(registry).join(file_name(package));
    if fs::exists(&file).unwrap_or(false) {
        return Ok(file);
    }
    Err(format!(
        "{} is missing: cargo has thrown it away; remove {} and run `cargo fetch`",
        file.display(),
        manifest.display()
    ))
}

fn file_name(package: &Value) -> String {
    format!("{}-{}.crate", text(package, "name"), text(package, "version"))
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or_default()
}
