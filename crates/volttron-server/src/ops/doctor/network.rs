//! The addresses the platform listens at, and who has them.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use volttron_utils::address::{Address, Scheme};
use volttron_utils::config::{Entry, OptionFile};
use volttron_utils::files::FileLock;
use volttron_utils::home::VOLTTRON_HOME;

use super::{Report, Scene, quoted, shown};
use crate::codes::Code;
use crate::processes;
use crate::supervisor::user_name;

/// How many ports behind one that is taken are tried.
const PORTS: u16 = 100;
/// The file that a platform has open as long as it lives.
const LOCK: &str = "volttron.lock";

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
    let own = holders.iter().any(|holder| holder.is_of(scene));
    if scene.running.is_some() {
        match holders.first() {
            Some(other) if !own => taken(scene, address, &other.to_string(), report),
            None => not_served(scene, &subject, report),
            Some(_) => {}
        }
        return;
    }
    match TcpListener::bind(wanted) {
        // This home's is starting or stopping, and has it rightly.
        _ if own => {}
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            let unseen = || "a process that cannot be seen from here".to_owned();
            taken(scene, address, &holders.first().map_or_else(unseen, ToString::to_string), report);
        }
        Err(e) => cannot_bind(scene, &subject, &e, report),
    }
}

/// Whoever has the address may be somebody's platform, and goes on: this home gets another one.
fn taken(scene: &Scene, address: &Address, who: &str, report: &mut Report) {
    let subject = address.base();
    let why =
        "the platform cannot start while somebody else has its address; clients have to be told another one";
    let fix = other_port(scene, address);
    report.fault(
        Code::AddressTaken,
        subject.clone(),
        [format!("{subject} is taken by {who}"), why.to_owned(), fix],
    );
}

/// The command that gives the setting a free port.
fn other_port(scene: &Scene, address: &Address) -> String {
    let config = scene.home.config_file();
    let Some(port) = address.port() else { return edit(&config, 1) };
    let free = |port: &u16| {
        let other =
            address.base().replace(&format!(":{}", address.port().unwrap_or_default()), &format!(":{port}"));
        let other = other.parse::<Address>().ok().and_then(|other| resolve(&other));
        other.is_some_and(|at| TcpListener::bind(at).is_ok())
    };
    let other = (port.saturating_add(1)..=port.saturating_add(PORTS)).find(free);
    match (line_of_address(scene, port), other) {
        (Some(line), Some(other)) => format!("sed -i '{line}s/:{port}/:{other}/' {}", shown(&config)),
        (Some(line), None) => edit(&config, line),
        // Without a line it was given on a command line, or in a file that this one includes.
        (None, other) => format!(
            "{} -- --vip-address {}  # or change vip-address where the platform is given it",
            scene.up(),
            quoted(&address.base().replace(&format!(":{port}"), &format!(":{}", other.unwrap_or(0))))
        ),
    }
}

/// The line of the configuration file that sets an address with this port.
fn line_of_address(scene: &Scene, port: u16) -> Option<usize> {
    let file = OptionFile::load(&scene.home.config_file()).ok()?;
    let sets = |entry: &&Entry| entry.key == "vip-address" && entry.value().contains(&format!(":{port}"));
    file.entries().iter().rev().find(sets).map(|entry| entry.line)
}

fn edit(config: &Path, line: usize) -> String {
    format!("${{EDITOR:-nano}} +{line} {}", shown(config))
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

fn not_served(scene: &Scene, subject: &str, report: &mut Report) {
    let texts = [
        format!("{subject} is configured, and the running platform does not listen there"),
        "agents and platforms that are told that address do not reach it".to_owned(),
        scene.restart(),
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
        if FileLock::is_held(&scene.home.lock_file()).unwrap_or(false)
            || holder.as_ref().is_some_and(|holder| holder.is_of(scene))
        {
            return;
        }
        let who = holder.as_ref().map_or_else(|| "another process".to_owned(), ToString::to_string);
        let subject = address.base();
        let look = match holder.and_then(|h| h.pid) {
            Some(pid) => format!("ps -o pid,user,lstart,args -p {pid}"),
            None => "sudo ss -lxp".to_owned(),
        };
        let texts = [
            format!("{subject} is taken by {who}"),
            "the platform cannot start while somebody else has its address".to_owned(),
            format!("{look}  # then end it in the way that it was started"),
        ];
        report.fault(Code::AddressTaken, subject, texts);
    }
}

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    pid: Option<u32>,
    name: String,
    /// Of the socket, if that is known.
    user: Option<u32>,
    /// The home, of a platform.
    home: Option<PathBuf>,
}

