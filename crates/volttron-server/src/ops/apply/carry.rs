//! Making the changes of a plan, in their order. What was made stays, and the next run goes on from there. An agent that
//! fails keeps no other agent from being made; any other change that fails ends it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use volttron_client::CallErrorKind;
use volttron_utils::config::{OptionError, OptionFile};
use volttron_utils::files::{self, FileLock};
use volttron_utils::home::Home;
use volttron_utils::identity::CONFIG_STORE;

use super::super::agents::AgentRow;
use super::super::config::bulk::{MAX_TRANSACTION_BYTES, not_ours, stripped};
use super::super::config::tree::Item;
use super::super::install::{BuildRequest, Request};
use super::super::lifecycle::{self, Came};
use super::super::{OpError, Session, agents, install};
use super::file::{Agent, Wanted};
use super::plan::{self, Action, Change, Names};
use super::state;
use crate::install::history::Terms;
use crate::install::python;
use crate::options::managed;
use crate::services::config_store::offline;

/// Section of the platform's settings.
const SECTION: &str = "volttron";
/// Mode of the file of protected topics.
const TOPICS_MODE: u32 = 0o644;

/// How agents are installed.
#[derive(Clone, Debug, Default)]
pub struct How {
    /// Crates.
    pub build: BuildRequest,
    /// Python agents.
    pub python: python::Settings,
    /// How long an agent may take to report its health.
    pub wait: Duration,
}

/// Where changes are made.
pub struct Site<'a> {
    /// The home.
    pub home: &'a Home,
    /// The platform, if it runs.
    pub session: Option<&'a Session>,
    /// What is wanted, for what the plan does not repeat.
    pub wanted: &'a Wanted,
    /// How agents are installed.
    pub how: How,
}

impl std::fmt::Debug for Site<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("home", &self.home).finish_non_exhaustive()
    }
}

/// A change that could not be made.
#[derive(Debug)]
pub struct Failure {
    /// The agent that it is about; none for what everything else builds on.
    pub agent: Option<String>,
    /// The change.
    pub what: String,
    /// Why not.
    pub error: OpError,
}

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many changes were made.
    pub made: usize,
    /// What failed, in the order of the plan.
    pub failed: Vec<Failure>,
}

/// Makes the changes.
pub async fn carry_out(site: &Site<'_>, changes: &[&Change]) -> Result<Outcome, OpError> {
    // No platform may start in the middle.
    let _lock = if site.session.is_none() { Some(own(site.home)?) } else { None };
    let mut outcome = Outcome::default();
    let mut rest = changes;
    while let [first, ..] = rest {
        let together = match first.action {
            Action::Configuration { .. } => length(rest, |a| matches!(a, Action::Configuration { .. })),
            Action::Members(names, ..) => {
                length(rest, |a| matches!(a, Action::Members(other, ..) if *other == names))
            }
            Action::Topic(..) => length(rest, |a| matches!(a, Action::Topic(..))),
            _ => 1,
        };
        let (now, later) = rest.split_at(together);
        rest = later;
        // What was to follow in an agent that is not as it should be has nothing to build on.
        let lost = first
            .action
            .user()
            .is_some_and(|user| outcome.failed.iter().any(|failure| failure.agent.as_deref() == Some(user)));
        if lost {
            continue;
        }
        match site.make(now).await {
            Ok(()) => outcome.made += together,
            Err(error) => {
                let agent = first.action.agent().filter(|_| !ends_all(&error)).map(str::to_owned);
                let goes_on = agent.is_some();
                let what = now.last().map_or(&first.what, |change| &change.what).clone();
                outcome.failed.push(Failure { agent, what, error });
                if !goes_on {
                    break;
                }
            }
        }
    }
    Ok(outcome)
}

