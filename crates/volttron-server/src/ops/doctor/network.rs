//! The addresses the platform listens at, and who has them.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use volttron_utils::address::{Address, Scheme};

use super::{Report, Scene, shown};
use crate::codes::Code;
use crate::processes;

/// Whether each configured address is free, or the platform's.
pub(super) fn addresses(scene: &Scene, report: &mut Report) {
    let Ok(options) = &scene.options else { return };
    for address in &options.vip_addresses {
        match address.scheme {
            Scheme::Tcp => tcp(scene, address, report),
            _ => local(scene, address, report),
        }
    }
    local(scene, &options.local_address, report);
}

fn tcp(scene: &Scene, address: &Address, report: &mut Report) {
    let Some(wanted) = resolve(address) else {
        // A wildcard port, or an interface's name: nothing to compare with.
        return;
    };
    let subject = address.base();
    let holders = listeners(wanted);
    if let Some(pid) = scene.running {
        match holders.iter().find(|h| h.pid != Some(pid)) {
            Some(other) if holders.iter().all(|h| h.pid != Some(pid)) => {
                taken(scene, &subject, &other.to_string(), other.pid, report);
            }
            None if holders.is_empty() => not_served(&subject, report),
            _ => {}
        }
        return;
    }
    match TcpListener::bind(wanted) {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            let holder = holders.first();
            let who = holder
                .map_or_else(|| "a process that cannot be seen from here".to_owned(), ToString::to_string);
            taken(scene, &subject, &who, holder.and_then(|h| h.pid), report);
        }
        Err(e) => cannot_bind(scene, &subject, &e, report),
    }
}

fn taken(scene: &Scene, subject: &str, who: &str, pid: Option<u32>, report: &mut Report) {
    let why = "the platform cannot start while somebody else has its address".to_owned();
    let fix = match pid {
        Some(pid) => format!("kill {pid}"),
        None => format!("sudo ss -ltnp; then change vip-address in {}", shown(&scene.home.config_file())),
    };
    report.fault(Code::AddressTaken, subject, [format!("{subject} is taken by {who}"), why, fix]);
}

fn cannot_bind(scene: &Scene, subject: &str, error: &io::Error, report: &mut Report) {
    let because = match error.kind() {
        io::ErrorKind::AddrNotAvailable => "no network interface of this machine has it".to_owned(),
        io::ErrorKind::PermissionDenied => "ports below 1024 need privileges".to_owned(),
        _ => error.to_string(),
    };
    let what = format!("{subject} cannot be listened at: {because}");
    let why = "the platform does not start with it".to_owned();
    let fix = format!("ip address; then change vip-address in {}", shown(&scene.home.config_file()));
    report.fault(Code::BindFailed, subject, [what, why, fix]);
}

fn not_served(subject: &str, report: &mut Report) {
    let texts = [
        format!("{subject} is configured, and the running platform does not listen there"),
        "agents and platforms that are told that address do not reach it".to_owned(),
        "vctl shutdown --platform; volttron -v -l volttron.log".to_owned(),
    ];
    report.warn(Code::AddressNotServed, subject, texts);
}

fn local(scene: &Scene, address: &Address, report: &mut Report) {
    let Some(name) = address.endpoint.strip_prefix('@').filter(|_| address.scheme == Scheme::Ipc) else {
        return;
    };
    if scene.running.is_some() {
        return;
    }
    let bound = std::os::unix::net::SocketAddr::from_abstract_name(name.as_bytes())
        .and_then(|name| UnixListener::bind_addr(&name));
    if bound.is_err_and(|e| e.kind() == io::ErrorKind::AddrInUse) {
        let holder = local_holder(name);
        // A platform that is starting or stopping has it rightly.
        if volttron_utils::files::FileLock::is_held(&scene.home.lock_file()).unwrap_or(false) {
            return;
        }
        let who = holder.as_ref().map_or_else(|| "another process".to_owned(), ToString::to_string);
        taken(scene, &address.base(), &who, holder.and_then(|h| h.pid), report);
    }
}

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    pid: Option<u32>,
    name: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "{} (pid {pid})", self.name),
            None => f.write_str("a process of another user"),
        }
    }
}

