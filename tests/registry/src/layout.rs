//! Where the files of a registry lie: `config.json`, `index/` by name, `crates/NAME-VERSION.crate`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{Fault, entry};

/// A registry in a directory.
#[derive(Clone, Debug)]
pub struct Registry {
    dir: PathBuf,
}

impl Registry {
    /// An empty one, or one that is there already. `url` is where it will be served.
    pub fn open(dir: &Path, url: &str) -> Result<Self, Fault> {
        let this = Self { dir: dir.to_owned() };
        fs::create_dir_all(this.crates()).map_err(|e| format!("{}: {e}", dir.display()))?;
        this.write(&this.dir.join("config.json"), config(url).to_string().as_bytes())?;
        Ok(this)
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of the packaged crates.
    pub fn crates(&self) -> PathBuf {
        self.dir.join("crates")
    }

    /// Publishes a `.crate` file; `package` is what `cargo metadata` says about it. The same version again replaces it.
    pub fn publish(&self, package: &Value, file: &Path) -> Result<(), Fault> {
        let bytes = fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
        let line = entry(package, &format!("{:x}", Sha256::digest(&bytes)));
        let (Some(name), Some(version)) = (line["name"].as_str(), line["vers"].as_str()) else {
            return Err(format!("{}: no name and version", file.display()));
        };
        self.write(&self.crates().join(format!("{name}-{version}.crate")), &bytes)?;
        let index = self.dir.join(index_path(name));
        let before = fs::read_to_string(&index).unwrap_or_default();
        let other = |l: &&str| serde_json::from_str::<Value>(l).is_ok_and(|l| l["vers"] != version);
        let mut lines: Vec<String> = before.lines().filter(other).map(str::to_owned).collect();
        lines.push(line.to_string());
        self.write(&index, (lines.join("\n") + "\n").as_bytes())
    }

    #[expect(clippy::unused_self, reason = "files of a registry")]
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Fault> {
        let done = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, bytes));
        done.map_err(|e| format!("{}: {e}", path.display()))
    }
}

/// What `config.json` says of a registry at this address.
pub(crate) fn config(url: &str) -> Value {
    json!({"dl": format!("{}/crates/{{crate}}-{{version}}.crate", url.trim_end_matches('/')), "api": null})
}

/// Where the index has the lines of a crate.
fn index_path(name: &str) -> PathBuf {
    let name = name.to_lowercase();
    match name.len() {
        1 => PathBuf::from("1").join(&name),
        2 => PathBuf::from("2").join(&name),
        3 => PathBuf::from("3").join(&name[..1]).join(&name),
        _ => PathBuf::from(&name[..2]).join(&name[2..4]).join(&name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lie_where_cargo_looks() {
        for (name, path) in [("a", "1/a"), ("cc", "2/cc"), ("Zmq", "3/z/zmq"), ("tokio", "to/ki/tokio")] {
            assert_eq!(index_path(name), Path::new(path));
        }
    }

    #[test]
    fn a_version_published_again_replaces_the_former() {
        let dir = tempfile::tempdir().expect("a directory");
        let registry = Registry::open(&dir.path().join("r"), "http://localhost:1/").expect("a registry");
        let file = dir.path().join("x.crate");
        for (version, text) in [("1.0.0", "one"), ("1.1.0", "two"), ("1.0.0", "three")] {
            fs::write(&file, text).expect("write");
            let package = json!({"name": "some", "version": version, "dependencies": [], "features": {}});
            registry.publish(&package, &file).expect("published");
        }
        let index = fs::read_to_string(registry.dir().join("so/me/some")).expect("its lines");
        let lines: Vec<Value> = index.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["cksum"], format!("{:x}", Sha256::digest("three")));
        assert_eq!(
            fs::read_to_string(registry.crates().join("some-1.0.0.crate")).expect("the file"),
            "three"
        );
    }
}
