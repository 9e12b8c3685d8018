//! The platform's option file (`$VOLTTRON_HOME/config`, cli.md section 1): one reader for the two dialects that
//! Python reads it with, and a writer that changes single settings and leaves every other byte alone.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::files;

/// Largest option file that is read.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Section it stands in; `None` before the first one.
    pub section: Option<String>,
    /// Name in lower case, without a leading `--`; `_` is not replaced.
    pub key: String,
    /// Words of the value after shell-like splitting; empty for a bare key.
    pub words: Vec<String>,
    /// Whether the key stood alone, which turns a flag on. (`key =` is an empty value, which turns it off.)
    pub bare: bool,
    /// Line number, from 1.
    pub line: usize,
    /// Column in characters where the key begins, from 1.
    pub column: usize,
    /// Column where the value begins; that of the key if there is no value.
    pub value_column: usize,
}

impl Entry {
    /// The value as one text: words joined by blanks.
    pub fn value(&self) -> String {
        self.words.join(" ")
    }
}

/// Why an option file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// The file cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line that is no setting.
    #[error("{} (line {line}): {why}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

/// A value that is neither on nor off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither on nor off (true, yes, on, 1 or false, no, off, 0)")]
pub struct BadFlag(pub String);

/// Value of a flag. Python takes every word that is not `f false n no 0` or empty for "on", even `off`; ours knows
/// `off` and refuses words that say neither.
pub fn flag_value(text: &str) -> Result<bool, BadFlag> {
    match text.trim().to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Ok(true),
        "f" | "false" | "n" | "no" | "off" | "0" | "" => Ok(false),
        _ => Err(BadFlag(text.to_owned())),
    }
}

/// An option file: its settings, and its lines for rewriting.
#[derive(Debug, Clone, Default)]
pub struct OptionFile {
    lines: Vec<String>,
    entries: Vec<Entry>,
}

impl OptionFile {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, OptionError> {
        let text = files::read_bounded(path, FILE_MAX_BYTES).map_err(|source| OptionError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|(line, why)| OptionError::Line { path: path.to_owned(), line, why })
    }

    /// Reads a file; a missing one has no settings.
    pub fn load_or_empty(path: &Path) -> Result<Self, OptionError> {
        match Self::load(path) {
            Err(OptionError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            other => other,
        }
    }

    /// Reads a text; the error is a line number and a reason.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let (file, bad) = Self::parse_all(text);
        bad.into_iter().next().map_or(Ok(file), Err)
    }

    /// Reads a text as far as it can be read: its settings, and each line that is none with the reason.
    pub fn parse_all(text: &str) -> (Self, Vec<(usize, String)>) {
        // Joining files leaves byte order marks in the middle. Wherever a line stands, it has to mean the same: removing
        // the line before it must not change it.
        let lines: Vec<String> =
            text.lines().map(|line| line.trim_start_matches('\u{feff}').to_owned()).collect();
        let (mut entries, mut bad) = (Vec::new(), Vec::new());
        let mut section: Option<String> = None;
        for (at, line) in lines.iter().enumerate() {
            let number = at + 1;
            match parse_line(line) {
                Ok(Line::Blank) => {}
                Ok(Line::Section(name)) => section = Some(name),
                Ok(Line::Setting { key, words, bare }) => {
                    let (column, value_column) = columns(line);
                    let section = section.clone();
                    entries.push(Entry { section, key, words, bare, line: number, column, value_column });
                }
                Err(why) => bad.push((number, why)),
            }
        }
        (Self { lines, entries }, bad)
    }

    /// Settings in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The last value of a key before any section or in one of `sections`.
    pub fn get(&self, sections: &[&str], key: &str) -> Option<String> {
        let wanted = |e: &&Entry| e.key == key && e.section.as_deref().is_none_or(|s| sections.contains(&s));
        self.entries.iter().rev().find(wanted).map(Entry::value)
    }

