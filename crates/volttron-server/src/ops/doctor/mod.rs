//! `vctl doctor`: what is wrong with a home and its platform, why it matters, and the command that mends it.
//!
//! Works with the platform up or down, changes nothing, and ends after about a second whatever does not answer: each check
//! is a function of its own over one [`Scene`], and runs on a thread of its own. Start reading at [`CHECKS`].

mod agents;
mod bus;
mod clock;
mod keys;
mod network;
mod peers;
mod process;
mod rules;
mod scene;
mod settings;
mod storage;
mod store;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use volttron_utils::files;

use super::Target;
use crate::codes::Code;
use crate::supervisor::user_name;
pub(super) use agents::install_source;
pub use scene::{Limits, Scene};
pub(crate) use storage::size;

/// How long all checks together may take.
const TIME_LIMIT: Duration = Duration::from_millis(950);

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Good to know.
    Hint,
    /// Works, and should not stay like this.
    Warning,
    /// Does not work.
    Fault,
}

impl Level {
    /// The word in outputs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hint => "hint",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }

    /// Its exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Hint => 0,
            Self::Warning => 1,
            Self::Fault => 2,
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub code: Code,
    /// How bad.
    pub level: Level,
    /// What it is about: a path, an address, an identity.
    pub subject: String,
    /// What is the case.
    pub what: String,
    /// Why it matters.
    pub why: String,
    /// The command that mends it.
    pub fix: String,
}

impl Finding {
    /// As JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "code": self.code.text(), "level": self.level.word(), "subject": self.subject, "what": self.what,
            "why": self.why, "fix": self.fix,
        })
    }
}

/// What a check has to say.
#[derive(Debug, Default)]
pub struct Report {
    findings: Vec<Finding>,
    measured: Map<String, Value>,
}

impl Report {
    /// Adds a finding. `what`, `why` and `fix` as in [`Finding`].
    fn add(&mut self, code: Code, level: Level, subject: impl Into<String>, texts: [String; 3]) {
        let [what, why, fix] = texts;
        self.findings.push(Finding { code, level, subject: subject.into(), what, why, fix });
    }

    fn fault(&mut self, code: Code, subject: impl Into<String>, texts: [String; 3]) {
        self.add(code, Level::Fault, subject, texts);
    }

    fn warn(&mut self, code: Code, subject: impl Into<String>, texts: [String; 3]) {
        self.add(code, Level::Warning, subject, texts);
    }

    /// Adds a figure.
    fn measured(&mut self, name: &str, value: impl Into<Value>) {
        self.measured.insert(name.to_owned(), value.into());
    }
}

/// All of it.
#[derive(Debug)]
pub struct Diagnosis {
    /// Pid of the platform, if it runs.
    pub running: Option<u32>,
    /// The worst first; of one level in the order of codes.
    pub findings: Vec<Finding>,
    /// Figures by name; the name tells the unit.
    pub measured: Map<String, Value>,
    /// How many checks were made.
    pub checks: usize,
    /// How long it took.
    pub took: Duration,
}

impl Diagnosis {
    /// The worst level; none if all is well.
    pub fn worst(&self) -> Option<Level> {
        self.findings.iter().map(|f| f.level).max()
    }

    /// Exit code: 0 all well, 1 warnings, 2 faults.
    pub fn exit_code(&self) -> u8 {
        self.worst().map_or(0, Level::exit_code)
    }

    /// As JSON.
    pub fn to_json(&self, home: &Path) -> Value {
        json!({
            "home": home.display().to_string(),
            "version": crate::platform::VERSION,
            "running": self.running,
            "level": self.worst().map_or("ok", Level::word),
            "checks": self.checks,
            "took_ms": self.took.as_millis() as u64,
            "measured": self.measured,
            "findings": self.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
        })
    }
}

/// A check that waits for files.
type Check = fn(&Scene, &mut Report);

/// The checks that need no connection to the platform.
const CHECKS: [(&str, Check); 18] = [
    ("home", storage::home),
    ("disk", storage::disk),
    ("fsync", storage::fsync),
    ("log", storage::log),
    ("clock", clock::clock),
    ("process", process::process),
    ("open files", process::open_files),
    ("addresses", network::addresses),
    ("other platforms", peers::peers),
    ("settings", settings::settings),
    ("keystores", keys::keystores),
    ("known_hosts", keys::known_hosts),
    ("auth.json", rules::auth_file),
    ("agents' auth entries", rules::agents),
    ("protected_topics.json", rules::protected_topics),
    ("configuration store", store::store),
    ("agents", agents::agents),
    ("versions and changes", agents::changes),
];

