//! Settings of `vctl` from configuration files (cli.md section 1). Must never take what is meant for the server.

use std::path::{Path, PathBuf};

use volttron_utils::address::Address;
use volttron_utils::config::{Entry, OptionError, OptionFile};
use volttron_utils::home::{Home, expand};

use super::args::Global;
use super::numbers::seconds_of;
use crate::ops::OpError;

/// Sections that are read besides the lines before any section.
const SECTIONS: [&str; 2] = ["global", "volttron-ctl"];

/// What the files say.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Settings {
    /// How long to wait for the platform, in seconds.
    pub(super) timeout: Option<f64>,
    /// The address of the platform.
    pub(super) address: Option<String>,
}

/// Reads the home's file and those of `--config`; what stands last counts. Without `needed`, the home's file may be
/// wrong: the command is there to tell.
pub(super) fn read(home: &Home, global: &Global, needed: bool) -> Result<Settings, OpError> {
    let mut settings = Settings::default();
    if std::env::var_os("SKIP_VOLTTRON_CONFIG").is_none() {
        let path = home.config_file();
        let outcome = OptionFile::load_or_empty(&path).and_then(|file| settings.take(&path, &file));
        outcome.or_else(|error| if needed { Err(wrong(&error)) } else { Ok(()) })?;
    }
    for path in &global.config {
        let path = PathBuf::from(expand(&path.to_string_lossy()));
        OptionFile::load(&path).and_then(|file| settings.take(&path, &file)).map_err(|e| wrong(&e))?;
    }
    Ok(settings)
}

fn wrong(error: &OptionError) -> OpError {
    OpError::Usage(error.to_string())
}

impl Settings {
    fn take(&mut self, path: &Path, file: &OptionFile) -> Result<(), OptionError> {
        for entry in file.entries() {
            let ours = entry.section.as_deref().is_some_and(|section| SECTIONS.contains(&section));
            let bad = |why: String| OptionError::Line {
                path: path.to_owned(),
                line: entry.line,
                why: format!("{}: {why}", entry.key),
            };
            match &*entry.key {
                "timeout" if ours || entry.section.is_none() => {
                    self.timeout = Some(seconds_of(&entry.value()).map_err(bad)?);
                }
                // Before any section it is where the server listens.
                "vip-address" if ours => self.address = Some(address(entry).map_err(bad)?),
                _ => {}
            }
        }
        Ok(())
    }
}

fn address(entry: &Entry) -> Result<String, String> {
    let text = entry.value();
    expand(&text).parse::<Address>().map(|_| text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        let file = OptionFile::parse(text).unwrap();
        settings.take(Path::new("/h/config"), &file).map(|()| settings).map_err(|e| e.to_string())
    }

    #[test]
    fn lines_before_any_section_count_unless_they_are_the_servers() {
        let found =
            read("timeout = 3\nvip-address = tcp://0.0.0.0:22916\n[volttron]\ntimeout = x\n").unwrap();
        assert_eq!(found, Settings { timeout: Some(3.0), address: None });
        let found =
            read("timeout 3\n[global]\ntimeout 4\n[volttron-ctl]\nvip-address tcp://127.0.0.1:1\n").unwrap();
        let address = Some("tcp://127.0.0.1:1".to_owned());
        assert_eq!(found, Settings { timeout: Some(4.0), address });
    }

    #[test]
    fn bad_values_name_file_and_line() {
        for (text, part) in [
            ("\ntimeout = abc\n", "/h/config (line 2): timeout: a number of seconds is needed"),
            ("[global]\ntimeout\n", "/h/config (line 2): timeout: a number of seconds"),
            ("[global]\nvip-address = nonsense://x\n", "/h/config (line 2): vip-address: "),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