/// Whether nothing else can be done after this failure: the platform is gone.
fn ends_all(error: &OpError) -> bool {
    match error {
        OpError::NotRunning | OpError::Connect(_) => true,
        OpError::Call(error) => matches!(error.kind(), CallErrorKind::Closed | CallErrorKind::Unreachable),
        _ => false,
    }
}

fn length(changes: &[&Change], fits: impl Fn(&Action) -> bool) -> usize {
    changes.iter().take_while(|change| fits(&change.action)).count()
}

/// What the platform would say about its settings as they will be, before any of them is written.
pub(super) fn check_settings(home: &Home, plan: &[Change]) -> Result<(), OpError> {
    let changes = plan.iter().filter_map(|change| match &change.action {
        Action::Setting(name, values) => Some((name, values)),
        _ => None,
    });
    let path = home.config_file();
    let mut file =
        OptionFile::load_or_empty(&path).map_err(|e: OptionError| OpError::Refused(e.to_string()))?;
    let mut any = false;
    for (name, values) in changes {
        set(&mut file, name, values);
        any = true;
    }
    let faults = if any { crate::check::settings(home, &file.render()) } else { Vec::new() };
    if faults.is_empty() {
        return Ok(());
    }
    Err(OpError::Usage(format!(
        "nothing was changed: the platform would not start with the file that this makes of {}:\n{}",
        path.display(),
        faults.join("\n")
    )))
}

/// The lines of a setting become these.
fn set(file: &mut OptionFile, name: &str, values: &[String]) {
    let is_list = managed().iter().any(|setting| setting.name == name && setting.is_list);
    match values {
        [one] if !is_list => drop(file.set(SECTION, name, one)),
        values => {
            file.remove(SECTION, name);
            for value in values {
                file.add(SECTION, name, value);
            }
        }
    }
}

fn own(home: &Home) -> Result<FileLock, OpError> {
    let failed = |source| OpError::File { what: home.lock_file().display().to_string(), source };
    home.create_dirs().map_err(|e| OpError::Refused(e.to_string()))?;
    FileLock::try_acquire(&home.lock_file()).map_err(failed)?.ok_or_else(|| {
        OpError::Refused("a platform is starting in this home; try again once it is up".to_owned())
    })
}

