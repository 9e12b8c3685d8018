//! Building a crate with cargo. All agents of a home share one target directory, so only the first one builds libzmq.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use volttron_utils::home::Home;

use super::InstallError;
use super::cargo::Run;
use super::named::NamedCrate;
use super::store::sha256;

/// Said of a directory that is the root of several packages.
const NO_PACKAGE: &str = "this directory is a workspace, not a package; name the agent's own directory";

/// How to build.
#[derive(Debug)]
pub struct Build<'a> {
    /// Which program, where there are several.
    pub bin: Option<&'a str>,
    /// Features to turn on.
    pub features: &'a [String],
    /// Leave default features out.
    pub no_default_features: bool,
    /// Do not use the network.
    pub offline: bool,
    /// Build profile; release if not given.
    pub profile: Option<&'a str>,
    /// Limit of the whole build.
    pub limit: Duration,
    /// Show cargo's output.
    pub verbose: bool,
}

/// A crate of a registry that was built.
#[derive(Debug)]
pub struct Fetched {
    /// The program.
    pub program: PathBuf,
    /// SHA-256 of the downloaded `.crate` file, if cargo kept it.
    pub checksum: Option<String>,
}

impl Build<'_> {
    fn run<'a>(&self, what: &'a str) -> Run<'a> {
        Run { what, limit: self.limit, verbose: self.verbose }
    }

    /// Builds the crate in `dir` into `stage`; the finished program. With `called`, only if that is its name and
    /// version.
    pub async fn directory(
        &self,
        home: &Home,
        stage: &Path,
        dir: &Path,
        called: Option<&str>,
    ) -> Result<PathBuf, InstallError> {
        let what = dir.display().to_string();
        let run = self.run(&what);
        let manifest = dir.join("Cargo.toml");
        let metadata = run.ask(&mut describe_manifest(&manifest)).await?;
        let package = package_at(&metadata, &manifest).ok_or_else(|| run.failed(NO_PACKAGE))?;
        let name = format!("{}-{}", text(package, "name"), text(package, "version"));
        if let Some(called) = called.filter(|called| *called != name) {
            return Err(run.failed(format!("it is packaged as {called}, but its Cargo.toml says {name}")));
        }
        let bin = self.choose_bin(&programs(package), wanted_bin(package)).map_err(|why| run.failed(why))?;
        let mut command = self.command(home, stage);
        command.arg("--path").arg(dir).args(["--bin", &bin]);
        let root = metadata["workspace_root"].as_str();
        if root.is_some_and(|root| Path::new(root).join("Cargo.lock").exists()) {
            command.arg("--locked");
        } else {
            let _ = writeln!(std::io::stderr(), "no Cargo.lock: building with the newest matching versions");
        }
        run.follow(&mut command).await?;
        Ok(stage.join("bin").join(bin))
    }

    /// Packs the crate in `dir` as cargo does for a registry, into `stage`; the `.crate` file. With `verify`, cargo builds
    /// what it has packed, where everything else of the home is built.
    pub async fn pack(
        &self,
        home: &Home,
        stage: &Path,
        dir: &Path,
        verify: bool,
    ) -> Result<PathBuf, InstallError> {
        let what = dir.display().to_string();
        let run = self.run(&what);
        let manifest = dir.join("Cargo.toml");
        let metadata = run.ask(&mut describe_manifest(&manifest)).await?;
        let package = package_at(&metadata, &manifest).ok_or_else(|| run.failed(NO_PACKAGE))?;
        self.choose_bin(&programs(package), wanted_bin(package)).map_err(|why| run.failed(why))?;
        let target = if verify { home.cache().join("target") } else { stage.join("target") };
        let mut command = Command::new("cargo");
        // What lies there is what is packed, also before it is committed.
        command.args(["package", "--allow-dirty", "--manifest-path"]).arg(&manifest);
        command.arg("--target-dir").arg(&target);
        if !verify {
            command.arg("--no-verify");
        }
        self.choose_features(&mut command);
        run.follow(&mut command).await?;
        let name = format!("{}-{}.crate", text(package, "name"), text(package, "version"));
        Ok(target.join("package").join(name))
    }

    /// Builds a crate of a registry into `stage`, with the versions its lock file names, if it has one.
    pub async fn named(
        &self,
        home: &Home,
        stage: &Path,
        named: &NamedCrate,
    ) -> Result<Fetched, InstallError> {
        let what = named.to_string();
        let run = self.run(&what);
        let mut command = self.command(home, stage);
        command.args(["--locked", "--message-format", "json-render-diagnostics"]).arg(&named.name);
        if let Some(requirement) = named.requirement() {
            command.args(["--version", &requirement]);
        }
        named.place(&mut command);
        if let Some(bin) = self.bin {
            command.args(["--bin", bin]);
        }
        let messages = match run.follow(&mut command).await {
            Ok(messages) => messages,
            Err(error) => return Err(self.explain(&run, stage, named, error).await),
        };
        let built = installed_programs(stage);
        let manifest = built.first().and_then(|bin| manifest_of(&messages, &named.name, bin));
        let package = match &manifest {
            Some(manifest) => run.ask(&mut describe_manifest(manifest)).await?["packages"][0].take(),
            None => Value::Null,
        };
        let bin = self.choose_bin(&built, wanted_bin(&package)).map_err(|why| run.failed(why))?;
        let checksum = manifest.and_then(|m| packed_beside(&m)).and_then(|file| sha256(&file).ok());
        Ok(Fetched { program: stage.join("bin").join(bin), checksum })
    }

    /// What every build has in common.
    fn command(&self, home: &Home, stage: &Path) -> Command {
        let mut command = Command::new("cargo");
        command.args(["install", "--force", "--no-track", "--root"]).arg(stage);
        command.arg("--target-dir").arg(home.cache().join("target"));
        self.choose_features(&mut command);
        if let Some(profile) = self.profile {
            command.args(["--profile", profile]);
        }
        command
    }

    fn choose_features(&self, command: &mut Command) {
        if !self.features.is_empty() {
            command.arg("--features").arg(self.features.join(","));
        }
        if self.no_default_features {
            command.arg("--no-default-features");
        }
        if self.offline {
            command.arg("--offline");
        }
    }

    /// Which of several programs: the one asked for, the one the crate names, or the only one.
    fn choose_bin(&self, bins: &[String], wanted: Option<&str>) -> Result<String, String> {
        match (self.bin.or(wanted), bins) {
            (Some(wanted), all) if all.iter().any(|bin| bin == wanted) => Ok(wanted.to_owned()),
            (Some(wanted), all) => Err(format!("it has no program {wanted}, only: {}", all.join(", "))),
            (None, [only]) => Ok(only.clone()),
            (None, []) => Err("it has no program (no src/main.rs): it is a library, not an agent".into()),
            (None, several) => {
                Err(format!("it has several programs, choose one with --bin: {}", several.join(", ")))
            }
        }
    }

    /// A better error where cargo's own says too little: which versions there are, that it is a library.
    async fn explain(
        &self,
        run: &Run<'_>,
        stage: &Path,
        named: &NamedCrate,
        error: InstallError,
    ) -> InstallError {
        let InstallError::Build { why, .. } = &error else { return error };
        if why.contains("there is nothing to install in") {
            return run.failed("it has no program (no src/main.rs): it is a library, not an agent");
        }
        if !why.contains(&format!("could not find `{}`", named.name)) {
            return error;
        }
        match self.versions(run, stage, named).await {
            None if self.offline => run.failed(
                "cargo has not downloaded it before, or not this version, and --offline forbids it to do so now",
            ),
            Some(versions) => run.failed(format!("there is no such version; there are: {versions}")),
            None => run.failed(format!("there is no crate {} on {}", named.name, named.registry_name())),
        }
    }

    /// Which versions a registry has, newest first. cargo says that only when it cannot satisfy a dependency, so it is
    /// given one that no version satisfies.
    async fn versions(&self, run: &Run<'_>, stage: &Path, named: &NamedCrate) -> Option<String> {
        let dir = stage.join("versions");
        fs::create_dir_all(dir.join("src")).ok()?;
        fs::write(dir.join("src/lib.rs"), "").ok()?;
        let manifest = format!(
            "[package]\nname = \"versions\"\nversion = \"0.0.0\"\n\n[workspace]\n\n\
             [dependencies]\n{} = {{ version = \"<0.0.0-0\"{} }}\n",
            named.name,
            named.place_in_manifest()
        );
        fs::write(dir.join("Cargo.toml"), manifest).ok()?;
        let mut command = Command::new("cargo");
        command.args(["generate-lockfile", "--manifest-path"]).arg(dir.join("Cargo.toml"));
        if self.offline {
            command.arg("--offline");
        }
        let Err(InstallError::Build { why, .. }) = run.follow(&mut command).await else { return None };
        let line = why
            .lines()
            .find_map(|line| line.trim().strip_prefix("candidate versions found which didn't match: "));
        line.map(str::to_owned)
    }
}