impl Holder {
    /// Whether it is the platform of this home.
    fn is_of(&self, scene: &Scene) -> bool {
        let same = |home: &PathBuf| {
            let id = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
            id(home).is_some_and(|theirs| Some(theirs) == id(scene.home.path()))
        };
        match (self.pid, scene.running) {
            (Some(pid), Some(running)) if pid == running => true,
            // A process with privileges of its own hides its files, also from its user.
            (None, Some(running)) => self.user.is_some() && self.user == processes::user(running),
            _ => self.home.as_ref().is_some_and(same),
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.pid, self.user) {
            (Some(pid), _) => write!(f, "{} (pid {pid})", self.name)?,
            (None, Some(user)) => write!(f, "a process of the user {}", user_name(user))?,
            (None, None) => f.write_str("a process of another user")?,
        }
        match &self.home {
            Some(home) => write!(f, ", the platform of {}", home.display()),
            None => Ok(()),
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
        inodes.extend(text.lines().skip(1).filter_map(listening).filter_map(|(at, user, inode)| {
            let any = at.ip().is_unspecified() || wanted.ip().is_unspecified();
            (at.port() == wanted.port() && (any || at.ip() == wanted.ip())).then_some((user, inode))
        }));
    }
    inodes.into_iter().map(|(user, inode)| holder_of(inode, Some(user))).collect()
}

/// Address, user and inode of a listening socket in a line of `/proc/net/tcp`.
fn listening(line: &str) -> Option<(SocketAddr, u32, u64)> {
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
    let at = SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?);
    Some((at, fields.get(7)?.parse().ok()?, fields.get(9)?.parse().ok()?))
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
    inode.map(|inode| holder_of(inode, None))
}

/// The process that has a socket open. Those of other users cannot be looked into.
fn holder_of(inode: u64, user: Option<u32>) -> Holder {
    let wanted = format!("socket:[{inode}]");
    let is_it = |path: PathBuf| fs::read_link(path).is_ok_and(|to| to.as_os_str() == &*wanted);
    let pid = processes::all_pids().find(|pid| processes::open_files(*pid).any(is_it));
    let name = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok()).unwrap_or_default();
    let name = name.trim().to_owned();
    let home = pid.and_then(|pid| home_of(pid, &name));
    Holder { pid, name, user, home }
}

/// The home of a platform: where it has its lock, else what its environment says.
fn home_of(pid: u32, name: &str) -> Option<PathBuf> {
    let locks = processes::open_files(pid).filter_map(|file| fs::read_link(file).ok());
    let locked = locks
        .filter(|path| path.file_name().is_some_and(|name| name == LOCK))
        .find_map(|path| Some(path.parent()?.to_owned()));
    if locked.is_some() || name != "volttron" {
        return locked;
    }
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = |name: &str| {
        let words = environment.split(|b| *b == 0).filter_map(|word| std::str::from_utf8(word).ok());
        words
            .filter_map(|word| word.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| PathBuf::from(value))
    };
    value(VOLTTRON_HOME).or_else(|| Some(value("HOME")?.join(".volttron")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_read() {
        let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        let four = word([127, 0, 0, 1]);
        let line =
            |at: &str, state: &str| format!("   0: {at}:5984 00000000:0000 {state} 0:0 0:0 0 5 0 77 1");
        assert_eq!(listening(&line(&four, "0A")), Some(("127.0.0.1:22916".parse().unwrap(), 5, 77)));
        assert_eq!(listening(&line(&four, "01")), None);
        let mapped = [word([0; 4]), word([0; 4]), word([0, 0, 0xff, 0xff]), four].concat();
        assert_eq!(listening(&line(&mapped, "0A")), Some(("127.0.0.1:22916".parse().unwrap(), 5, 77)));
        assert_eq!(listening(&line(&"0".repeat(32), "0A")), Some(("[::]:22916".parse().unwrap(), 5, 77)));
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