    /// Sets a key in a section: the last line that sets it is rewritten (a note behind the value is kept), else a line
    /// is added at the end of the section, which is added when missing. Returns whether anything changed. A value has no
    /// line ends in either dialect: blanks take their place, lest the file cannot be read again.
    pub fn set(&mut self, section: &str, key: &str, value: &str) -> bool {
        let value = value.replace(['\n', '\r'], " ");
        let value = value.as_str();
        let same_place = |e: &&Entry| e.key == key && e.section.as_deref().is_none_or(|s| s == section);
        if let Some(entry) = self.entries.iter().rev().find(same_place) {
            if !entry.bare && entry.value() == value {
                return false;
            }
            let line = &mut self.lines[entry.line - 1];
            *line = replace_value(line, value);
        } else {
            self.insert(section, &format!("{key} = {}", quote(value)));
        }
        self.reparse();
        true
    }

    /// Adds a line that sets a key in a section, besides those that set it already. For keys whose values add up.
    pub fn add(&mut self, section: &str, key: &str, value: &str) {
        let value = value.replace(['\n', '\r'], " ");
        self.insert(section, &format!("{key} = {}", quote(&value)));
        self.reparse();
    }

    /// As [`Self::set`], but the value stands in double quotes, which Python's other reader takes for a part of it: as
    /// `vcfg` has always written names. Returns whether the file changed.
    pub fn set_quoted(&mut self, section: &str, key: &str, value: &str) -> bool {
        let before = self.lines.clone();
        self.set(section, key, value);
        let same_place = |e: &&Entry| e.key == key && e.section.as_deref().is_none_or(|s| s == section);
        if let Some(entry) = self.entries.iter().rev().find(same_place)
            && !value.contains(['\n', '\r'])
        {
            let line = &mut self.lines[entry.line - 1];
            *line = with_value(line, &in_quotes(value));
            self.reparse();
        }
        self.lines != before
    }

    /// Removes every line that sets a key in a section. Returns whether there was one.
    pub fn remove(&mut self, section: &str, key: &str) -> bool {
        let doomed: Vec<usize> = self
            .entries
            .iter()
            .filter(|e| e.key == key && e.section.as_deref().is_none_or(|s| s == section))
            .map(|e| e.line - 1)
            .collect();
        for at in doomed.iter().rev() {
            self.lines.remove(*at);
        }
        self.reparse();
        !doomed.is_empty()
    }

    fn insert(&mut self, section: &str, line: &str) {
        let mut inside = false;
        let mut end = None;
        for (at, text) in self.lines.iter().enumerate() {
            match parse_line(text) {
                Ok(Line::Section(name)) => {
                    inside = name == section;
                    if inside {
                        end = Some(at + 1);
                    }
                }
                Ok(Line::Setting { .. }) if inside => end = Some(at + 1),
                _ => {}
            }
        }
        if let Some(end) = end {
            self.lines.insert(end, line.to_owned());
        } else {
            if self.lines.last().is_some_and(|l| !l.trim().is_empty()) {
                self.lines.push(String::new());
            }
            self.lines.push(format!("[{}]", section.replace('\\', "\\\\").replace(']', "\\]")));
            self.lines.push(line.to_owned());
        }
    }

    /// Line numbers shifted; the edits made by this type always parse.
    fn reparse(&mut self) {
        if let Ok(fresh) = Self::parse(&self.render()) {
            *self = fresh;
        }
    }

    /// The text of the file.
    pub fn render(&self) -> String {
        let mut text = self.lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }

    /// Writes the file durably; an existing file keeps its mode, a new one gets 0644.
    pub fn save(&self, path: &Path) -> Result<(), OptionError> {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).map_or(0o644, |m| m.permissions().mode() & 0o777);
        files::write_atomic(path, self.render().as_bytes(), mode).map_err(|source| OptionError::Io {
            action: "write",
            path: path.to_owned(),
            source,
        })
    }
}

enum Line {
    Blank,
    Section(String),
    Setting { key: String, words: Vec<String>, bare: bool },
}

