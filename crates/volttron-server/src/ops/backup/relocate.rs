//! A home at another place: where its files name the place it had.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use volttron_utils::files;

use crate::install::python;

/// Largest file that is looked through.
const MAX_BYTES: u64 = 64 << 20;

/// Lets settings, configurations and Python environments in the home at `staged` name the home `to` where they name `from`.
/// Gives the files that were changed, below the home; environments are not among them.
pub(in crate::ops) fn relocate(staged: &Path, from: &Path, to: &Path) -> io::Result<Vec<PathBuf>> {
    if from == to {
        return Ok(Vec::new());
    }
    let mut files = vec![staged.join("config"), staged.join("service_config.yml")];
    for entry in children(&staged.join("agents")) {
        files.extend(["config", "agent.json"].map(|name| entry.join(name)));
    }
    files.extend(children(&staged.join("configuration_store")));
    // Where programs came from may be in the home itself.
    files.extend(children(&staged.join("bin")).iter().map(|root| root.join("source.json")));
    let mut changed = Vec::new();
    for path in files {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if !meta.is_file() || meta.len() > MAX_BYTES {
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let renamed = rename(&text, &from.to_string_lossy(), &to.to_string_lossy());
        if renamed != text {
            let mode = files::open_bits(&path).unwrap_or(0) | 0o600;
            files::write_atomic(&path, renamed.as_bytes(), mode)?;
            changed.push(path.strip_prefix(staged).unwrap_or(&path).to_owned());
        }
    }
    for root in children(&staged.join("bin")) {
        python::relocate(&root, from, to)?;
    }
    Ok(changed)
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    all.sort();
    all
}

/// Replaces a path where it stands as a whole or as the beginning of another one.
fn rename(text: &str, from: &str, to: &str) -> String {
    // `/` as a home would be everywhere.
    if from.len() < 2 {
        return text.to_owned();
    }
    let of_a_name = |c: char| c.is_alphanumeric() || "._-".contains(c);
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let last = before.chars().last().or(out.chars().last());
        let whole = !last.is_some_and(of_a_name) && !after.chars().next().is_some_and(of_a_name);
        out.push_str(before);
        out.push_str(if whole { to } else { from });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_paths_are_renamed() {
        for (text, expected) in [
            ("/srv/vh", "/new"),
            ("cert = /srv/vh/certificates/x", "cert = /new/certificates/x"),
            ("{\"a\": \"/srv/vh\", \"b\": \"sqlite:////srv/vh/x\"}", "{\"a\": \"/new\", \"b\": \"sqlite:///"),
            ("/srv/vh2 /srv/vh.old /x/srv/vh /srv/vh-b", "/srv/vh2 /srv/vh.old /x/srv/vh /srv/vh-b"),
            ("/srv/vh/srv/vh", "/new/srv/vh"),
        ] {
            let renamed = rename(text, "/srv/vh", "/new");
            assert!(renamed.starts_with(expected), "{text}: {renamed}");
        }
        assert_eq!(rename("/a", "/", "/b"), "/a");
    }
}
