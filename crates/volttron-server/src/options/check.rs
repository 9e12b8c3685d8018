//! Everything that is wrong with the options, at once: the command line, the configuration files and the environment.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::iter;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use volttron_utils::config::{Entry, OptionFile};
use volttron_utils::files;
use volttron_utils::home::{Home, expand};

use super::args::{command, kind_of, nearest as nearest_option};
use super::file::{SECTION, Settings};
use super::{Options, OptionsError, parse};
use crate::nearest::nearest;

/// Largest configuration file that is looked at.
const FILE_MAX_BYTES: u64 = 1 << 20;
/// Sections that somebody reads.
const SECTIONS: [&str; 3] = [SECTION, "global", "volttron-ctl"];
/// Variables of the environment that are ours.
const VARIABLES: [&str; 4] = ["VOLTTRON_HOME", "VOLTTRON_VIP_ADDR", "VOLTTRON_ROOT", "SKIP_VOLTTRON_CONFIG"];

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// It keeps the platform from starting, or makes it start otherwise than was meant.
    pub(crate) serious: bool,
    /// The file.
    pub(crate) file: Option<PathBuf>,
    /// Line, from 1.
    pub(crate) line: Option<usize>,
    /// Column in characters, from 1.
    pub(crate) column: Option<usize>,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do.
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { serious: true, file: None, line: None, column: None, what: what.into(), hint: None }
    }

    pub(crate) fn warning(self) -> Self {
        Self { serious: false, ..self }
    }

    pub(crate) fn at(self, file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..self }
    }

    pub(crate) fn place(self, line: usize, column: usize) -> Self {
        let some = |n: usize| (n > 0).then_some(n);
        Self { line: some(line), column: some(column), ..self }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// What was looked at and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// What is wrong.
    pub(crate) faults: Vec<Fault>,
    /// The files that were read.
    pub(crate) files: Vec<PathBuf>,
    /// The home, if there can be one.
    pub(crate) home: Option<Home>,
    /// The options, if they make sense.
    pub(crate) options: Option<Options>,
}

/// Looks at everything that the options of this command line are made of. Writes nothing.
pub(crate) fn check(line: &[OsString]) -> Checked {
    let mut checked = Checked::default();
    let typed = match parse(line) {
        Ok(typed) => typed,
        Err(error) => {
            checked.faults.push(Fault::new(error.to_string()));
            return checked;
        }
    };
    let home = match &typed.vhome {
        Some(path) => Home::new(expand(&path.to_string_lossy())),
        None => Home::from_env(),
    };
    let home = match home.and_then(|home| home.check_socket_length().map(|()| home)) {
        Ok(home) => home,
        Err(error) => {
            checked.faults.push(Fault::new(error.to_string()));
            return checked;
        }
    };
    checked.home = Some(home.clone());
    let mut walk = Walk { home, checked, entries: Vec::new(), seen: HashSet::new(), general: None };
    walk.environment();
    if std::env::var_os("SKIP_VOLTTRON_CONFIG").is_none() {
        walk.file(&walk.home.config_file(), false);
    }
    for path in &typed.config {
        let path = PathBuf::from(walk.home.expand(&path.to_string_lossy()));
        walk.file(&path, true);
    }
    walk.together(Options::resolve(line.iter().cloned()));
    walk.checked
}

/// Looks at what a start without arguments would make of this home if its configuration file had this text.
pub(crate) fn check_text(home: &Home, text: &str) -> Checked {
    let path = home.config_file();
    let checked = Checked { home: Some(home.clone()), ..Checked::default() };
    let mut walk =
        Walk { home: home.clone(), checked, entries: Vec::new(), seen: HashSet::new(), general: None };
    walk.environment();
    walk.text(&path, text);
    let mut settings = Settings::default();
    let options = settings.read_text(&path, text).and_then(|()| {
        let line: Vec<OsString> =
            iter::once("volttron".into()).chain(settings.args.iter().map(OsString::from)).collect();
        Options::from_args(parse(&line)?, home.clone(), Vec::new())
    });
    walk.together(options);
    walk.checked
}

