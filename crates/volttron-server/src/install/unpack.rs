//! Unpacking a `.crate` file: a gzipped tar archive of one directory `NAME-VERSION`, from anywhere, so nothing in it is
//! believed.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use tar::{Archive, Entry, EntryType};

use super::InstallError;

/// Bounds of what an archive may unpack to. The largest crates have a tenth of it.
const MAX_BYTES: u64 = 512 * 1024 * 1024;
const MAX_ENTRIES: usize = 50_000;

/// Unpacks `file` into `dir`, which is made; the crate's directory in it.
pub fn unpack(file: &Path, dir: &Path) -> Result<PathBuf, InstallError> {
    let bad = |why: String| InstallError::Unsupported { path: file.display().to_string(), why };
    super::file(dir, fs::create_dir_all(dir))?;
    let archive = super::file(file, fs::File::open(file))?;
    let top = entries(archive, dir).map_err(|fault| match fault {
        Fault::Content(why) => bad(format!("this .crate file is not installed: {why}")),
        Fault::Damaged(e) => {
            bad(format!("this .crate file is damaged, or none: {e}; download or make it again"))
        }
        Fault::File(source) => InstallError::File { path: dir.to_owned(), source },
    })?;
    let manifest = top.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(bad("this .crate file has no Cargo.toml: it is no packaged crate".into()));
    }
    super::file(&manifest, stand_alone(&manifest))?;
    Ok(top)
}

/// Makes the crate a workspace of its own, or cargo would look for one in the directories above the home.
fn stand_alone(manifest: &Path) -> io::Result<()> {
    let text = fs::read_to_string(manifest)?;
    if text.lines().any(|line| line.trim() == "[workspace]") {
        return Ok(());
    }
    fs::write(manifest, text + "\n[workspace]\n")
}

/// Why an archive is not unpacked.
#[derive(Debug)]
enum Fault {
    /// It holds something that no packaged crate holds.
    Content(String),
    /// It cannot be read to its end.
    Damaged(io::Error),
    /// A file could not be written.
    File(io::Error),
}

/// The directory that everything lies in.
fn entries(archive: impl Read, dir: &Path) -> Result<PathBuf, Fault> {
    let mut archive = Archive::new(GzDecoder::new(archive));
    let (mut top, mut left) = (None, MAX_BYTES);
    for (n, entry) in archive.entries().map_err(Fault::Damaged)?.enumerate() {
        let mut entry = entry.map_err(Fault::Damaged)?;
        if n >= MAX_ENTRIES {
            return Err(Fault::Content(format!("it has more than {MAX_ENTRIES} entries")));
        }
        let path = inside(&entry)?;
        let first = path.components().next().map(|c| dir.join(c));
        match (&top, first) {
            (Some(top), Some(first)) if *top != first => {
                return Err(Fault::Content("it has more than one directory at the top".into()));
            }
            (_, first) => top = first,
        }
        left = write(&mut entry, &dir.join(&path), left)?;
    }
    top.ok_or_else(|| Fault::Content("it is empty".into()))
}

/// The path of an entry, below the directory it is unpacked into and nowhere else.
fn inside<R: Read>(entry: &Entry<'_, R>) -> Result<PathBuf, Fault> {
    let path = entry.path().map_err(Fault::Damaged)?.into_owned();
    let normal = path.components().all(|part| matches!(part, Component::Normal(_)));
    if !normal || path.as_os_str().is_empty() {
        return Err(Fault::Content(format!("it would write outside of its directory: {}", path.display())));
    }
    Ok(path)
}

