use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tar::Header;

use super::*;
use crate::codes::{Code, Coded};

const FILE: EntryType = EntryType::Regular;

/// An archive of these members; the list is made to fit unless it is given.
struct Fake {
    members: Vec<(String, EntryType, Vec<u8>)>,
    list: Value,
}

impl Fake {
    fn new() -> Self {
        let files =
            json!([{"path": "config", "size": 2, "sha256": sum(b"ok"), "mode": 0o644, "modified": 0}]);
        let list = json!({
            "format": 1, "version": "0.1.0", "created": "", "home": "/old", "arch": "x", "instance_name": "a",
            "programs": true, "agents": [], "directories": [], "files": files, "links": [], "interpreters": [],
        });
        let head = json!({"format": 1, "version": "0.1.0"}).to_string().into_bytes();
        Self {
            members: vec![(HEAD.to_owned(), FILE, head), ("home/config".to_owned(), FILE, b"ok".to_vec())],
            list,
        }
    }

    fn member(mut self, name: &str, kind: EntryType, contents: &[u8]) -> Self {
        self.members.push((name.to_owned(), kind, contents.to_vec()));
        self
    }

    fn listed(mut self, which: &str, item: Value) -> Self {
        self.list[which].as_array_mut().unwrap().push(item);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut zip = GzEncoder::new(Vec::new(), Compression::fast());
        let list = (TAIL.to_owned(), FILE, self.list.to_string().into_bytes());
        for (name, kind, contents) in self.members.iter().chain([&list]) {
            let mut header = Header::new_gnu();
            let field = &mut header.as_old_mut().name;
            let n = name.len().min(field.len());
            field[..n].copy_from_slice(&name.as_bytes()[..n]);
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_size(contents.len() as u64);
            header.set_cksum();
            zip.write_all(header.as_bytes()).unwrap();
            zip.write_all(contents).unwrap();
            zip.write_all(&vec![0; contents.len().next_multiple_of(512) - contents.len()]).unwrap();
        }
        zip.write_all(&[0; 1024]).unwrap();
        zip.finish().unwrap()
    }
}

fn sum(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn checked(bytes: &[u8], room: u64) -> Result<Manifest, BackupError> {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("archive");
    fs::write(&path, bytes).unwrap();
    verify(&path, room, &Progress::default())
}

#[test]
fn what_no_backup_holds_is_refused() {
    assert_eq!(checked(&Fake::new().bytes(), 1 << 20).unwrap().files.len(), 1);
    let link = |path: &str, target: &str| json!({"path": path, "target": target});
    let file =
        |path: &str| json!({"path": path, "size": 1, "sha256": sum(b"x"), "mode": 0o644, "modified": 0});
    let long = "home/".to_owned() + &"d/".repeat(100) + "x";
    for (fake, code, part) in [
        (Fake::new().member("home/../../etc/x", FILE, b"x"), Code::BackupHostile, "outside"),
        (Fake::new().member("/etc/x", FILE, b"x"), Code::BackupHostile, "outside"),
        (Fake::new().member("home//etc/x", FILE, b"x"), Code::BackupHostile, "outside"),
        (Fake::new().member("elsewhere/x", FILE, b"x"), Code::BackupHostile, "outside"),
        (Fake::new().member("home/l", EntryType::Symlink, b""), Code::BackupHostile, "no regular file"),
        (Fake::new().member("home/l", EntryType::Link, b""), Code::BackupHostile, "no regular file"),
        (Fake::new().member("home/d", EntryType::Block, b""), Code::BackupHostile, "no regular file"),
        (
            Fake::new().member("home/d", EntryType::XHeader, b"9 path=/x"),
            Code::BackupHostile,
            "no regular file",
        ),
        (Fake::new().member("home/config", FILE, b"ok"), Code::BackupHostile, "twice"),
        (
            Fake::new().member(&long, EntryType::GNULongName, &vec![b'a'; 1 << 20]),
            Code::BackupHostile,
            "too long",
        ),
        (Fake::new().member("home/new", FILE, b"x"), Code::BackupDamaged, "not in its list"),
        (Fake::new().member(TAIL, FILE, b"{}"), Code::BackupDamaged, "its list"),
        (Fake::new().listed("files", file("gone")), Code::BackupDamaged, "not in it"),
        (Fake::new().listed("links", link("l", "/etc/passwd")), Code::BackupHostile, "leads out"),
        (Fake::new().listed("links", link("a/l", "../../x")), Code::BackupHostile, "leads out"),
        (Fake::new().listed("links", link("../l", "x")), Code::BackupHostile, "outside"),
        (Fake::new().listed("links", link("config", "x")), Code::BackupHostile, "twice"),
        (Fake::new().listed("links", link("config/x", "x")), Code::BackupHostile, "no directory"),
        (
            Fake::new().listed("directories", json!({"path": "../d", "mode": 0o755})),
            Code::BackupHostile,
            "outside",
        ),
        (
            Fake::new().listed("interpreters", link("bin/e/bin/python", "/tmp/evil")),
            Code::BackupHostile,
            "no Python",
        ),
        (
            Fake::new().listed("interpreters", link("auth.json", "/usr/bin/python3")),
            Code::BackupHostile,
            "no Python",
        ),
        (
            Fake::new().listed("interpreters", link("bin/e/bin/python", "/x/../python3")),
            Code::BackupHostile,
            "no Python",
        ),
    ] {
        let error = checked(&fake.bytes(), 1 << 20).unwrap_err();
        assert_eq!(error.coded(), code, "{error}");
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

#[test]
fn damage_is_noticed_wherever_it_is() {
    let whole = Fake::new().bytes();
    for end in 0..whole.len() {
        let error = checked(&whole[..end], 1 << 20).unwrap_err();
        assert!(matches!(error.coded(), Code::NotABackup | Code::BackupDamaged), "{end}: {error}");
    }
    let more = [&whole[..], b"more"].concat();
    assert_eq!(checked(&more, 1 << 20).unwrap_err().coded(), Code::BackupHostile);
    let mut changed = Fake::new();
    changed.members[1].2 = b"no".to_vec();
    assert!(checked(&changed.bytes(), 1 << 20).unwrap_err().to_string().contains("not what it was"));
    assert_eq!(checked(b"hello", 1 << 20).unwrap_err().coded(), Code::NotABackup);
    let mut newer = Fake::new();
    newer.members[0].2 = json!({"format": 2, "version": "9.0"}).to_string().into_bytes();
    let error = checked(&newer.bytes(), 1 << 20).unwrap_err();
    assert!(error.coded() == Code::BackupNewer && error.to_string().contains("volttron 9.0"), "{error}");
}

/// A few kilobytes that become more than the disk has: refused when they do, not at the end.
#[test]
fn what_does_not_fit_is_not_unpacked() {
    let bomb = Fake::new().member("home/zeros", FILE, &vec![0; 8 << 20]);
    let bytes = bomb.bytes();
    assert!(bytes.len() < 100 << 10);
    let error = checked(&bytes, 1 << 20).unwrap_err();
    assert_eq!(error.coded(), Code::NoSpace, "{error}");
}
