//! Installed agents on disk: whether each can be started; what interrupted changes and newer versions left.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use volttron_utils::files::{self, FileLock, TEMP_PREFIX};
use volttron_utils::home::AgentDir;
use volttron_utils::identity;

use super::{Report, Scene, quoted, shown};
use crate::codes::Code;
use crate::install::history::History;
use crate::install::{self, MANIFEST_FORMAT, python};
use crate::supervisor::InstalledAgent;
use crate::supervisor::installed::{Manifest, Runtime};

/// Whether each agent has what it needs to be started.
pub(super) fn agents(scene: &Scene, report: &mut Report) {
    report.measured("agents", scene.agents.len());
    for skipped in scene.skipped.iter() {
        incomplete(scene, skipped, report);
    }
    for agent in scene.agents.iter() {
        match &agent.manifest {
            Some(manifest) if manifest.format > MANIFEST_FORMAT => newer(scene, agent, manifest, report),
            Some(manifest) if manifest.runtime == Runtime::External => {}
            Some(manifest) => program(scene, agent, manifest, report),
            None => older(scene, agent, report),
        }
    }
}

/// A directory that is skipped: an agent's with damaged files, or none at all.
fn incomplete(scene: &Scene, skipped: &str, report: &mut Report) {
    let subject = skipped.split(": ").next().unwrap_or(skipped);
    let dir = AgentDir::at(subject);
    let identity = dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let was_agent = [dir.uuid(), dir.launch(), dir.keystore()].iter().any(|file| file.exists());
    if was_agent && identity::is_valid(&identity) {
        let last = History::load(&dir).events.pop();
        let source = last.map(|event| source_of(&event.source, &event.package, &event.version));
        let texts = [
            format!("the agent {identity} is damaged: {skipped}"),
            "it cannot be started or listed; its keys, data and configuration are still there".to_owned(),
            reinstall(scene, source, &identity),
        ];
        return report.fault(Code::AgentIncomplete, subject, texts);
    }
    let backups = scene.home.backups();
    let to = files::free_name(&backups.join(&identity), "aside");
    let texts = [
        skipped.to_owned(),
        "it is no agent, and is skipped".to_owned(),
        format!("mkdir -p {} && mv -n {} {}", shown(&backups), quoted(subject), shown(&to)),
    ];
    report.warn(Code::AgentIncomplete, subject, texts);
}

/// How an agent is installed again, from where it came. Keys, data and configuration stay.
fn again(scene: &Scene, agent: &InstalledAgent) -> String {
    let source = agent.manifest.as_ref().map(|m| source_of(&m.source, &m.package, &m.version));
    reinstall(scene, source, &agent.identity)
}

fn reinstall(scene: &Scene, source: Option<Source>, identity: &str) -> String {
    let (source, note) = match source {
        Some(Source { path: Some(path), .. }) if !path.exists() => {
            ("PATH".to_owned(), format!("  # PATH: where it lies now, {} is gone", path.display()))
        }
        Some(source) => (source.words, String::new()),
        None => ("PATH".to_owned(), "  # PATH: the program or package that it was installed from".to_owned()),
    };
    let install = scene.vctl(&format!("install {source} --vip-identity {} --force", quoted(identity)));
    // Installing is the platform's work.
    if scene.running.is_some() {
        format!("{install}{note}")
    } else {
        format!("{} && {install}{note}", scene.up())
    }
}

/// Where an agent came from.
struct Source {
    /// What `vctl install` takes.
    words: String,
    /// The file or directory, if it is one.
    path: Option<PathBuf>,
}

/// What `vctl install` takes, from the record of where an agent came from.
pub(in crate::ops) fn install_source(manifest: &Manifest) -> String {
    source_of(&manifest.source, &manifest.package, &manifest.version).words
}

fn source_of(source: &Value, package: &str, version: &str) -> Source {
    if let Some(requirement) = source["requirement"].as_str() {
        return Source { words: quoted(&format!("pypi:{requirement}")), path: None };
    }
    let words = match (source["path"].as_str(), source["registry"].as_str()) {
        (Some(path), _) => return Source { words: quoted(path), path: Some(path.into()) },
        (None, Some("crates.io") | None) => format!("{package}@{version}"),
        (None, Some(registry)) => format!("{package}@{version} --registry {}", quoted(registry)),
    };
    Source { words, path: None }
}

fn program(scene: &Scene, agent: &InstalledAgent, manifest: &Manifest, report: &mut Report) {
    let identity = agent.identity.as_str();
    let exec: PathBuf = agent.dir.path().join(&manifest.exec);
    let why = || "it cannot be started".to_owned();
    if manifest.runtime == Runtime::Python
        && let Some(gone) = exec.parent().and_then(Path::parent).and_then(python::missing_interpreter)
    {
        let what = format!("{identity} runs with the Python {}, which is not there", gone.display());
        return report.fault(Code::InterpreterGone, identity, [what, why(), again(scene, agent)]);
    }
    let Ok(meta) = fs::metadata(&exec) else {
        let what = format!("the program of {identity} is missing: {}", tidy(&exec).display());
        return report.fault(Code::ProgramMissing, identity, [what, why(), again(scene, agent)]);
    };
    if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 {
        let what = format!("the program of {identity} is not executable: {}", tidy(&exec).display());
        let fix = format!("chmod +x {}", shown(&tidy(&exec)));
        return report.fault(Code::ProgramMissing, identity, [what, why(), fix]);
    }
    let mut head = Vec::new();
    let read =
        File::open(&exec).and_then(|file| file.take(install::elf::HEADER_BYTES).read_to_end(&mut head));
    if read.is_ok()
        && head.starts_with(install::elf::MAGIC)
        && let Err(wrong) = install::elf::check(&head)
    {
        let what = format!("the program of {identity} cannot run here: {wrong}");
        report.fault(Code::OtherMachine, identity, [what, why(), again(scene, agent)]);
    }
}

