//! Programs that say to be whatever version a test wants, and do what it wants: copies of one program, each with a line
//! behind its end.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::programs::program;

/// Begins the line.
const MARK: &str = "\npump ";

/// What the program does when it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// It works.
    Works,
    /// It works, but its health is BAD.
    StaysBad,
    /// It ends with this code.
    Ends(u8),
    /// It lives, but never gets as far as the bus.
    Hangs,
    /// As that, and does not listen when it is asked to stop.
    Deaf,
    /// It works, beside a process that it has started and that does not listen.
    Forks,
}

/// A version of the program.
#[derive(Clone, Debug)]
pub struct Pump {
    /// The version it says to be.
    pub version: String,
    /// What it does.
    pub does: Does,
}

impl Pump {
    /// Writes the program of a version into a directory.
    pub fn write(dir: &Path, version: &str, does: Does) -> PathBuf {
        let path = dir.join("pump");
        let word = match does {
            Does::Works => "works".to_owned(),
            Does::StaysBad => "bad".to_owned(),
            Does::Ends(code) => code.to_string(),
            Does::Hangs => "hangs".to_owned(),
            Does::Deaf => "deaf".to_owned(),
            Does::Forks => "forks".to_owned(),
        };
        let mut bytes = fs::read(program("volttron-test-pump")).expect("read the program");
        bytes.extend_from_slice(format!("{MARK}{version} {word}\n").as_bytes());
        // Another file, because the one of the former version may be running.
        let _ = fs::remove_file(&path);
        let mut file =
            fs::OpenOptions::new().create_new(true).write(true).mode(0o755).open(&path).expect("create");
        file.write_all(&bytes).expect("write the program");
        path
    }

    /// What stands behind the end of the program that runs.
    ///
    /// # Panics
    /// In a program that [`Self::write`] did not write.
    pub fn of_this_program() -> Self {
        let own = fs::read(std::env::current_exe().expect("a program has a path")).expect("read");
        let tail = String::from_utf8_lossy(&own[own.len().saturating_sub(200)..]).into_owned();
        let (_, line) = tail.rsplit_once(MARK).expect("a copy with a line behind its end");
        let (version, word) = line.trim_end().split_once(' ').expect("version and word");
        let does = match word {
            "works" => Does::Works,
            "bad" => Does::StaysBad,
            "hangs" => Does::Hangs,
            "deaf" => Does::Deaf,
            "forks" => Does::Forks,
            code => Does::Ends(code.parse().expect("an exit code")),
        };
        Self { version: version.to_owned(), does }
    }
}