struct Walk {
    home: Home,
    checked: Checked,
    /// Settings that were read, with their files.
    entries: Vec<(PathBuf, Entry)>,
    seen: HashSet<(u64, u64)>,
    /// What is wrong before any setting.
    general: Option<String>,
}

impl Walk {
    fn fault(&mut self, fault: Fault) {
        self.checked.faults.push(fault);
    }

    fn environment(&mut self) {
        for (name, _) in std::env::vars_os() {
            let Some(name) = name.to_str() else { continue };
            if name.starts_with("VOL")
                && !VARIABLES.contains(&name)
                && let Some(meant) = nearest(VARIABLES, name)
            {
                let fault = Fault::new(format!("environment: {name} is not looked at"));
                self.fault(fault.warning().hint(format!("did you mean {meant}?")));
            }
        }
        if let Ok(value) = std::env::var("AUTH_ENABLED")
            && value != "True"
            && value != "False"
        {
            let what = format!(
                "environment: AUTH_ENABLED={value} counts as True; only the exact text False turns it off"
            );
            self.fault(Fault::new(what).warning());
        }
        if let Err(error) = self.alone(&[]) {
            self.general = Some(error.to_string());
            self.fault(Fault::new(format!("environment: {error}")));
        }
    }

    /// What these arguments alone would make of the options.
    fn alone(&self, args: &[String]) -> Result<Options, OptionsError> {
        // Whether an address may be open is a matter of all settings together.
        let mut line: Vec<OsString> = vec!["volttron".into(), "--insecure".into()];
        line.extend(args.iter().map(OsString::from));
        Options::from_args(parse(&line)?, self.home.clone(), Vec::new())
    }