fn parse_line(line: &str) -> Result<Line, String> {
    let text = line.trim();
    if text.is_empty() || text.starts_with(['#', ';']) {
        return Ok(Line::Blank);
    }
    if let Some(rest) = text.strip_prefix('[') {
        return section(rest).map(Line::Section);
    }
    let start = key_end(text);
    let key = text[..start].trim_start_matches("--").to_ascii_lowercase();
    if key.is_empty() {
        return Err("a setting must begin with its name".to_owned());
    }
    let rest = text[start..].trim_start();
    let (rest, bare) = match rest.strip_prefix(['=', ':']) {
        Some(value) => (value, false),
        None => (rest, rest.is_empty() || rest.starts_with('#')),
    };
    let words = split_words(rest)?;
    Ok(Line::Setting { key, words, bare })
}

/// Where the key ends: at a blank, `=` or `:`.
fn key_end(text: &str) -> usize {
    text.find(|c: char| c.is_whitespace() || matches!(c, '=' | ':')).unwrap_or(text.len())
}

/// The inside of `[..]`, where `\` takes the next character literally; only a comment may follow.
fn section(rest: &str) -> Result<String, String> {
    let mut name = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, escaped)) => name.push(escaped),
                None => break,
            },
            ']' => {
                let tail = rest[at + 1..].trim_start();
                if tail.is_empty() || tail.starts_with(['#', ';']) {
                    return Ok(name.trim().to_owned());
                }
                return Err(format!("unexpected text after the section name: {tail}"));
            }
            other => name.push(other),
        }
    }
    Err("the section name has no closing ]".to_owned())
}

/// Splits like a POSIX shell: quotes, backslashes, and `#` at the beginning of a word starts a comment.
fn split_words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '#' if word.is_none() => break,
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                quoted(&mut chars, word, '\'')?;
            }
            '"' => {
                let word = word.get_or_insert_default();
                quoted(&mut chars, word, '"')?;
            }
            '\\' => {
                let next = chars.next().ok_or("nothing follows the last backslash")?;
                word.get_or_insert_default().push(next);
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(chars: &mut std::str::Chars<'_>, word: &mut String, quote: char) -> Result<(), String> {
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next() {
                Some(escaped @ ('"' | '\\')) => word.push(escaped),
                Some(other) => word.extend(['\\', other]),
                None => break,
            },
            other => word.push(other),
        }
    }
    Err(format!("the quote {quote} is not closed"))
}

/// A value as it can stand in the file for both dialects: plain where possible, else in double quotes.
fn quote(value: &str) -> String {
    let plain = !value.is_empty()
        && !value.contains(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '\\' | '#'));
    if plain { value.to_owned() } else { in_quotes(value) }
}

