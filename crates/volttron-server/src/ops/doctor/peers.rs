//! Other platforms that this one is configured with: whether their addresses accept connections.

use std::collections::BTreeMap;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use volttron_utils::address::Address;
use volttron_utils::files::read_bounded;
use volttron_utils::keys::known_hosts::KnownHosts;

use super::{Report, Scene, quoted};
use crate::codes::Code;

/// How long one may take to accept.
const CONNECT: Duration = Duration::from_millis(600);
/// How many are tried; a list that long is no configuration of peers any more.
const MOST: usize = 32;
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Tries every peer at once.
pub(super) fn peers(scene: &Scene, report: &mut Report) {
    let peers = configured(scene);
    report.measured("other_platforms", peers.len());
    let tries: Vec<_> = peers
        .into_iter()
        .take(MOST)
        .map(|(peer, from)| {
            let to = peer.clone();
            (peer, from, thread::Builder::new().name("peer".into()).spawn(move || reach(&to)))
        })
        .collect();
    for (peer, from, tried) in tries {
        let Ok(Ok(Err(error))) = tried.map(thread::JoinHandle::join) else { continue };
        let (host, port) = peer.rsplit_once(':').unwrap_or((&peer, ""));
        let texts = [
            format!("{peer} ({from}) cannot be reached: {error}"),
            "what is to go to that platform waits or is lost".to_owned(),
            format!("nc -vz {} {port}", quoted(host.trim_matches(['[', ']']))),
        ];
        report.warn(Code::PeerUnreachable, peer.clone(), texts);
    }
}

fn reach(peer: &str) -> Result<(), String> {
    let mut last = "its name has no address".to_owned();
    for at in peer.to_socket_addrs().map_err(|e| e.to_string())? {
        match TcpStream::connect_timeout(&at, CONNECT) {
            Ok(_) => return Ok(()),
            Err(e) => last = e.to_string(),
        }
    }
    Err(last)
}

/// `host:port` of every peer, and where it is configured.
fn configured(scene: &Scene) -> BTreeMap<String, String> {
    let mut peers = BTreeMap::new();
    let mut add = |text: &str, from: &str| {
        if let Some(peer) = host_and_port(text) {
            peers.entry(peer).or_insert_with(|| from.to_owned());
        }
    };
    let home = scene.home.path();
    if let Ok(options) = &scene.options
        && let Some(central) = &options.volttron_central_address
    {
        add(central, "volttron-central-address");
    }
    let json = |name: &str| -> Option<Value> {
        serde_json::from_str(&read_bounded(&home.join(name), MAX_FILE_BYTES).ok()?).ok()
    };
    for address in json("external_address.json").iter().filter_map(Value::as_array).flatten() {
        add(address.as_str().unwrap_or_default(), "external_address.json");
    }
    for found in json("external_platform_discovery.json").iter().filter_map(Value::as_object).flatten() {
        add(found.1["vip-address"].as_str().unwrap_or_default(), "external_platform_discovery.json");
    }
    for host in foreign_hosts(scene, &scene.home.known_hosts()) {
        add(&host, "known_hosts");
    }
    peers
}

/// Hosts in `known_hosts` that are not this platform under one of its names.
fn foreign_hosts(scene: &Scene, path: &Path) -> Vec<String> {
    let Ok(hosts) = KnownHosts::load(path) else { return Vec::new() };
    let own_key =
        volttron_utils::keys::keystore::load(&scene.home.keystore()).ok().map(|k| k.public.to_string());
    let own_hosts: Vec<String> =
        scene.options.iter().flat_map(|o| o.vip_addresses.iter().map(Address::host_key)).collect();
    let foreign = |(host, key): &(&str, &str)| {
        !host.starts_with(['@', '/'])
            && own_key.as_deref() != Some(*key)
            && !own_hosts.iter().any(|own| own == host)
    };
    hosts.iter().filter(foreign).map(|(host, _)| host.to_owned()).collect()
}

/// `host:port` of an address or URL.
fn host_and_port(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let default = match scheme {
        "tcp" => None,
        "http" => Some(80),
        "https" => Some(443),
        "amqp" => Some(5672),
        "amqps" => Some(5671),
        _ => return None,
    };
    let has_port = authority.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && (!host.contains(':') || host.ends_with(']')) && port.parse::<u16>().is_ok()
    });
    match (has_port, default) {
        _ if authority.is_empty() => None,
        (true, _) => Some(authority.to_owned()),
        (false, Some(port)) => Some(format!("{authority}:{port}")),
        (false, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_peers() {
        for (text, expected) in [
            ("tcp://10.0.0.5:22916", Some("10.0.0.5:22916")),
            ("10.0.0.5:22916", Some("10.0.0.5:22916")),
            ("https://central", Some("central:443")),
            ("https://user:pw@central:8443/vc/?x", Some("central:8443")),
            ("tcp://[::1]:22916?serverkey=x", Some("[::1]:22916")),
            ("https://[::1]", Some("[::1]:443")),
            ("amqps://c", Some("c:5671")),
            ("tcp://nowhere", None),
            ("ipc://@/run/x", None),
            ("", None),
        ] {
            assert_eq!(host_and_port(text).as_deref(), expected, "{text}");
        }
    }
}