/// Writes one entry; how many bytes are left to all others.
fn write<R: Read>(entry: &mut Entry<'_, R>, path: &Path, left: u64) -> Result<u64, Fault> {
    match entry.header().entry_type() {
        EntryType::Directory => {
            fs::create_dir_all(path).map_err(Fault::File)?;
            return Ok(left);
        }
        EntryType::Regular | EntryType::Continuous => {}
        other => {
            return Err(Fault::Content(format!(
                "{} is neither file nor directory ({other:?})",
                path.display()
            )));
        }
    }
    if entry.size() > left {
        return Err(Fault::Content(format!("it unpacks to more than {} MiB", MAX_BYTES >> 20)));
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Fault::File)?;
    }
    let runs = entry.header().mode().map_err(Fault::Damaged)? & 0o111 != 0;
    // Never over a file that an earlier entry wrote.
    let mode = if runs { 0o755 } else { 0o644 };
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = match file {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Fault::Content(format!("it has {} twice", path.display())));
        }
        file => file.map_err(Fault::File)?,
    };
    let mut piece = vec![0; 64 * 1024];
    loop {
        match entry.read(&mut piece).map_err(Fault::Damaged)? {
            0 => return Ok(left - entry.size()),
            n => io::Write::write_all(&mut file, &piece[..n]).map_err(Fault::File)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, Header};

    use super::*;

    /// An archive of these entries; the names are written as they are, which `Header::set_path` would refuse.
    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, kind, text) in entries {
            let mut header = Header::new_ustar();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            let link = matches!(kind, EntryType::Symlink | EntryType::Link);
            if link {
                header.set_link_name_literal(text).unwrap();
            }
            header.set_size(if link { 0 } else { text.len() as u64 });
            header.set_cksum();
            builder
                .append(
                    &header,
                    if link { io::empty().chain(&b""[..]) } else { io::empty().chain(text.as_bytes()) },
                )
                .unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> (tempfile::TempDir, Result<PathBuf, String>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("some-1.0.0.crate");
        fs::write(&file, bytes).unwrap();
        let result = unpack(&file, &dir.path().join("into/here")).map_err(|e| e.to_string());
        (dir, result)
    }

    const FILE: EntryType = EntryType::Regular;

    #[test]
    fn a_packaged_crate_is_unpacked() {
        let (dir, top) = unpacked(&archive(&[
            ("some-1.0.0/Cargo.toml", FILE, "[package]"),
            ("some-1.0.0/src/main.rs", FILE, "fn main() {}"),
        ]));
        let top = top.unwrap();
        assert_eq!(top, dir.path().join("into/here/some-1.0.0"));
        assert_eq!(fs::read_to_string(top.join("src/main.rs")).unwrap(), "fn main() {}");
        let manifest = fs::read_to_string(top.join("Cargo.toml")).unwrap();
        assert_eq!(manifest, "[package]\n[workspace]\n", "of its own, whatever surrounds it");
    }

    #[test]
    fn what_no_packaged_crate_holds_is_refused() {
        let manifest = ("some-1.0.0/Cargo.toml", FILE, "[package]");
        for (entries, expected) in [
            (vec![("/tmp/x", FILE, "x")], "outside"),
            (vec![("some-1.0.0/../../x", FILE, "x")], "outside"),
            (vec![manifest, ("other/x", FILE, "x")], "more than one directory"),
            (vec![manifest, ("some-1.0.0/l", EntryType::Symlink, "/etc")], "neither file nor directory"),
            (vec![manifest, ("some-1.0.0/l", EntryType::Link, "/etc/passwd")], "neither file nor directory"),
            (vec![manifest, ("some-1.0.0/f", EntryType::Fifo, "")], "neither file nor directory"),
            (vec![manifest, manifest], "twice"),
            (vec![("some-1.0.0/x", FILE, "x")], "no Cargo.toml"),
            (vec![], "empty"),
        ] {
            let (dir, result) = unpacked(&archive(&entries));
            let error = result.unwrap_err();
            assert!(error.contains(expected), "{entries:?}: {error}");
            assert!(!dir.path().join("x").exists() && !dir.path().join("into/x").exists());
        }
    }

    #[test]
    fn a_damaged_file_is_told_from_a_crate() {
        let whole = archive(&[("some-1.0.0/Cargo.toml", FILE, &"[package]\n".repeat(5000))]);
        for bytes in [b"hello".to_vec(), whole[..whole.len() / 2].to_vec(), Vec::new()] {
            let error = unpacked(&bytes).1.unwrap_err();
            assert!(error.contains("damaged"), "{error}");
        }
        // A size that says more than there may be is not believed, nor allocated.
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..8].copy_from_slice(b"some/big");
        header.set_entry_type(FILE);
        header.set_mode(0o644);
        header.set_size(MAX_BYTES + 1);
        header.set_cksum();
        let mut zip = GzEncoder::new(Vec::new(), Compression::fast());
        io::Write::write_all(&mut zip, header.as_bytes()).unwrap();
        let error = unpacked(&zip.finish().unwrap()).1.unwrap_err();
        assert!(error.contains("more than 512 MiB"), "{error}");
    }
}