/// Without the way through the agent's directory.
fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        if part == std::path::Component::ParentDir {
            out.pop();
        } else {
            out.push(part);
        }
    }
    out
}

fn newer(scene: &Scene, agent: &InstalledAgent, manifest: &Manifest, report: &mut Report) {
    let texts = [
        format!(
            "{} was installed by a newer version: its agent.json has format {}, and {MANIFEST_FORMAT} is known",
            agent.identity, manifest.format
        ),
        "it may not be started as it should".to_owned(),
        again(scene, agent),
    ];
    report.fault(Code::NewerHome, agent.identity.as_str(), texts);
}

/// An agent of the 9.x layout runs with the operator's Python.
fn older(scene: &Scene, agent: &InstalledAgent, report: &mut Report) {
    let chosen = scene.options.as_ref().ok().and_then(|options| options.python.interpreter.clone());
    let found = match &chosen {
        Some(path) => path.exists(),
        None => python::on_path("python").or_else(|| python::on_path("python3")).is_some(),
    };
    if !found {
        let name = chosen.map_or_else(|| "python on PATH".to_owned(), |path| path.display().to_string());
        let texts = [
            format!("{} needs Python with VOLTTRON 9.x, and there is no {name}", agent.identity),
            "it cannot be started".to_owned(),
            format!("echo 'agent-python = /PATH/TO/python' >> {}", shown(&scene.home.config_file())),
        ];
        report.fault(Code::InterpreterGone, agent.identity.as_str(), texts);
    }
}

/// What interrupted changes left, and whether a newer version was here.
pub(super) fn changes(scene: &Scene, report: &mut Report) {
    last_version(scene, report);
    // Whoever installs at this moment leaves the same files, and takes them away.
    let busy = FileLock::is_held(&scene.home.bin().join(".lock")).unwrap_or(false);
    let mut left: Vec<PathBuf> = Vec::new();
    let journal = scene.home.configuration_store().join(".transaction");
    // A running platform finishes it by itself, at its next change at the latest.
    if scene.running.is_none() && journal.exists() {
        left.push(journal);
    }
    if !busy {
        for entry in fs::read_dir(scene.home.agents()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if [TEMP_PREFIX, ".new-", ".removed"].iter().any(|prefix| name.starts_with(prefix)) {
                left.push(entry.path());
            } else {
                left.extend(
                    [".change", ".next"]
                        .map(|part| entry.path().join(part))
                        .into_iter()
                        .filter(|p| p.exists()),
                );
            }
        }
    }
    for path in left {
        let fix = if scene.running.is_some() { scene.restart() } else { scene.up() };
        let texts = [
            format!("a change was interrupted: {}", path.display()),
            "it is neither made nor undone; the next start finishes it".to_owned(),
            fix,
        ];
        report.warn(Code::Unfinished, path.display().to_string(), texts);
    }
}

fn last_version(scene: &Scene, report: &mut Report) {
    let note = fs::read_to_string(scene.home.lock_file()).unwrap_or_default();
    let Some(theirs) = note.lines().find_map(|line| line.strip_prefix("version:")).map(str::trim) else {
        return;
    };
    let ours = crate::platform::VERSION;
    if numbers(theirs) > numbers(ours) {
        let texts = [
            format!("the last platform of this home had version {theirs}, and this program has {ours}"),
            "it may have written what this version does not understand".to_owned(),
            format!("cargo install volttron-server --version {theirs}"),
        ];
        report.warn(Code::NewerHome, scene.home.path().display().to_string(), texts);
    }
}

/// A version's numbers, for comparing.
fn numbers(version: &str) -> Vec<u64> {
    let plain = version.split(['-', '+']).next().unwrap_or_default();
    plain.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        for (a, b) in [("0.10.0", "0.9.9"), ("1.0.0", "0.99.0"), ("1.2.3", "1.2.2-rc1")] {
            assert!(numbers(a) > numbers(b), "{a} {b}");
        }
        assert_eq!(numbers("1.2.3+x"), numbers("1.2.3"));
    }

    #[test]
    fn where_an_agent_came_from_is_what_install_takes() {
        let manifest = |source: serde_json::Value| -> Manifest {
            serde_json::from_value(serde_json::json!({
                "format": 1, "package": "pump", "version": "1.0", "source": source, "exec": "x", "runtime": "python"
            }))
            .unwrap()
        };
        for (source, expected) in [
            (serde_json::json!({"kind": "path", "path": "/a b"}), "'/a b'"),
            (serde_json::json!({"kind": "registry", "registry": "ours"}), "pump@1.0 --registry ours"),
            (serde_json::json!({"kind": "registry", "registry": "crates.io"}), "pump@1.0"),
            (serde_json::json!({"kind": "pypi", "requirement": "pump==1.0"}), "pypi:pump==1.0"),
            (serde_json::json!({"kind": "pypi", "requirement": "pump<2"}), "'pypi:pump<2'"),
        ] {
            assert_eq!(install_source(&manifest(source)), expected);
        }
    }

    #[test]
    fn paths_are_shown_without_detours() {
        assert_eq!(tidy(Path::new("/h/agents/a/../../bin/p/bin/p")), Path::new("/h/bin/p/bin/p"));
    }
}
