//! Key files: whether each can be used, and only by its owner; and what `known_hosts` says of this platform.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use volttron_utils::address::{Address, Scheme};
use volttron_utils::identity::CONTROL_CONNECTION;
use volttron_utils::keys::keystore::{self, KeystoreError};
use volttron_utils::keys::known_hosts::KnownHosts;

use super::{Report, Scene, make_readable, put_aside, quoted, shown};
use crate::codes::Code;
use crate::supervisor::{InstalledAgent, left_behind};

/// Every keystore of the home.
pub(super) fn keystores(scene: &Scene, report: &mut Report) {
    if !scene.auth() {
        return;
    }
    let mut files = vec![(scene.home.keystore(), "the platform".to_owned())];
    for entry in fs::read_dir(scene.home.path().join("keystores")).into_iter().flatten().flatten() {
        let identity = entry.file_name().to_string_lossy().into_owned();
        files.push((entry.path().join("keystore.json"), identity));
    }
    for (path, owner) in &files {
        keystore(scene, path, owner, report);
    }
    let running: Vec<String> = left_behind(&scene.home).into_iter().map(|process| process.identity).collect();
    for agent in scene.agents.iter() {
        agent_keystore(scene, agent, running.contains(&agent.identity), report);
    }
    let isolated = scene.agents.iter().filter(|a| a.dir.user_id().exists()).count();
    if isolated > 0 {
        report.measured("agents_with_users", isolated);
    }
}

/// The platform's and the services'. One that is missing is made by the next start.
fn keystore(scene: &Scene, path: &Path, owner: &str, report: &mut Report) {
    let error = match keystore::load(path) {
        Ok(_) | Err(KeystoreError::Missing(_)) => return open_to_others(path, owner, report),
        Err(error) => error,
    };
    let what = format!("the keystore of {owner} cannot be used: {error}");
    let (why, fix) = if unreadable(&error) {
        ("without its key it cannot connect", make_readable(path, scene.me))
    } else {
        let aside = put_aside(path, "damaged");
        let fix = match scene.running {
            // Nobody can tell the platform to end without this key.
            Some(pid) if owner == CONTROL_CONNECTION => {
                format!("{aside} && kill {pid} && tail --pid={pid} -f /dev/null && {}", scene.up())
            }
            _ => aside,
        };
        let why = "without its key it cannot connect; a backup has it, and the next start makes a new one, which has to be \
                   made known to other platforms that know the old one";
        (why, fix)
    };
    report.fault(Code::Keystore, path.display().to_string(), [what, why.to_owned(), fix]);
}

fn agent_keystore(scene: &Scene, agent: &InstalledAgent, running: bool, report: &mut Report) {
    let (path, identity) = (agent.keystore(), &agent.identity);
    let error = match keystore::load(&path) {
        Ok(_) => return open_to_others(&path, identity, report),
        // That of an agent with a user of its own is nobody else's.
        Err(error) if unreadable(&error) && has_own_user(&path) => return,
        Err(error) => error,
    };
    let what = format!("the keystore of {identity} cannot be used: {error}");
    let why = "without its key it cannot connect";
    let (why, fix) = if unreadable(&error) {
        (why.to_owned(), make_readable(&path, scene.me))
    } else {
        let admit = scene.vctl(&format!("auth admit {}", quoted(identity)));
        // Its process goes on with the key that it has read, until it has to connect again.
        let restart = running && scene.running.is_some();
        let fix = if restart {
            format!("{admit} && {}", scene.vctl(&format!("restart {}", quoted(identity))))
        } else {
            admit
        };
        let why = format!("{why}; a backup has it, and the command makes a new one that this platform knows");
        (why, fix)
    };
    report.fault(Code::Keystore, path.display().to_string(), [what, why, fix]);
}

/// Whether the error tells nothing about the file.
fn unreadable(error: &KeystoreError) -> bool {
    matches!(error, KeystoreError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

fn open_to_others(path: &Path, owner: &str, report: &mut Report) {
    if keystore::is_open_to_others(path) {
        let subject = path.display().to_string();
        let bits = volttron_utils::files::open_bits(path).unwrap_or_default();
        let texts = [
            format!(
                "others have access to the keystore of {owner} (mode {:03o}, not 600): {subject}",
                0o600 | bits
            ),
            format!("whoever reads it can act as {owner}"),
            format!("chmod 600 {}", shown(path)),
        ];
        report.fault(Code::KeystoreOpen, subject, texts);
    }
}

fn has_own_user(keystore: &Path) -> bool {
    keystore.parent().is_some_and(|dir| dir.join("USER_ID").exists())
}

/// Whether `known_hosts` has the key of this platform for its own addresses.
pub(super) fn known_hosts(scene: &Scene, report: &mut Report) {
    let path: PathBuf = scene.home.known_hosts();
    let subject = path.display().to_string();
    let hosts = match KnownHosts::load(&path) {
        Ok(hosts) => hosts,
        Err(error) => {
            let texts = [
                error.to_string(),
                "the platform does not start, and agents do not know its key".to_owned(),
                put_aside(&path, "damaged"),
            ];
            return report.fault(Code::KnownHosts, subject, texts);
        }
    };
    let (Ok(options), Ok(own)) = (&scene.options, keystore::load(&scene.home.keystore())) else { return };
    if !options.auth {
        return;
    }
    let own = own.public.to_string();
    let addresses = options.vip_addresses.iter().chain([&options.local_address]);
    let served =
        addresses.filter(|a| matches!(a.scheme, Scheme::Tcp | Scheme::Ipc) && a.secretkey().is_none());
    for host in served.map(Address::host_key) {
        let Some((_, key)) = hosts.iter().find(|(known, key)| *known == host && *key != own) else {
            continue;
        };
        let texts = [
            format!("known_hosts has the key {key} for {host}, and this platform has {own}"),
            "agents take the platform for somebody else and do not connect".to_owned(),
            scene.vctl(&format!("auth add-known-host --host {} --serverkey={own}", quoted(&host))),
        ];
        report.fault(Code::WrongServerKey, host, texts);
    }
}
