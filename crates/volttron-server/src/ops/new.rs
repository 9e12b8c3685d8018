//! `vctl new`: a crate for an agent, driver or historian of one's own (agent-api.md section 10).
//!
//! Pure but for [`write`]: the templates are part of the program, answers fill their blanks. Never overwrites anything.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use volttron_utils::{files, identity};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// An agent that subscribes, publishes and answers calls
    Agent,
    /// An agent that reads a device and writes to it
    Driver,
    /// A historian with a store of its own
    Historian,
}

/// The blanks of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// Name of the crate.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// `Name <address>`, or empty.
    pub author: String,
    /// SPDX expression.
    pub license: String,
    /// URL, or empty.
    pub repository: String,
    /// Default identity, perhaps with `{n}`.
    pub identity: String,
    /// Name of the agent's type.
    pub agent_type: String,
}

/// Why there is no new crate. Nothing was written then, or it was removed again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NewError {
    /// A blank cannot be filled so.
    #[error("{what} '{value}': {why}")]
    Answer {
        /// Which blank.
        what: &'static str,
        /// What was to go there.
        value: String,
        /// What is wrong with it, and what would do.
        why: &'static str,
    },
    /// There is something already.
    #[error("{} is there already; name another directory (--path), or remove it", .0.display())]
    Exists(PathBuf),
    /// A file.
    #[error("cannot write {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Kind, path in the crate, text.
macro_rules! template {
    ($kind:literal: $($file:literal),+ $(,)?) => {
        &[$(($file, include_str!(concat!("../../templates/", $kind, "/", $file)))),+]
    };
}

type Files = &'static [(&'static str, &'static str)];

const AGENT: Files = template!("agent":
    "Cargo.toml.liquid", "README.md.liquid", "config.yml", "src/lib.rs.liquid", "src/main.rs.liquid", "tests/agent.rs.liquid");
const DRIVER: Files = template!("driver":
    "Cargo.toml.liquid", "README.md.liquid", "config.yml", "src/lib.rs.liquid", "src/main.rs.liquid", "src/device.rs",
    "tests/agent.rs.liquid");
const HISTORIAN: Files = template!("historian":
    "Cargo.toml.liquid", "README.md.liquid", "config.yml", "src/lib.rs.liquid", "src/main.rs.liquid", "src/store.rs",
    "tests/agent.rs.liquid");
/// What all kinds have.
const SHARED: Files =
    template!("agent": ".gitignore", ".github/workflows/ci.yml", ".github/workflows/release.yml");

/// The licence that is written out; of others only the name stands in `Cargo.toml`.
const APACHE: &str = "Apache-2.0";
const APACHE_TEXT: &str = include_str!("../../templates/agent/LICENSE");

impl Kind {
    fn files(self) -> Files {
        match self {
            Self::Agent => AGENT,
            Self::Driver => DRIVER,
            Self::Historian => HISTORIAN,
        }
    }

    /// As in a sentence.
    pub fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Driver => "driver",
            Self::Historian => "historian",
        }
    }
}