/// Those that look at no file that may be for its owner only.
const FOR_ANYBODY: [&str; 2] = ["disk", "clock"];

/// Examines a home and its platform.
pub async fn run(target: &Target, limits: Limits) -> Diagnosis {
    let began = Instant::now();
    let scene = Scene::look(target, limits);
    let mut all = Report::default();
    let stranger_to = scene.stranger_to();
    if let Some(owner) = &stranger_to {
        other_user(&scene, owner, &mut all);
    }
    let made = CHECKS.into_iter().filter(|(name, _)| stranger_to.is_none() || FOR_ANYBODY.contains(name));
    let asks = scene.running.is_some() && stranger_to.is_none();
    let (done, mut reports) = mpsc::channel(CHECKS.len());
    for (name, check) in made.clone() {
        let (scene, done) = (scene.clone(), done.clone());
        // A thread that hangs on a dead file system ends with the process; a pool of tokio's would be waited for.
        let work = move || {
            let mut report = Report::default();
            check(&scene, &mut report);
            // Nobody listens any more once the time is over.
            let _ = done.blocking_send((name, report));
        };
        if std::thread::Builder::new().name("check".into()).spawn(work).is_err() {
            tracing::debug!("no thread for {name}");
        }
    }
    drop(done);
    let mut waiting: Vec<&str> = made.clone().map(|(name, _)| name).collect();
    let gather = async {
        while let Some((name, report)) = reports.recv().await {
            waiting.retain(|w| *w != name);
            all.findings.extend(report.findings);
            all.measured.extend(report.measured);
        }
    };
    let online = async {
        let mut report = Report::default();
        if asks {
            bus::bus(target, &scene, &mut report).await;
        }
        report
    };
    let (_, online) = tokio::join!(tokio::time::timeout(TIME_LIMIT, gather), online);
    all.findings.extend(online.findings);
    all.measured.extend(online.measured);
    for name in waiting {
        let texts = [
            format!("the check of {name} did not end within {} s", TIME_LIMIT.as_secs_f64()),
            "something it needs, such as a network file system or a name server, does not answer".to_owned(),
            "df -h; findmnt".to_owned(),
        ];
        all.warn(Code::CheckUnfinished, name, texts);
    }
    let mut findings = all.findings;
    findings.sort_by(|a, b| (b.level, a.code, &a.subject).cmp(&(a.level, b.code, &b.subject)));
    let checks = made.count() + usize::from(asks);
    Diagnosis { running: scene.running, findings, measured: all.measured, checks, took: began.elapsed() }
}

/// Whoever may not read the files of a home cannot tell what is wrong with them.
fn other_user(scene: &Scene, owner: &str, report: &mut Report) {
    let home = scene.home.path();
    let texts = [
        format!(
            "{} belongs to {owner}, and you are {}: its files were not examined",
            home.display(),
            user_name(scene.me)
        ),
        "what another user may not read looks broken, and is not".to_owned(),
        scene.vctl("doctor"),
    ];
    report.fault(Code::OtherUser, home.display().to_string(), texts);
}

/// The command that lets the owner read a file, and nobody else.
fn make_readable(path: &Path, me: u32) -> String {
    let own = fs::metadata(path).is_ok_and(|meta| meta.uid() == me);
    let path = shown(path);
    if own { format!("chmod 600 {path}") } else { format!("sudo chown {me} {path} && chmod 600 {path}") }
}

/// The command that puts a file or directory aside, under a name that nothing has yet.
fn put_aside(path: &Path, word: &str) -> String {
    format!("mv -n {} {}", shown(path), shown(&files::free_name(path, word)))
}

/// A path as a shell takes it.
fn shown(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@=,%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_a_shell_as_they_are() {
        for (word, expected) in
            [("/srv/vh", "/srv/vh"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("", "''"), ("$x", "'$x'")]
        {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn the_exit_code_is_the_worst_level() {
        let finding = |level| Finding {
            code: Code::NoCargo,
            level,
            subject: String::new(),
            what: String::new(),
            why: String::new(),
            fix: String::new(),
        };
        for (levels, expected) in [
            (&[][..], 0),
            (&[Level::Hint], 0),
            (&[Level::Warning, Level::Hint], 1),
            (&[Level::Warning, Level::Fault], 2),
        ] {
            let findings = levels.iter().copied().map(finding).collect();
            let diagnosis =
                Diagnosis { running: None, findings, measured: Map::new(), checks: 0, took: Duration::ZERO };
            assert_eq!(diagnosis.exit_code(), expected, "{levels:?}");
        }
    }
}