fn in_quotes(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Columns of key and value in a line that is a setting.
fn columns(line: &str) -> (usize, usize) {
    let chars = |bytes: usize| line[..bytes].chars().count() + 1;
    let start = line.len() - line.trim_start().len();
    let stop = start + key_end(&line[start..]);
    let value = line[stop..].trim_start();
    let value = value.strip_prefix(['=', ':']).unwrap_or(value).trim_start();
    let empty = value.is_empty() || value.starts_with('#');
    (chars(start), if empty { chars(start) } else { chars(line.len() - value.len()) })
}

/// Replaces the value in a line and keeps indentation, key, separator and a note.
fn replace_value(line: &str, value: &str) -> String {
    with_value(line, &quote(value))
}

/// The same with the value as it is to stand there.
fn with_value(line: &str, value: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    let key_stop = indent + key_end(&line[indent..]);
    let after_key = &line[key_stop..];
    let blanks = after_key.len() - after_key.trim_start().len();
    let separator = match after_key.trim_start().chars().next() {
        Some('=' | ':') => {
            let used = blanks + 1;
            let more = after_key[used..].len() - after_key[used..].trim_start().len();
            &after_key[..used + more]
        }
        _ => " = ",
    };
    let note = comment_start(after_key).map_or("", |at| &after_key[at..]);
    let note = if note.is_empty() { String::new() } else { format!(" {note}") };
    format!("{}{separator}{value}{note}", &line[..key_stop])
}

/// Byte position of a note behind a value: a `#` that begins a word outside quotes.
fn comment_start(text: &str) -> Option<usize> {
    let (mut quote, mut escaped, mut fresh) = (None, false, true);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (Some(q), c) if q == c => quote = None,
            (None, '#') if fresh => return Some(at),
            (None, '\'' | '"') => quote = Some(c),
            _ => {}
        }
        fresh = quote.is_none() && (c.is_whitespace() || matches!(c, '=' | ':'));
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(text: &str) -> Vec<(String, Vec<String>)> {
        OptionFile::parse(text).unwrap().entries.into_iter().map(|e| (e.key, e.words)).collect()
    }

    #[test]
    fn byte_order_marks_are_no_setting() {
        let file = OptionFile::parse("\u{feff}\u{feff}verbose\n").unwrap();
        assert_eq!(file.entries().len(), 1);
        // A line means the same wherever it stands.
        assert_eq!(settings("a = 1\n\u{feff}b = 2\n")[1].0, "b");
        assert_eq!(OptionFile::parse("a = 1\n\u{feff}[broken = 2\n").unwrap_err().0, 2);
        assert_eq!(OptionFile::parse(&file.render()).unwrap().entries(), file.entries());
    }

    #[test]
    fn a_value_with_line_ends_does_not_spoil_the_file() {
        let mut file = OptionFile::parse("[volttron]\ninstance-name = a\nverbose\n").unwrap();
        assert!(file.set("volttron", "instance-name", "one\ntwo = 3\r"));
        let read = OptionFile::parse(&file.render()).unwrap();
        assert_eq!(read.get(&["volttron"], "instance-name").as_deref(), Some("one two = 3 "));
        assert_eq!(read.entries().len(), 2);
    }

    #[test]
    fn keys_may_be_set_several_times() {
        let mut file = OptionFile::parse("[volttron]\na = 1\n[other]\nb = 2\n").unwrap();
        file.add("volttron", "a", "x\ny");
        assert_eq!(file.render(), "[volttron]\na = 1\na = \"x y\"\n[other]\nb = 2\n");
        assert_eq!(file.entries().iter().filter(|e| e.key == "a").count(), 2);
    }

    #[test]
    fn one_setting_in_its_spellings() {
        for line in [
            "vip-address tcp://127.0.0.1:22916",
            "vip-address=tcp://127.0.0.1:22916",
            "vip-address: tcp://127.0.0.1:22916",
            "  --vip-address = tcp://127.0.0.1:22916  # note",
            "VIP-Address = \"tcp://127.0.0.1:22916\"",
            "vip-address = 'tcp://127.0.0.1:22916'",
            "vip-address =tcp://127.0.0.1\\:22916",
        ] {
            assert_eq!(
                settings(line),
                [("vip-address".to_owned(), vec!["tcp://127.0.0.1:22916".to_owned()])],
                "{line}"
            );
        }
    }

    #[test]
    fn values_and_comments() {
        for (line, words) in [
            ("k a b", vec!["a", "b"]),
            ("k \"a b\" c", vec!["a b", "c"]),
            ("k = a#b", vec!["a#b"]),
            ("k = a # b", vec!["a"]),
            ("k = \"a # b\"", vec!["a # b"]),
            ("k = \"a \\\" \\n\"", vec!["a \" \\n"]),
            ("k = 'it''s'", vec!["its"]),
            ("k = ''", vec![""]),
            ("k =", vec![]),
            ("k", vec![]),
            ("k = a=b:c", vec!["a=b:c"]),
        ] {
            let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
            assert_eq!(settings(line), [("k".to_owned(), words)], "{line}");
        }
        assert!(settings("# a\n; b\n\n   \n").is_empty());
        let file = OptionFile::parse("flag\nother =\nthird # note\n").unwrap();
        assert_eq!(file.entries.iter().map(|e| e.bare).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn sections_and_lines() {
        let text = "a 1\n[volttron] # main\nb 2\n\n[odd \\] name]\nc 3\n";
        let file = OptionFile::parse(text).unwrap();
        let found: Vec<_> =
            file.entries.iter().map(|e| (e.section.as_deref(), e.key.as_str(), e.line)).collect();
        assert_eq!(found, [(None, "a", 1), (Some("volttron"), "b", 3), (Some("odd ] name"), "c", 6)]);
        assert_eq!(file.get(&["volttron"], "b").as_deref(), Some("2"));
        assert_eq!(file.get(&["volttron"], "a").as_deref(), Some("1"));
        assert_eq!(file.get(&["volttron"], "c"), None);
    }

    #[test]
    fn bad_lines_are_named() {
        for (text, line, part) in [
            ("a 1\n[volttron", 2, "closing ]"),
            ("[volttron] x", 1, "after the section name"),
            ("\n\nk = 'open", 3, "not closed"),
            ("= x", 1, "begin with its name"),
            ("k = x\\", 1, "backslash"),
        ] {
            let (at, why) = OptionFile::parse(text).unwrap_err();
            assert!(at == line && why.contains(part), "{text}: {at} {why}");
        }
    }

    #[test]
    fn places_are_columns_of_characters() {
        let file = OptionFile::parse("a = 1\n  b\té\nflag\nempty = # note\n  --ü: x\n").unwrap();
        let found: Vec<_> = file.entries.iter().map(|e| (e.column, e.value_column)).collect();
        assert_eq!(found, [(1, 5), (3, 5), (1, 1), (1, 1), (3, 8)]);
    }

    #[test]
    fn every_bad_line_is_told_and_the_rest_is_read() {
        let (file, bad) = OptionFile::parse_all("[volttron\na = 1\n= x\nb = 'c\n");
        assert_eq!(bad.iter().map(|b| b.0).collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!(file.get(&[], "a").as_deref(), Some("1"));
    }

    #[test]
    fn names_are_written_in_quotes() {
        let mut file = OptionFile::parse("[volttron]\ninstance-name = old # note\n").unwrap();
        assert!(file.set_quoted("volttron", "instance-name", "site 1"));
        assert!(!file.set_quoted("volttron", "instance-name", "site 1"));
        assert!(file.set_quoted("volttron", "other", "x"));
        assert_eq!(file.render(), "[volttron]\ninstance-name = \"site 1\" # note\nother = \"x\"\n");
        assert_eq!(file.get(&["volttron"], "other").as_deref(), Some("x"));
    }

    #[test]
    fn flags() {
        for (text, expected) in
            [("true", true), ("On", true), ("1", true), ("F", false), ("off", false), ("", false)]
        {
            assert_eq!(flag_value(text), Ok(expected), "{text}");
        }
        assert!(flag_value("maybe").unwrap_err().to_string().contains("\"maybe\""));
    }

    #[test]
    fn writing_keeps_everything_else() {
        let text = "# head\n[volttron]\n  instance-name : \"old name\"   # keep me\nmessage-bus=zmq\n\n[other]\nx 1\n";
        let mut file = OptionFile::parse(text).unwrap();
        assert!(file.set("volttron", "instance-name", "new"));
        assert!(!file.set("volttron", "message-bus", "zmq"), "nothing to do");
        assert!(file.set("volttron", "vip-address", "tcp://a:1"));
        assert!(file.set("fresh", "note", "a b # c"));
        let expected = "# head\n[volttron]\n  instance-name : new # keep me\nmessage-bus=zmq\nvip-address = tcp://a:1\n\n\
                        [other]\nx 1\n\n[fresh]\nnote = \"a b # c\"\n";
        assert_eq!(file.render(), expected);
        assert_eq!(file.get(&["fresh"], "note").as_deref(), Some("a b # c"));
        assert!(file.remove("other", "x") && !file.remove("other", "x"));

        let mut empty = OptionFile::default();
        empty.set("volttron", "a", "b");
        assert_eq!(empty.render(), "[volttron]\na = b\n");
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[-a=: \\[\\]'\"#\\\\\n;é]{0,80}") {
            let _ = OptionFile::parse(&text);
        }

        #[test]
        fn what_is_set_is_read_back(line in "(key ?[=: ] ?('a b'|x|\"y\")?( # n)?)?", value in "[ -~é]{0,20}") {
            let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
            let mut file = OptionFile::parse(&line).unwrap();
            file.set("volttron", "key", &value);
            prop_assert_eq!(file.get(&["volttron"], "key"), Some(value), "{}", file.render());
        }
    }
}
