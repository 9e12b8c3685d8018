//! A copy of an agent's directory to build from, and what is in it.

use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

/// Most files and bytes of a source.
const MAX_FILES: usize = 50_000;
const MAX_BYTES: u64 = 1 << 30;
/// Directories that are no part of a source.
const LEFT_OUT: [&str; 10] = [
    ".git",
    ".hg",
    ".svn",
    ".tox",
    ".nox",
    ".venv",
    "__pycache__",
    ".mypy_cache",
    ".pytest_cache",
    "node_modules",
];
/// What builds leave at the top.
const BUILT: [&str; 2] = ["build", "dist"];

/// What a source consists of.
#[derive(Debug)]
pub(super) struct Tree {
    /// Hash of all names and contents.
    pub sha256: String,
    /// A module of it imports the modules of 9.x.
    pub classic: bool,
    /// A file at the top that says what it needs names the library of 11.x.
    pub for_11: bool,
}

/// Files that say what a source needs.
const NEEDS: [&str; 4] = ["pyproject.toml", "setup.py", "setup.cfg", "requirements.txt"];

/// Copies `from` to `to` without what builds and version control leave behind.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<Tree> {
    let mut copy = Copy { digest: Sha256::new(), classic: false, for_11: false, files: 0, bytes: 0 };
    copy.dir(from, to, Path::new(""))?;
    let (classic, for_11) = (copy.classic, copy.for_11 && !copy.classic);
    Ok(Tree { sha256: format!("{:x}", copy.digest.finalize()), classic, for_11 })
}

/// Whether a line imports what lies below `volttron.platform`.
fn imports_classic(content: &[u8]) -> bool {
    content.split(|&byte| byte == b'\n').any(|line| {
        let line = line.trim_ascii();
        let rest = line.strip_prefix(b"from").or_else(|| line.strip_prefix(b"import"));
        rest.is_some_and(|rest| {
            let name = rest.trim_ascii_start();
            name.len() < rest.len()
                && name.strip_prefix(b"volttron.platform").is_some_and(|after| {
                    !after.first().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
                })
        })
    })
}

/// Whether a text names the library of 11.x, in whichever spelling.
fn names_library_of_11(content: &[u8]) -> bool {
    let name: &[u8] = b"volttron-core";
    content.windows(name.len()).any(|part| {
        part.iter().zip(name).all(|(&is, &wanted)| {
            is.eq_ignore_ascii_case(&wanted) || (wanted == b'-' && (is == b'_' || is == b'.'))
        })
    })
}

struct Copy {
    digest: Sha256,
    classic: bool,
    for_11: bool,
    files: usize,
    bytes: u64,
}

impl Copy {
    fn dir(&mut self, from: &Path, to: &Path, inner: &Path) -> io::Result<()> {
        fs::create_dir_all(to)?;
        let mut entries = fs::read_dir(from)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (name, path) = (entry.file_name(), entry.path());
            let (shown, inner) = (name.to_string_lossy(), inner.join(&name));
            if entry.file_type()?.is_dir() {
                let built =
                    to.parent().is_some() && inner.components().count() == 1 && BUILT.contains(&&*shown);
                let environment = path.join("pyvenv.cfg").exists();
                if built || environment || LEFT_OUT.contains(&&*shown) || shown.ends_with(".egg-info") {
                    continue;
                }
                self.dir(&path, &to.join(&name), &inner)?;
            } else if fs::metadata(&path).is_ok_and(|m| m.is_file()) {
                self.file(&path, &to.join(&name), &inner)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, from: &Path, to: &Path, inner: &Path) -> io::Result<()> {
        self.files += 1;
        self.bytes += fs::metadata(from)?.len();
        if self.files > MAX_FILES || self.bytes > MAX_BYTES {
            return Err(io::Error::other(format!(
                "more than {MAX_FILES} files or {} MiB: this is not the source of one agent",
                MAX_BYTES >> 20
            )));
        }
        let content = fs::read(from)?;
        let python = inner.extension().is_some_and(|e| e == "py");
        self.classic |= python && imports_classic(&content);
        self.for_11 |= NEEDS.iter().any(|name| inner == Path::new(name)) && names_library_of_11(&content);
        self.digest.update(inner.to_string_lossy().as_bytes());
        self.digest.update([0]);
        self.digest.update(content.len().to_le_bytes());
        self.digest.update(&content);
        fs::write(to, &content)?;
        fs::set_permissions(to, fs::metadata(from)?.permissions())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_imports_make_an_agent_classic() {
        for (text, classic) in [
            ("from volttron.platform.agent import utils", true),
            ("x = 1\n    import volttron.platform\n", true),
            ("import  volttron.platform as p", true),
            ("from volttron.platform import jsonapi\r\n", true),
            ("# from volttron.platform.agent import utils", false),
            ("from volttron.platforms import x", false),
            ("from volttron.client.vip.agent import Agent", false),
            ("importvolttron.platform", false),
            ("'volttron.platform'", false),
        ] {
            assert_eq!(imports_classic(text.as_bytes()), classic, "{text}");
        }
    }

    #[test]
    fn a_copy_leaves_out_what_is_built_and_tells_sources_apart() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        for path in ["pkg/__pycache__", "build/lib", "pkg/build", "a.egg-info", ".git", "env/bin"] {
            fs::create_dir_all(from.join(path)).unwrap();
        }
        for (name, text) in [
            ("setup.py", "setup()"),
            ("pkg/agent.py", "import volttron.platform"),
            ("pkg/__pycache__/agent.pyc", "x"),
            ("build/lib/old.py", "x"),
            ("pkg/build/kept.py", "x"),
            ("a.egg-info/PKG-INFO", "x"),
            (".git/HEAD", "x"),
            ("env/pyvenv.cfg", "x"),
        ] {
            fs::write(from.join(name), text).unwrap();
        }
        let tree = copy(&from, &to).unwrap();
        assert!(tree.classic);
        for (name, kept) in [
            ("setup.py", true),
            ("pkg/build/kept.py", true),
            ("build", false),
            ("a.egg-info", false),
            (".git", false),
            ("env", false),
            ("pkg/__pycache__", false),
        ] {
            assert_eq!(to.join(name).exists(), kept, "{name}");
        }
        let again = copy(&from, &dir.path().join("again")).unwrap();
        assert_eq!(again.sha256, tree.sha256);
        fs::write(from.join("setup.py"), "setup( )").unwrap();
        assert_ne!(copy(&from, &dir.path().join("other")).unwrap().sha256, tree.sha256);
    }
}
