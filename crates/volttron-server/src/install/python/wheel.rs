//! What a wheel says about itself, and how the agent in it is started.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::interpreter::Interpreter;
use super::run::Run;

const INSPECT: &str = include_str!("inspect_wheel.py");
/// How long reading a wheel may take.
const LIMIT: Duration = Duration::from_mins(2);

/// A wheel.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Wheel {
    /// Package.
    pub name: String,
    /// Version.
    pub version: String,
    /// What it needs.
    pub requires: Vec<String>,
    /// `[group, name, value]` of its entry points, in order.
    pub entries: Vec<[String; 3]>,
    /// Hash of what is in it.
    pub sha256: String,
    /// A module of it imports the modules of 9.x.
    pub classic: bool,
    /// Default identity.
    pub identity: Option<String>,
    /// Configuration that was packed into it.
    pub config: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Bad { error: String },
    Good(Box<Wheel>),
}

impl Wheel {
    /// Looks into a wheel without unpacking it.
    pub async fn look(path: &Path, python: &Interpreter, run: &Run) -> Result<Self, String> {
        let mut command = run.command(&python.program);
        command.args(["-c", INSPECT]).arg(path);
        let said = run.answer(command, LIMIT).await?;
        let wheel =
            match serde_json::from_str(&said).map_err(|e| format!("its metadata is incomplete: {e}"))? {
                Answer::Bad { error } => return Err(error),
                Answer::Good(wheel) => *wheel,
            };
        let plain = |text: &str, more: &str| {
            !text.is_empty()
                && text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c) || more.contains(c))
        };
        if !plain(&wheel.name, "") || !plain(&wheel.version, "+!") {
            return Err(format!("its name {:?} or version {:?} is not possible", wheel.name, wheel.version));
        }
        Ok(wheel)
    }

    /// Whether it is written for 11.x.
    pub fn for_11(&self) -> bool {
        !self.classic && self.requires.iter().any(|text| is_of_11(text))
    }

    /// Whether it asks for the client library itself.
    pub fn wants_client(&self) -> bool {
        self.classic || self.requires.iter().any(|r| package(r).0.starts_with("volttron"))
    }

    /// Arguments of the interpreter that start the agent (lifecycle.md section 5). `chosen` names a console script.
    pub fn start(&self, chosen: Option<&str>) -> Result<Vec<String>, String> {
        let of = |group: &str| -> Vec<(&str, &str)> {
            let found = self.entries.iter().filter(|[g, ..]| g == group);
            found.map(|[_, name, value]| (name.as_str(), value.as_str())).collect()
        };
        let one = |group: &str, name: &str| of(group).into_iter().find(|(n, _)| *n == name).map(|(_, v)| v);
        let scripts = of("console_scripts");
        let launch = one("volttron.agent", "launch");
        let egg = one("setuptools.installation", "eggsecutable");
        let script = if let Some(name) = chosen {
            Some(scripts.iter().find(|(n, _)| *n == name).ok_or_else(|| {
                let names: Vec<&str> = scripts.iter().map(|(n, _)| *n).collect();
                format!("it has no console script {name}, only: {}", names.join(", "))
            })?)
        } else {
            let own = [self.name.clone(), format!("{}-agent", self.name)];
            scripts.iter().find(|(n, _)| own.iter().any(|o| o == n)).or(scripts.first())
        };
        let script = script.map(|(_, value)| *value);
        let value = if chosen.is_some() {
            script
        } else if self.classic {
            launch.or(egg).or(script)
        } else {
            script.or(egg).or(launch)
        };
        let Some(value) = value else {
            return Err(
                "it does not say how the agent is started: it needs a console script, or the entry point \
                        `eggsecutable` of `setuptools.installation` (as in agents for 9.x)"
                    .into(),
            );
        };
        arguments(value)
    }
}

/// Name and rest of a requirement.
fn package(requirement: &str) -> (String, &str) {
    let end = requirement
        .find(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c))
        .unwrap_or(requirement.len());
    (requirement[..end].to_lowercase().replace(['_', '.'], "-"), &requirement[end..])
}

/// Whether this requirement can only be met by the packages of 11.x: its library and message bus, or the platform from
/// that version on.
pub(super) fn is_of_11(requirement: &str) -> bool {
    let (name, rest) = package(requirement.trim());
    match name.as_str() {
        "volttron-core" | "volttron-lib-zmq" | "volttron-lib-auth" => true,
        "volttron" => rest.split(',').any(|bound| {
            let bound = bound.trim_matches(|c: char| c.is_whitespace() || "()".contains(c));
            let least = [">=", "==", "~=", ">", "^"].iter().find_map(|sign| bound.strip_prefix(sign));
            let major = least.and_then(|version| version.trim_start().split('.').next()?.parse::<u32>().ok());
            major.is_some_and(|major| major >= 11)
        }),
        _ => false,
    }
}

/// `module:function` or `module`.
fn arguments(value: &str) -> Result<Vec<String>, String> {
    // Extras may follow in brackets.
    let value = value.split('[').next().unwrap_or_default().trim();
    let dotted = |text: &str| {
        text.split('.').all(|part| {
            part.starts_with(|c: char| c.is_alphabetic() || c == '_')
                && part.chars().all(|c| c.is_alphanumeric() || c == '_')
        })
    };
    match value.split_once(':') {
        Some((module, function)) if dotted(module.trim()) && dotted(function.trim()) => {
            let (module, function) = (module.trim(), function.trim());
            let first = function.split('.').next().unwrap_or(function);
            Ok(vec!["-c".into(), format!("from {module} import {first}; {function}()")])
        }
        None if dotted(value) => Ok(vec!["-m".into(), value.into()]),
        _ => Err(format!("its entry point {value:?} is not of the form `module:function`")),
    }
}

/// The module that starts the agent.
pub(super) fn module(args: &[String]) -> Option<&str> {
    let [flag, rest] = args else { return None };
    if flag == "-m" { Some(rest) } else { rest.strip_prefix("from ")?.split(' ').next() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_tell_the_generation() {
        for (requirement, expected) in [
            ("volttron-core (>=2.0.0rc13)", true),
            ("Volttron_Core>=2.0", true),
            ("volttron-lib-zmq==2.0.0rc11 ; python_version > '3.9'", true),
            ("volttron (>=11.0.0rc0,<12.0)", true),
            ("volttron<12,>=11.0", true),
            ("volttron", false),
            ("volttron>=10.0.5rc0,<11.0", false),
            ("volttron (>=10.0.4rc1)", false),
            ("volttron-listener>=2.0", false),
            ("gevent>=24", false),
        ] {
            assert_eq!(is_of_11(requirement), expected, "{requirement}");
        }
    }
}
