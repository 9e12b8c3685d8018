//! A registry, a cargo that knows only it, and crates to sell.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use volttron_test_registry::{Registry, Server, packages_of};
use volttron_tests::platform::Platform;

/// A registry on loopback with a cargo home that has it for crates.io.
pub struct Shop {
    dir: TempDir,
    registry: Registry,
    server: Option<Server>,
}

impl Shop {
    /// With nothing in it.
    pub fn open() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let registry = Registry::open(&dir.path().join("registry"), "http://localhost").expect("a registry");
        let server = Server::start(registry.dir(), 0).expect("a server");
        let shop = Self { dir, registry, server: Some(server) };
        shop.configure();
        shop
    }

    fn configure(&self) {
        let server = self.server.as_ref().expect("open");
        let settings = format!(
            "{}\n[registries.ours]\nindex = \"{}\"\n\n[net]\nretry = 0\n",
            server.in_place_of_crates_io(),
            server.index()
        );
        fs::create_dir_all(self.cargo_home()).expect("a cargo home");
        fs::write(self.cargo_home().join("config.toml"), settings).expect("settings");
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// cargo's home.
    pub fn cargo_home(&self) -> PathBuf {
        self.dir.path().join("cargo")
    }

    /// Room for files of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The address of the index.
    pub fn index(&self) -> String {
        self.server.as_ref().expect("open").index()
    }

    /// Nobody answers any more.
    pub fn close(&mut self) {
        self.server = None;
    }

    /// Packages the crate in `dir` and publishes it; its `.crate` file.
    pub fn publish(&self, dir: &Path) -> PathBuf {
        let mut cargo = Command::new("cargo");
        cargo.args(["package", "--no-verify", "--allow-dirty", "--quiet"]);
        self.furnish(&mut cargo);
        let target = self.path("packaged");
        cargo.current_dir(dir).arg("--target-dir").arg(&target);
        assert!(cargo.status().expect("run cargo").success(), "package {}", dir.display());
        let package = &packages_of(dir).expect("metadata")[0];
        let name = format!("{}-{}.crate", text(package, "name"), text(package, "version"));
        let file = target.join("package").join(name);
        self.registry.publish(package, &file).expect("published");
        file
    }

    /// Writes a crate and publishes it; `lines` come after `[package]`.
    pub fn sell(&self, name: &str, version: &str, lines: &str, sources: &[(&str, &str)]) -> PathBuf {
        self.publish(&self.write(name, version, lines, sources))
    }

    /// Writes a crate; its directory.
    pub fn write(&self, name: &str, version: &str, lines: &str, sources: &[(&str, &str)]) -> PathBuf {
        let dir = self.path(&format!("{name}-{version}"));
        fs::create_dir_all(dir.join("src/bin")).expect("directories");
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2024\"\ndescription = \"x\"\n\
             license = \"MIT\"\n{lines}\n[workspace]\n"
        );
        fs::write(dir.join("Cargo.toml"), manifest).expect("a manifest");
        for (file, source) in sources {
            fs::write(dir.join(file), source).expect("a source");
        }
        dir
    }

    /// `vctl` with this cargo and nothing else of the caller's settings.
    pub fn vctl(&self, platform: &Platform, args: &[&str]) -> Output {
        self.run("vctl", platform, args)
    }

    /// As [`Self::vctl`], another program.
    pub fn run(&self, name: &str, platform: &Platform, args: &[&str]) -> Output {
        let mut command = platform.command(name);
        self.furnish(&mut command);
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null()).output().expect("run a program")
    }

    /// Gives a cleared command what cargo needs to run.
    pub fn furnish(&self, command: &mut Command) {
        let home = std::env::var_os("HOME").map_or_else(|| "/".into(), PathBuf::from);
        let rustup = std::env::var_os("RUSTUP_HOME").map_or_else(|| home.join(".rustup"), PathBuf::from);
        command.env("CARGO_HOME", self.cargo_home()).env("RUSTUP_HOME", rustup);
        // Nobody debugs what is built here, and it is most of what building and linking takes.
        command.env("CARGO_PROFILE_DEV_DEBUG", "0");
    }

    /// Installs and gives the result object.
    ///
    /// # Panics
    /// If it is not installed.
    pub fn install(&self, platform: &Platform, args: &[&str]) -> Value {
        let output = self.vctl(platform, &[&["--json", "install"], args].concat());
        assert!(output.status.success(), "install {args:?}: {output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// The complaint of an installation that is refused.
    ///
    /// # Panics
    /// If it is installed.
    pub fn refused(&self, platform: &Platform, args: &[&str]) -> String {
        let output = self.vctl(platform, &[&["install"], args].concat());
        assert_eq!(output.status.code(), Some(1), "install {args:?}: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// A program that answers `--describe` and nothing else.
pub fn describes(name: &str, version: &str, protocol: u32) -> String {
    let answer = serde_json::json!({
        "name": name, "version": version, "protocol": protocol, "identity": format!("{name}-{{n}}")
    });
    format!("fn main() {{ println!(\"{{}}\", r#\"{answer}\"#); }}\n")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
