//! Versions of an installed agent: another one, a former one, and what was done (lifecycle.md section 7, "Upgrade").

use std::time::{Duration, Instant};

use serde_json::Value;
use volttron_utils::home::Home;

use super::agents::AgentRow;
use super::install::{self, Report, Request};
use super::lifecycle::{self, Came};
use super::{OpError, Session};
use crate::install::history::{Event, Outcome, Terms};
use crate::install::{Installed, Kind, Registry};

/// Pause between two looks at a version on trial.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// What going back may take besides the trial itself: above all, stopping an agent that does not want to.
const GOING_BACK: Duration = Duration::from_secs(130);

/// A version that did not pass its trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolledBack {
    /// `<package>-<version>` that did not pass.
    pub from: String,
    /// `<package>-<version>` that is back.
    pub to: String,
    /// Why.
    pub why: String,
}

/// Where a version came from, as an operator says it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    path: String,
    kind: Option<Kind>,
    registry: Option<Registry>,
}

/// The ledger of an agent as the platform tells it.
#[derive(Clone, Debug)]
pub struct Ledger(Value);

impl Ledger {
    /// Asks for it.
    pub async fn ask(session: &Session, uuid: &str) -> Result<Self, OpError> {
        Ok(Self(session.control("agent_history").arg(uuid).send().await?))
    }

    /// All of it.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// `<package>-<version>` that is installed.
    pub fn name(&self) -> &str {
        self.0["name"].as_str().unwrap_or_default()
    }

    /// What was done, oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.0.get("events").cloned().and_then(|e| serde_json::from_value(e).ok()).unwrap_or_default()
    }

    fn on_trial(&self) -> bool {
        !self.0["trial"].is_null()
    }

    /// What the operator would name to install the same again or, from a registry, its newest version; of a crate of a
    /// registry another `version`, if one is given.
    fn origin(&self, version: &str) -> Option<Origin> {
        let (manifest, source) = (&self.0["manifest"], &self.0["manifest"]["source"]);
        if source["kind"] == "pypi" {
            let requirement = source["requirement"].as_str()?;
            let name = requirement.split(|c: char| "=<>!~;[ ".contains(c)).next()?;
            let path = format!("pypi:{name}{}", version.replace('@', "=="));
            return Some(Origin { path, kind: None, registry: None });
        }
        if source["kind"] != "registry" {
            let path = source["path"].as_str().filter(|_| version.is_empty())?.to_owned();
            return Some(Origin { path, kind: None, registry: None });
        }
        let registry = match source["registry"].as_str()? {
            "crates.io" => None,
            url if url.contains("://") || url.contains('+') => Some(Registry::Index(url.to_owned())),
            name => Some(Registry::Name(name.to_owned())),
        };
        let path = format!("{}{version}", manifest["package"].as_str()?);
        Some(Origin { path, kind: Some(Kind::Registry), registry })
    }

    /// Additions to its environment, as the operator wrote them.
    fn environment(&self) -> Vec<String> {
        let pairs = self.0["manifest"]["env"].as_object().into_iter().flatten();
        pairs.filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?))).collect()
    }
}

