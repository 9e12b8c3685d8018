//! The end of a log file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// The whole lines at the end of a file: not before the byte `from`, and at most `most` bytes. A part of a line could be a
/// part of a secret, and says nothing.
pub(crate) fn tail(file: &mut File, from: u64, most: u64) -> io::Result<String> {
    let size = file.metadata()?.len();
    let begin = from.max(size.saturating_sub(most));
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(if begin == from {
        text
    } else {
        text.split_once('\n').map_or_else(String::new, |(_, rest)| rest.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        let mut file = File::open(&path).unwrap();
        for (from, most, expected) in [
            (0, 100, "one\ntwo\nthree\n"),
            (0, 8, "three\n"),
            (4, 100, "two\nthree\n"),
            (4, 9, "three\n"),
            (0, 3, ""),
        ] {
            assert_eq!(tail(&mut file, from, most).unwrap(), expected, "{from} {most}");
        }
    }
}