impl Site<'_> {
    /// Makes changes that are made together; more than one only of those kinds.
    async fn make(&self, changes: &[&Change]) -> Result<(), OpError> {
        let Some(first) = changes.first() else { return Ok(()) };
        match &first.action {
            Action::Setting(name, values) => self.setting(name, values),
            Action::Members(names, ..) => self.members(*names, changes).await,
            Action::Topic(..) => self.topics(changes),
            Action::Entry(fields) => self.entry(fields).await,
            Action::NoEntry(user) => self.no_entry(user).await,
            Action::Configuration { .. } => self.configurations(changes).await,
            Action::Remove(identity) => {
                lifecycle::remove(self.session()?, &self.row(identity).await?, false).await.map(drop)
            }
            Action::Install(identity) => self.install(identity).await,
            Action::Configure(identity, settings) => {
                let row = self.row(identity).await?;
                let limit = self.session()?.timeout().max(Duration::from_mins(3));
                let call =
                    self.session()?.control("configure_agent").arg(row.uuid).arg(settings).timeout(limit);
                call.send_value().await?;
                Ok(())
            }
            Action::Tag(identity, tag) => {
                lifecycle::tag(self.home, self.session, &self.row(identity).await?, tag.as_deref()).await
            }
            Action::Priority(identity, priority) => {
                let row = self.row(identity).await?;
                lifecycle::prioritize(self.home, self.session, &row, priority.as_deref()).await
            }
            Action::Start(identity) => self.start(identity).await,
            Action::Stop(identity) => lifecycle::stop(self.session()?, &self.row(identity).await?).await,
        }
    }

    fn session(&self) -> Result<&Session, OpError> {
        self.session.ok_or(OpError::NotRunning)
    }

    async fn row(&self, identity: &str) -> Result<AgentRow, OpError> {
        let all = agents::list(self.home, self.session).await?;
        let found = all.into_iter().find(|agent| agent.identity == identity);
        found.ok_or_else(|| OpError::Selection(format!("the agent {identity} is not installed any more")))
    }

    fn setting(&self, name: &str, values: &[String]) -> Result<(), OpError> {
        let path = self.home.config_file();
        let refused = |e: OptionError| OpError::Refused(e.to_string());
        let mut file = OptionFile::load_or_empty(&path).map_err(refused)?;
        set(&mut file, name, values);
        file.save(&path).map_err(refused)
    }

    async fn members(&self, names: Names, changes: &[&Change]) -> Result<(), OpError> {
        let change = |map: &mut Map<String, Value>| {
            for change in changes {
                match &change.action {
                    Action::Members(_, name, Some(members)) => {
                        drop(map.insert(name.clone(), members.clone()));
                    }
                    Action::Members(_, name, None) => drop(map.shift_remove(name)),
                    _ => {}
                }
            }
            Ok(())
        };
        state::rules(self.home, self.session).change_members(names.key(), change).await?;
        Ok(())
    }

    fn topics(&self, changes: &[&Change]) -> Result<(), OpError> {
        let mut topics = state::topics(self.home)?;
        for change in changes {
            let Action::Topic(topic, capabilities) = &change.action else { continue };
            match (topics.iter_mut().find(|(name, _)| name == topic), capabilities) {
                (Some((_, old)), Some(new)) => *old = new.clone(),
                (None, Some(new)) => topics.push((topic.clone(), new.clone())),
                (_, None) => topics.retain(|(name, _)| name != topic),
            }
        }
        let list: Vec<Value> =
            topics.iter().map(|(topic, needed)| json!({"topic": topic, "capabilities": needed})).collect();
        let text =
            volttron_utils::json::to_indent(&json!({"write-protect": list}), 2).unwrap_or_default() + "\n";
        let path = self.home.protected_topics();
        files::write_atomic(&path, text.as_bytes(), TOPICS_MODE)
            .map_err(|source| OpError::File { what: path.display().to_string(), source })
    }

    async fn entry(&self, fields: &Map<String, Value>) -> Result<(), OpError> {
        let rules = state::rules(self.home, self.session);
        let allow = rules.read().await?.allow;
        let old = plan::find(&allow, plan::user(fields));
        let entry = Value::Object(plan::merged(old, fields)?);
        let entry = crate::auth::entry::Entry::from_value(&entry)
            .map_err(|e| OpError::Refused(format!("auth entry {}: {e}", plan::user(fields))))?;
        match allow.iter().position(|value| old.is_some() && value.as_object() == old) {
            Some(index) => {
                rules.update(i64::try_from(index).unwrap_or(i64::MAX), &allow[index], entry).await?;
            }
            None => rules.add(entry).await?,
        }
        Ok(())
    }

    async fn no_entry(&self, user_id: &str) -> Result<(), OpError> {
        let rules = state::rules(self.home, self.session);
        let allow = rules.read().await?.allow;
        let is = |entry: &Value| entry.get("user_id").and_then(Value::as_str) == Some(user_id);
        if let Some(index) = allow.iter().position(is) {
            rules.remove(&[i64::try_from(index).unwrap_or(i64::MAX)], &allow[index..=index]).await?;
        }
        Ok(())
    }

    /// All in one transaction.
    async fn configurations(&self, changes: &[&Change]) -> Result<(), OpError> {
        #[derive(Default, serde::Serialize)]
        struct Edit<'a> {
            set: BTreeMap<&'a str, &'a Item>,
            delete: Vec<&'a str>,
        }
        let (mut edits, mut bytes) = (BTreeMap::<&str, Edit<'_>>::new(), 0);
        for change in changes {
            let Action::Configuration { identity, name, item } = &change.action else { continue };
            let edit = edits.entry(identity).or_default();
            match item {
                Some(item) => {
                    bytes += name.len() + item.data.len();
                    edit.set.insert(stripped(name), item);
                }
                None => edit.delete.push(name),
            }
        }
        if bytes > MAX_TRANSACTION_BYTES {
            return Err(OpError::Refused(format!(
                "the configurations that change hold {bytes} bytes, one transaction at most \
                 {MAX_TRANSACTION_BYTES}; apply them in parts"
            )));
        }
        let transaction = serde_json::to_value(&edits).unwrap_or_default();
        match self.session {
            Some(session) => {
                let call = session.call(CONFIG_STORE, "apply_configs").arg(transaction);
                call.send_value().await.map_err(not_ours)?;
            }
            None => {
                offline::apply(self.home, transaction).map_err(|e| OpError::Refused(e.to_string()))?;
            }
        }
        Ok(())
    }

    fn agent(&self, identity: &str) -> Agent {
        self.wanted.agents.as_ref().and_then(|agents| agents.get(identity)).cloned().unwrap_or_default()
    }

    async fn install(&self, identity: &str) -> Result<(), OpError> {
        let session = self.session()?;
        let agent = self.agent(identity);
        let config = agent.config.as_ref().map(|content| temporary(&content.item.data)).transpose()?;
        let request = Request {
            path: source(&agent),
            registry: agent.registry.clone(),
            identity: Some(identity.to_owned()),
            version: agent.version.clone(),
            config: config.as_ref().map(|file| file.path().to_owned()),
            keep_config: false,
            tag: agent.tag.clone().flatten(),
            priority: agent.priority.clone().flatten(),
            wait: self.how.wait,
            force: true,
            trial: Some(Terms { period_s: self.how.wait.as_secs_f64().max(0.1), good: false }),
            environment: agent.env.iter().flatten().map(|(name, value)| format!("{name}={value}")).collect(),
            build: self.how.build.clone(),
            python: self.how.python.clone(),
            ..Request::default()
        };
        let report = install::run(session, self.home, request).await?;
        if let Some(back) = report.rolled_back {
            return Err(OpError::Refused(format!(
                "{identity} went back from {} to {}: {}",
                back.from, back.to, back.why
            )));
        }
        Ok(())
    }

    async fn start(&self, identity: &str) -> Result<(), OpError> {
        let (session, row) = (self.session()?, self.row(identity).await?);
        match lifecycle::start(session, &row).await {
            Err(OpError::Call(volttron_client::CallError::Remote(e)))
                if e.detail() == Some("agent is already running") => {}
            other => other?,
        }
        match lifecycle::wait_up(session, &row, self.how.wait).await? {
            Came::Up { .. } | Came::Silent { .. } => Ok(()),
            Came::Ended { code, last_log, .. } => Err(OpError::Refused(format!(
                "{identity} did not come up (status {code}){}{}",
                if last_log.is_empty() { "" } else { "; its last lines were:\n  " },
                last_log.join("\n  ")
            ))),
            Came::NotLaunched { why } => {
                Err(OpError::Refused(format!("{identity} could not be started: {why}")))
            }
        }
    }
}

/// What is to be installed, with the version where the source is a name.
fn source(agent: &Agent) -> String {
    let source = agent.source.clone().unwrap_or_default();
    let is_name = !source.contains(['/', '@', '=']) && !std::path::Path::new(&source).exists();
    match &agent.version {
        Some(version) if is_name && source.starts_with("pypi:") => format!("{source}=={version}"),
        Some(version) if is_name => format!("{source}@{version}"),
        _ => source,
    }
}

/// A file that nobody else reads and that goes when it is dropped.
fn temporary(text: &str) -> Result<tempfile::NamedTempFile, OpError> {
    use std::io::Write;

    let failed = |source| OpError::File { what: "a temporary file".to_owned(), source };
    let mut file = tempfile::NamedTempFile::new().map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    Ok(file)
}