/// Waits until a version that was started is not on trial any more; why it is gone, if it is.
pub async fn wait_for_verdict(
    session: &Session,
    uuid: &str,
    terms: Option<Terms>,
) -> Result<Option<RolledBack>, OpError> {
    let Some(terms) = terms else { return Ok(None) };
    let period = Duration::try_from_secs_f64(terms.period_s).unwrap_or_default();
    let deadline = Instant::now() + period + GOING_BACK;
    loop {
        // Who goes back starts the former version before it is settled.
        let call = session.control("agent_history").arg(uuid).arg(true).timeout(GOING_BACK);
        let ledger = Ledger(call.send().await?);
        if !ledger.on_trial() {
            if let Some(last) = ledger.events().last().filter(|e| e.outcome == Outcome::Failed) {
                let why = format!(
                    "{}-{} did not pass its trial: {}. There is no earlier version that works, so it stays",
                    last.package, last.version, last.why
                );
                return Err(OpError::Refused(why));
            }
            return Ok(rolled_back(&ledger));
        }
        if Instant::now() >= deadline {
            let why =
                "the platform has not ended the trial of the new version; look at it with: vctl history";
            return Err(OpError::Refused(why.to_owned()));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// What the last two lines of the ledger say, if they tell of a version that is gone again.
fn rolled_back(ledger: &Ledger) -> Option<RolledBack> {
    let events = ledger.events();
    let [.., failed, back] = events.as_slice() else { return None };
    (failed.outcome == Outcome::RolledBack).then(|| RolledBack {
        from: format!("{}-{}", failed.package, failed.version),
        to: format!("{}-{}", back.package, back.version),
        why: failed.why.clone(),
    })
}

/// Installs another version of an agent: from `request.path`; from where it came if that is empty, and the version of
/// that name from the same registry if it is `@VERSION`. Its
/// configuration and environment stay, unless the request says otherwise.
pub async fn upgrade(
    session: &Session,
    home: &Home,
    agent: &AgentRow,
    mut request: Request,
) -> Result<Report, OpError> {
    let ledger = Ledger::ask(session, &agent.uuid).await?;
    if request.path.is_empty() || request.path.starts_with('@') {
        let origin = ledger.origin(&request.path).ok_or_else(|| {
            OpError::Refused(format!(
                "{0} did not come from a registry, or it is not known from where; name its source: vctl upgrade {0} SOURCE",
                agent.identity
            ))
        })?;
        (request.path, request.kind) = (origin.path, origin.kind);
        request.registry = request.registry.or(origin.registry);
    }
    request.identity = Some(agent.identity.clone());
    request.force = true;
    request.only_if_new = true;
    request.keep_config = request.config.is_none();
    let mut environment = ledger.environment();
    environment.append(&mut request.environment);
    request.environment = environment;
    let mut report = install::run(session, home, request).await?;
    Ledger::ask(session, &agent.uuid).await?.name().clone_into(&mut report.agent.name);
    Ok(report)
}

/// What came of a rollback.
#[derive(Clone, Debug, PartialEq)]
pub struct Returned {
    /// `<package>-<version>` that was installed.
    pub from: String,
    /// `<package>-<version>` that is installed now.
    pub to: String,
    /// How its start went, if the agent was up.
    pub came: Option<Came>,
}

/// Goes back to the version before, or to the one that is named.
pub async fn roll_back(
    session: &Session,
    agent: &AgentRow,
    to: Option<&str>,
    wait: Duration,
) -> Result<Returned, OpError> {
    let limit = session.patience(GOING_BACK);
    let call = session.control("rollback_agent").arg(&agent.uuid).arg(to).timeout(limit);
    let installed: Installed = call.send().await?;
    let came = match (installed.restarted, installed.start_error) {
        (false, _) => None,
        (true, Some(error)) => Some(Came::NotLaunched { why: error }),
        (true, None) => Some(lifecycle::wait_up(session, agent, wait).await?),
    };
    let now = Ledger::ask(session, &agent.uuid).await?;
    Ok(Returned { from: installed.replaced.unwrap_or_default(), to: now.name().to_owned(), came })
}

/// `60`, `60s`, `2m` or `1h` in seconds.
pub fn period(text: &str) -> Result<f64, OpError> {
    let (number, factor) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1.0),
        Some((at, 'm')) => (&text[..at], 60.0),
        Some((at, 'h')) => (&text[..at], 3600.0),
        _ => (text, 1.0),
    };
    match number.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number * factor),
        _ => Err(OpError::Usage(format!("{text} is no period; write 60s, 2m or 1h"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn periods_are_read() {
        for (text, seconds) in [("60", 60.0), ("60s", 60.0), ("1.5m", 90.0), ("1h", 3600.0)] {
            assert!((period(text).unwrap() - seconds).abs() < f64::EPSILON, "{text}");
        }
        for text in ["", "s", "-1s", "0", "1d", "nan", "inf"] {
            assert!(period(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_source_is_what_an_operator_would_name() {
        let name = |name: &str| Some(Registry::Name(name.to_owned()));
        let index = |url: &str| Some(Registry::Index(url.to_owned()));
        for (source, version, expected) in [
            (json!({"kind": "path", "path": "/a/b"}), "", Some(("/a/b", None))),
            (json!({"kind": "binary", "path": "/a/b"}), "", Some(("/a/b", None))),
            (json!({"kind": "binary", "path": "/a/b"}), "@2", None),
            (json!({"kind": "registry", "registry": "crates.io"}), "", Some(("pump", None))),
            (json!({"kind": "registry", "registry": "ours"}), "@1.2", Some(("pump@1.2", name("ours")))),
            (
                json!({"kind": "registry", "registry": "sparse+http://x/"}),
                "",
                Some(("pump", index("sparse+http://x/"))),
            ),
            (json!({"kind": "pypi", "requirement": "pump-agent==1.0"}), "", Some(("pypi:pump-agent", None))),
            (json!({"kind": "pypi", "requirement": "pump"}), "@2.0", Some(("pypi:pump==2.0", None))),
            (json!(null), "", None),
        ] {
            let ledger = Ledger(json!({"manifest": {"package": "pump", "source": source}}));
            let origin = ledger.origin(version).map(|o| (o.path, o.registry));
            assert_eq!(origin, expected.map(|(path, registry)| (path.to_owned(), registry)), "{source}");
        }
    }
}