fn describe_manifest(manifest: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(manifest);
    command
}

fn package_at<'a>(metadata: &'a Value, manifest: &Path) -> Option<&'a Value> {
    let at =
        |package: &&Value| package["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest);
    metadata["packages"].as_array()?.iter().find(at)
}

/// The names of a package's programs.
fn programs(package: &Value) -> Vec<String> {
    let targets = package["targets"].as_array().into_iter().flatten();
    targets.filter(|t| is_program(t)).map(|t| text(t, "name").to_owned()).collect()
}

fn is_program(target: &Value) -> bool {
    target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin"))
}

/// The program that the crate itself calls the agent.
fn wanted_bin(package: &Value) -> Option<&str> {
    package["metadata"]["volttron"]["bin"].as_str()
}

/// What cargo put into `stage`.
fn installed_programs(stage: &Path) -> Vec<String> {
    let entries = fs::read_dir(stage.join("bin")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Where the manifest of a built program lies, from cargo's messages.
fn manifest_of(messages: &[Value], name: &str, bin: &str) -> Option<PathBuf> {
    let of_crate = |m: &&Value| {
        is_program(&m["target"]) && m["target"]["name"] == bin && text(m, "package_id").contains(name)
    };
    messages.iter().find(of_crate).map(|m| PathBuf::from(text(m, "manifest_path")))
}

/// The `.crate` file that cargo keeps of an unpacked source: `registry/cache/R/NAME-VERSION.crate` of
/// `registry/src/R/NAME-VERSION/Cargo.toml`.
fn packed_beside(manifest: &Path) -> Option<PathBuf> {
    let unpacked = manifest.parent()?;
    let registry = unpacked.parent()?;
    let cache = registry.parent()?.parent()?.join("cache").join(registry.file_name()?);
    Some(cache.join(format!("{}.crate", unpacked.file_name()?.to_string_lossy())))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
