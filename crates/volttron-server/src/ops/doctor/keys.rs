//! Key files: whether each can be used, and only by its owner; and what `known_hosts` says of this platform.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use volttron_utils::address::{Address, Scheme};
use volttron_utils::keys::keystore::{self, KeystoreError};
use volttron_utils::keys::known_hosts::KnownHosts;

use super::{Report, Scene, quoted, shown};
use crate::codes::Code;

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
    files.extend(scene.agents.iter().map(|agent| (agent.keystore(), agent.identity.clone())));
    for (path, owner) in &files {
        keystore(path, owner, report);
    }
    let isolated = scene.agents.iter().filter(|a| a.dir.user_id().exists()).count();
    if isolated > 0 {
        report.measured("agents_with_users", isolated);
    }
}

fn keystore(path: &Path, owner: &str, report: &mut Report) {
    let subject = path.display().to_string();
    match keystore::load(path) {
        // The first start makes the platform's and the services'; an agent without keys is found with its entry.
        Ok(_) | Err(KeystoreError::Missing(_)) => {}
        // An agent's with a user of its own is nobody else's.
        Err(KeystoreError::Io { source, .. })
            if source.kind() == io::ErrorKind::PermissionDenied && has_own_user(path) => {}
        Err(error) => {
            let readable = !matches!(error, KeystoreError::Io { .. });
            let fix = if readable {
                format!("mv {0} {0}.damaged", shown(path))
            } else {
                format!("sudo chown {} {1}; chmod 600 {1}", rustix::process::geteuid().as_raw(), shown(path))
            };
            let what = format!("the keystore of {owner} cannot be used: {error}");
            let why = if readable {
                "without its key it cannot connect; a backup has it, a new key has to be made known to all peers"
            } else {
                "without its key it cannot connect"
            };
            return report.fault(Code::Keystore, subject, [what, why.to_owned(), fix]);
        }
    }
    if keystore::is_open_to_others(path) {
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
                format!("mv {0} {0}.damaged", shown(&path)),
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
            format!("vctl auth add-known-host --host {} --serverkey={own}", quoted(&host)),
        ];
        report.fault(Code::WrongServerKey, host, texts);
    }
}