    fn file(&mut self, path: &Path, must_exist: bool) {
        let text = match files::read_bounded(path, FILE_MAX_BYTES) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound && !must_exist => return,
            Err(e) => return self.fault(Fault::new(format!("cannot be read: {e}")).at(path)),
        };
        if let Ok(meta) = std::fs::metadata(path)
            && !self.seen.insert((meta.dev(), meta.ino()))
        {
            return;
        }
        self.checked.files.push(path.to_owned());
        self.text(path, &text);
    }

    fn text(&mut self, path: &Path, text: &str) {
        let (file, bad) = OptionFile::parse_all(text);
        for (line, why) in bad {
            self.fault(Fault::new(why).at(path).place(line, 1));
        }
        let mut told = HashSet::new();
        for entry in file.entries() {
            match entry.section.as_deref() {
                None | Some(SECTION) => self.entry(path, entry),
                Some(other) if !SECTIONS.contains(&other) && told.insert(other.to_owned()) => {
                    let fault = Fault::new(format!("the section [{other}] is not read"));
                    let fault = fault.warning().at(path).place(entry.line, entry.column);
                    self.fault(match nearest(SECTIONS, other) {
                        Some(meant) => {
                            Fault { serious: true, ..fault.hint(format!("did you mean [{meant}]?")) }
                        }
                        None => fault,
                    });
                }
                Some(_) => {}
            }
        }
    }

    fn entry(&mut self, path: &Path, entry: &Entry) {
        let command = command();
        if entry.key == "config" {
            let included = path.parent().unwrap_or(Path::new(".")).join(expand(&entry.value()));
            return self.file(&included, true);
        }
        let fault = |what: String| Fault::new(what).at(path);
        if kind_of(&command, &entry.key).is_none() {
            // A start goes on without it, so that an option that gets another name keeps nobody down.
            let fault =
                fault(format!("unknown option: {}", entry.key)).place(entry.line, entry.column).warning();
            return self.fault(match nearest_option(&command, &entry.key) {
                Some(meant) => fault.hint(format!("did you mean {meant}?")),
                None => fault.hint("`volttron --help` lists what there is; comment it out with #"),
            });
        }
        self.entries.push((path.to_owned(), entry.clone()));
        let mut alone = Settings::default();
        let outcome = match alone.entry(&command, path, entry) {
            Ok(()) => self.alone(&alone.args).map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome
            && self.general.as_ref() != Some(&error.to_string())
        {
            let what = match error {
                OptionsError::FileValue { why, .. } => why,
                other => other.to_string(),
            };
            self.fault(fault(what).place(entry.line, entry.value_column));
        }
    }

    /// What only shows when all settings are looked at.
    fn together(&mut self, options: Result<Options, OptionsError>) {
        // What a single setting is refused for would only come again.
        if self.checked.faults.iter().any(|fault| fault.serious) {
            return;
        }
        match options {
            Ok(options) => {
                let unknown = |text: &String| text.contains(": unknown option: ");
                for warning in options.warnings.iter().filter(|text| !unknown(text)) {
                    let fault = self.locate(Fault::new(warning.clone()).warning());
                    self.checked.faults.push(fault);
                }
                self.checked.options = Some(options);
            }
            Err(error) => {
                let fault = self.locate(Fault::new(error.to_string()));
                self.checked.faults.push(fault);
            }
        }
    }

    /// Finds the setting that a text begins with the name of.
    fn locate(&self, fault: Fault) -> Fault {
        let name = fault.what.split([':', ' ']).next().unwrap_or_default();
        match self.entries.iter().rev().find(|(_, entry)| entry.key == name) {
            Some((path, entry)) => fault.at(path).place(entry.line, entry.value_column),
            None => fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<(bool, Option<usize>, Option<usize>, String)> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config"), text).unwrap();
        let line = ["volttron".into(), "--vhome".into(), dir.path().into()];
        let checked = check(&line);
        let hint = |f: &Fault| f.hint.clone().map_or_else(String::new, |h| format!(" ({h})"));
        checked
            .faults
            .iter()
            .map(|f| (f.serious, f.line, f.column, format!("{}{}", f.what, hint(f))))
            .collect()
    }

    #[test]
    fn everything_is_told_at_once_with_its_place() {
        let found = faults(
            "[volttron]\ninstance-name = a\n  vip-adress = tcp://a:1\nautostart = maybe\nvip-address = http://a\n= x\n\
             agent-monitor-frequency = often\n[voltron]\nx = 1\n",
        );
        let expected = [
            (6, 1, "begin with its name"),
            (3, 3, "unknown option: vip-adress (did you mean vip-address?)"),
            (4, 13, "neither on nor off"),
            (5, 15, "unknown scheme"),
            (7, 27, "invalid value 'often'"),
            (9, 1, "[voltron] is not read (did you mean [volttron]?)"),
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for ((serious, line, column, text), (at, col, part)) in found.iter().zip(expected) {
            assert!(
                *serious != text.contains("unknown option")
                    && *line == Some(at)
                    && *column == Some(col)
                    && text.contains(part),
                "{text} {line:?} {column:?}"
            );
        }
    }

    #[test]
    fn settings_that_only_go_wrong_together_are_found() {
        let open = "[volttron]\ninstance-name = a\nallow-auth = False\nvip-address = tcp://10.1.2.3:5\n";
        let found = faults(open);
        assert!(found.len() == 1 && found[0].1 == Some(4) && found[0].3.contains("--insecure"), "{found:?}");
        assert!(faults(&format!("{open}insecure\n")).is_empty());
    }

    #[test]
    fn a_missing_file_is_fine_and_a_missing_include_is_not() {
        assert!(faults("instance-name = a\n").is_empty());
        let found = faults("instance-name = a\nconfig = more\n");
        assert!(found[0].3.contains("cannot be read"), "{found:?}");
    }
}