/// The address as a socket has it; `*` is any.
fn resolve(address: &Address) -> Option<SocketAddr> {
    let port = address.port().filter(|port| *port != 0)?;
    match address.host()? {
        "*" => Some((Ipv4Addr::UNSPECIFIED, port).into()),
        host => (host.trim_matches(['[', ']']), port).to_socket_addrs().ok()?.next(),
    }
}

/// Who listens where a listener at `wanted` would be in the way.
fn listeners(wanted: SocketAddr) -> Vec<Holder> {
    let mut inodes = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        inodes.extend(text.lines().skip(1).filter_map(listening).filter_map(|(at, inode)| {
            let any = at.ip().is_unspecified() || wanted.ip().is_unspecified();
            (at.port() == wanted.port() && (any || at.ip() == wanted.ip())).then_some(inode)
        }));
    }
    inodes.into_iter().map(holder_of).collect()
}

/// Address and inode of a listening socket in a line of `/proc/net/tcp`.
fn listening(line: &str) -> Option<(SocketAddr, u64)> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    if *fields.get(3)? != LISTEN {
        return None;
    }
    let (ip, port) = fields.get(1)?.split_once(':')?;
    // Words of the machine's byte order, most machines being little-endian.
    let words: Option<Vec<u8>> = ip
        .as_bytes()
        .chunks(8)
        .map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok().map(u32::to_ne_bytes))
        .collect::<Option<Vec<_>>>()
        .map(|words| words.concat());
    let words = words?;
    let ip = match (<[u8; 4]>::try_from(&words[..]), <[u8; 16]>::try_from(&words[..])) {
        (Ok(four), _) => IpAddr::V4(Ipv4Addr::from(four)),
        (_, Ok(sixteen)) => {
            let ip = Ipv6Addr::from(sixteen);
            ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
        }
        _ => return None,
    };
    Some((SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?), fields.get(9)?.parse().ok()?))
}

/// Who listens at an abstract name.
fn local_holder(name: &str) -> Option<Holder> {
    let text = fs::read_to_string("/proc/net/unix").ok()?;
    let wanted = format!("@{name}");
    let inode = text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Listening sockets have this flag; connections to them have the same name.
        let listens = fields.get(3) == Some(&"00010000") && fields.get(7) == Some(&wanted.as_str());
        listens.then(|| fields.get(6)?.parse().ok()).flatten()
    });
    inode.map(holder_of)
}

/// The process that has a socket open. Those of other users cannot be looked into.
fn holder_of(inode: u64) -> Holder {
    let wanted = format!("socket:[{inode}]");
    let is_it = |path: PathBuf| fs::read_link(path).is_ok_and(|to| to.as_os_str() == &*wanted);
    let pid = processes::all_pids().find(|pid| processes::open_files(*pid).any(is_it));
    let name = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok()).unwrap_or_default();
    Holder { pid, name: name.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_read() {
        let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        let four = word([127, 0, 0, 1]);
        let line =
            |at: &str, state: &str| format!("   0: {at}:5984 00000000:0000 {state} 0:0 0:0 0 0 0 77 1");
        assert_eq!(listening(&line(&four, "0A")), Some(("127.0.0.1:22916".parse().unwrap(), 77)));
        assert_eq!(listening(&line(&four, "01")), None);
        let mapped = [word([0; 4]), word([0; 4]), word([0, 0, 0xff, 0xff]), four].concat();
        assert_eq!(listening(&line(&mapped, "0A")), Some(("127.0.0.1:22916".parse().unwrap(), 77)));
        assert_eq!(listening(&line(&"0".repeat(32), "0A")), Some(("[::]:22916".parse().unwrap(), 77)));
        assert_eq!(listening("  sl  local_address rem_address"), None);
    }

    #[test]
    fn the_process_that_listens_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let holders = listeners(listener.local_addr().unwrap());
        assert_eq!(holders.iter().map(|h| h.pid).collect::<Vec<_>>(), [Some(std::process::id())]);
        let free = { TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
        assert!(listeners(free).is_empty());
    }
}