impl Answers {
    /// What is proposed for a crate of this name.
    pub fn proposed(kind: Kind, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: format!("A VOLTTRON {}", kind.word()),
            author: String::new(),
            license: APACHE.to_owned(),
            repository: String::new(),
            identity: format!("{}-{{n}}", name.strip_prefix("volttron-").unwrap_or(name)),
            agent_type: type_name(kind, name.strip_prefix("volttron-").unwrap_or(name)),
        }
    }

    /// Whether every blank can be filled so.
    pub fn check(&self, kind: Kind) -> Result<(), NewError> {
        let wrong = |what, value: &str, why| Err(NewError::Answer { what, value: value.to_owned(), why });
        let name = &self.name;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) || name.len() > 64
        {
            let why =
                "a crate's name is up to 64 of a-z, 0-9, - and _, and begins with a letter, as pump-watch";
            return wrong("name", name, why);
        }
        if ["test", "core", "std", "alloc", "volttron-client", "volttron_client"].contains(&name.as_str())
            || RUST_WORDS.contains(&name.as_str())
        {
            return wrong("name", name, "this is the name of something else in Rust; take another");
        }
        let identity = self.identity.replacen("{n}", "1", 1);
        if !identity::is_valid(&identity) || identity::reserved_for_install(&identity) {
            return wrong(
                "identity",
                &self.identity,
                "letters, digits, _ . and - only, and none of the platform's own",
            );
        }
        let camel = self.agent_type.starts_with(|c: char| c.is_ascii_uppercase())
            && self.agent_type.chars().all(|c| c.is_ascii_alphanumeric());
        if !camel {
            let why = "a type's name is letters and digits and begins with a capital, as PumpWatch";
            return wrong("type", &self.agent_type, why);
        }
        if is_taken(kind, &self.agent_type) {
            let why = "the crate uses this name for something else; take another";
            return wrong("type", &self.agent_type, why);
        }
        let texts = [
            ("description", &self.description),
            ("author", &self.author),
            ("license", &self.license),
            ("repository", &self.repository),
        ];
        for (what, text) in texts {
            if text.contains(['"', '\\']) || text.chars().any(char::is_control) || text.contains("{{") {
                return wrong(
                    what,
                    text,
                    "no quotation marks, backslashes, double braces or line ends, please",
                );
            }
        }
        Ok(())
    }

    fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // An author nobody named and a repository nobody has are left out rather than left empty.
        for (value, line) in [
            (&self.author, "authors = [\"{{author}}\"]\n"),
            (&self.repository, "repository = \"{{repository}}\"\n"),
        ] {
            if value.is_empty() {
                text = text.replace(line, "");
            }
        }
        for (blank, value) in [
            ("project-name", self.name.as_str()),
            ("crate_name", &self.name.replace('-', "_")),
            ("description", &self.description),
            ("author", &self.author),
            ("license", &self.license),
            ("repository", &self.repository),
            ("identity", &self.identity),
            ("agent_type", &self.agent_type),
        ] {
            text = text.replace(&format!("{{{{{blank}}}}}"), value);
        }
        text
    }
}

/// Words a crate cannot be called because `use` could not name it.
const RUST_WORDS: [&str; 20] = [
    "as", "async", "await", "box", "const", "crate", "dyn", "enum", "extern", "fn", "impl", "loop", "match",
    "mod", "move", "static", "struct", "super", "trait", "use",
];

/// Whether the code of a template uses this name for something of its own.
fn is_taken(kind: Kind, name: &str) -> bool {
    let code = kind.files().iter().filter(|(path, _)| path.contains(".rs"));
    code.flat_map(|(_, text)| text.split(|c: char| !c.is_ascii_alphanumeric())).any(|word| word == name)
}

/// The name of the crate as that of a type; with a word more where it would be taken.
fn type_name(kind: Kind, name: &str) -> String {
    let words = name.split(['-', '_']).filter(|word| !word.is_empty());
    let camel: String = words.map(capitalised).collect();
    if camel.starts_with(|c: char| c.is_ascii_uppercase()) && !is_taken(kind, &camel) {
        return camel;
    }
    camel + &capitalised(kind.word())
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// Every file of the crate: path and text.
pub fn files(kind: Kind, answers: &Answers) -> Result<Vec<(PathBuf, String)>, NewError> {
    answers.check(kind)?;
    let mut all: Vec<_> = kind
        .files()
        .iter()
        .map(|(path, text)| match path.strip_suffix(".liquid") {
            Some(path) => (PathBuf::from(path), answers.fill(text)),
            None => (PathBuf::from(path), (*text).to_owned()),
        })
        .chain(SHARED.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())))
        .collect();
    if answers.license == APACHE {
        all.push(("LICENSE".into(), APACHE_TEXT.to_owned()));
    }
    Ok(all)
}

