//! Configuration files turned into command-line arguments (cli.md section 1).

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use clap::Parser;
use volttron_utils::config::{Entry, OptionError, OptionFile, flag_value};
use volttron_utils::home::expand;

use super::OptionsError;
use super::args::{Args, Kind, command, kind_of, nearest};

/// Sections the server reads, besides the lines before any section.
pub(super) const SECTION: &str = "volttron";

/// Settings of all files read so far, as arguments.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// Arguments, in order.
    pub(super) args: Vec<String>,
    /// Unknown keys and the like.
    pub(super) warnings: Vec<String>,
    seen: HashSet<(u64, u64)>,
}

/// A key of a configuration file that is not an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// As written.
    pub key: String,
    /// The line, from 1.
    pub line: usize,
    /// The option that looks most like it, if any is near.
    pub nearest: Option<String>,
}

/// The keys of one file that are not options. A file that cannot be read has none.
pub fn unknown_keys(path: &Path) -> Vec<UnknownKey> {
    let Ok(file) = OptionFile::load(path) else { return Vec::new() };
    let command = command();
    let unknown = |entry: &&Entry| entry.key != "config" && kind_of(&command, &entry.key).is_none();
    let told = |entry: &Entry| UnknownKey {
        key: entry.key.clone(),
        line: entry.line,
        nearest: nearest(&command, &entry.key),
    };
    ours(&file).filter(unknown).map(told).collect()
}

/// Settings of the server.
fn ours(file: &OptionFile) -> impl Iterator<Item = &Entry> {
    file.entries().iter().filter(|e| e.section.as_deref().is_none_or(|s| s == SECTION))
}

impl Settings {
    /// Reads a file that need not exist.
    pub(super) fn read_if_exists(&mut self, path: &Path) -> Result<(), OptionsError> {
        match self.read(path) {
            Err(OptionsError::File(OptionError::Io { source, .. }))
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(())
            }
            other => other,
        }
    }

    /// Reads a file and what it includes. A file that was read already is skipped.
    pub(super) fn read(&mut self, path: &Path) -> Result<(), OptionsError> {
        let file = OptionFile::load(path)?;
        if let Ok(meta) = std::fs::metadata(path)
            && !self.seen.insert((meta.dev(), meta.ino()))
        {
            return Ok(());
        }
        self.take(path, &file)
    }

    /// As [`Self::read`], for a file that is to have this text.
    pub(super) fn read_text(&mut self, path: &Path, text: &str) -> Result<(), OptionsError> {
        let file = OptionFile::parse(text).map_err(|(line, why)| OptionError::Line {
            path: path.to_owned(),
            line,
            why,
        })?;
        self.take(path, &file)
    }

    fn take(&mut self, path: &Path, file: &OptionFile) -> Result<(), OptionsError> {
        let command = command();
        for entry in ours(file) {
            if entry.key == "config" {
                let included = expand(&entry.value());
                self.read(&path.parent().unwrap_or(Path::new(".")).join(included))?;
            } else {
                self.entry(&command, path, entry)?;
            }
        }
        Ok(())
    }

    pub(super) fn entry(
        &mut self,
        command: &clap::Command,
        path: &Path,
        entry: &Entry,
    ) -> Result<(), OptionsError> {
        let bad = |why: String| OptionsError::FileValue {
            path: path.to_owned(),
            line: entry.line,
            why: one_line(&why),
        };
        let key = &entry.key;
        match kind_of(command, key) {
            None => {
                let hint =
                    nearest(command, key).map_or_else(String::new, |n| format!(" (did you mean {n}?)"));
                self.warnings.push(format!(
                    "{} (line {}): unknown option: {key}{hint}",
                    path.display(),
                    entry.line
                ));
                return Ok(());
            }
            Some(Kind::Flag { invertible }) => {
                let on = entry.bare || flag_value(&entry.value()).map_err(|e| bad(format!("{key}: {e}")))?;
                match (on, invertible) {
                    (true, _) => self.args.push(format!("--{key}")),
                    (false, true) => self.args.push(format!("--no-{key}")),
                    (false, false) => return Err(bad(format!("option cannot be inverted: --{key}"))),
                }
            }
            Some(Kind::Count) => {
                if entry.bare || flag_value(&entry.value()).map_err(|e| bad(format!("{key}: {e}")))? {
                    self.args.push(format!("--{key}"));
                }
            }
            Some(Kind::Value) if entry.bare => return Err(bad(format!("{key} needs a value"))),
            Some(Kind::Value) => {
                let arg = format!("--{key}={}", entry.value());
                // On its own first, so that the complaint can name the file and the line.
                Args::try_parse_from(["volttron", &arg]).map_err(|e| bad(e.render().to_string()))?;
                self.args.push(arg);
            }
        }
        Ok(())
    }
}

/// The first line of a message, without clap's prefix.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: &str) -> Result<Settings, OptionsError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        fs::write(&path, text).unwrap();
        let mut settings = Settings::default();
        settings.read(&path)?;
        Ok(settings)
    }

    #[test]
    fn settings_become_arguments() {
        let text = "verbose\nvip-address tcp://a:1\n[volttron]\nautostart = off\nsetup-mode = yes\n\
                    instance-name = \"my place\"\nallow-auth = False\n[other]\nwhatever 1\n";
        let settings = read(text).unwrap();
        assert_eq!(
            settings.args,
            [
                "--verbose",
                "--vip-address=tcp://a:1",
                "--no-autostart",
                "--setup-mode",
                "--instance-name=my place",
                "--allow-auth=False"
            ]
        );
        assert!(settings.warnings.is_empty());
    }

    #[test]
    fn unknown_keys_warn_with_line_and_guess() {
        let settings = read("[volttron]\nvip-adress = tcp://a:1\nzzz = 1\n").unwrap();
        assert!(settings.args.is_empty());
        assert!(
            settings.warnings[0]
                .ends_with("(line 2): unknown option: vip-adress (did you mean vip-address?)")
        );
        assert!(settings.warnings[1].ends_with("(line 3): unknown option: zzz"));
    }

    #[test]
    fn bad_values_name_file_and_line() {
        for (text, part) in [
            ("\nautostart = maybe", "(line 2): autostart: \"maybe\" is neither on nor off"),
            ("msgdebug = no", "option cannot be inverted: --msgdebug"),
            ("vip-address", "vip-address needs a value"),
            ("agent-monitor-frequency = often", "(line 1): invalid value 'often'"),
            ("[volttron", "(line 1): the section name has no closing ]"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.to_string().contains(part) && error.exit_code() == 1, "{text}: {error}");
        }
    }

    #[test]
    fn files_include_each_other_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "config = b\nverbose\n").unwrap();
        fs::write(&b, "config = a\nquiet\n").unwrap();
        let mut settings = Settings::default();
        settings.read(&a).unwrap();
        assert_eq!(settings.args, ["--quiet", "--verbose"]);
        assert!(settings.read_if_exists(&dir.path().join("none")).is_ok());
        assert!(settings.read(&dir.path().join("none")).is_err());
    }
}