/// Writes the crate to `directory`, which must not be there, or be empty. It appears as a whole or not at all.
pub fn write(kind: Kind, answers: &Answers, directory: &Path) -> Result<(), NewError> {
    let all = files(kind, answers)?;
    if fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()) || directory.is_file() {
        return Err(NewError::Exists(directory.to_owned()));
    }
    let failed = |path: &Path, source| NewError::File { path: path.to_owned(), source };
    let parent = directory.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|e| failed(parent, e))?;
    let stage = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(parent)
        .map_err(|e| failed(parent, volttron_utils::files::unnamed(e)))?;
    let made = stage.path().join("crate");
    for (path, text) in &all {
        let path = made.join(path);
        let inner = path.parent().unwrap_or(&made);
        fs::create_dir_all(inner).map_err(|e| failed(inner, e))?;
        files::write_atomic(&path, text.as_bytes(), 0o644).map_err(|e| failed(&path, e))?;
    }
    fs::rename(&made, directory).map_err(|e| failed(directory, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identities_and_types() {
        let answers = Answers::proposed(Kind::Agent, "volttron-pump-watch2");
        assert_eq!(
            (answers.identity.as_str(), answers.agent_type.as_str()),
            ("pump-watch2-{n}", "PumpWatch2")
        );
        assert_eq!(Answers::proposed(Kind::Agent, "x_9").agent_type, "X9");
        assert_eq!(Answers::proposed(Kind::Historian, "shelf").agent_type, "ShelfHistorian");
        assert_eq!(Answers::proposed(Kind::Driver, "device").agent_type, "DeviceDriver");
        for kind in [Kind::Agent, Kind::Driver, Kind::Historian] {
            Answers::proposed(kind, "pump").check(kind).unwrap();
        }
    }

    #[test]
    fn no_blank_stays_and_empty_answers_leave_no_line() {
        for kind in [Kind::Agent, Kind::Driver, Kind::Historian] {
            let answers = Answers::proposed(kind, "pump-watch");
            for (path, text) in files(kind, &answers).unwrap() {
                let path = path.display().to_string();
                assert!(!path.ends_with(".liquid"), "{path}");
                assert!(path.starts_with(".github") || !text.contains("{{"), "{path}: {text}");
                if path == "Cargo.toml" {
                    assert!(!text.contains("authors") && !text.contains("repository"), "{text}");
                    assert!(text.contains("name = \"pump-watch\""), "{text}");
                }
            }
        }
    }

    type Spoil = fn(&mut Answers);

    #[test]
    fn answers_that_would_make_a_broken_crate_are_refused() {
        let good = Answers::proposed(Kind::Agent, "pump");
        let broken: [(&str, Spoil); 10] = [
            ("name", |a| a.name = "Pump".into()),
            ("name", |a| a.name = "9pump".into()),
            ("name", |a| *a = Answers::proposed(Kind::Agent, "é-pumpe")),
            ("name", |a| a.name = "../pump".into()),
            ("name", |a| a.name = "match".into()),
            ("identity", |a| a.identity = "a b".into()),
            ("identity", |a| a.identity = "control".into()),
            ("type", |a| a.agent_type = "pump".into()),
            ("type", |a| a.agent_type = "Config".into()),
            ("description", |a| a.description = "a \"pump\"".into()),
        ];
        for (what, spoil) in broken {
            let mut answers = good.clone();
            spoil(&mut answers);
            let error = answers.check(Kind::Agent).unwrap_err().to_string();
            assert!(error.starts_with(what), "{error}");
        }
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_is_left_half_made() {
        let dir = tempfile::tempdir().unwrap();
        let answers = Answers::proposed(Kind::Driver, "pump");
        let target = dir.path().join("pump");
        write(Kind::Driver, &answers, &target).unwrap();
        assert!(target.join("src/device.rs").is_file() && target.join("LICENSE").is_file());
        let again = write(Kind::Driver, &answers, &target).unwrap_err();
        assert!(matches!(again, NewError::Exists(_)), "{again}");
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["pump"]);
    }
}
