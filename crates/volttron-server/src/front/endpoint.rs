//! Where the platform listens and with what security (vip.md section 5.2).

use thiserror::Error;
use volttron_utils::{
    address::{Address, BadAddress, Mechanism, Scheme},
    keys::{BadKey, SecretKey},
};

use super::zap;

/// Longest path of an ipc endpoint, `@` of an abstract name included: the system's `sun_path` less its NUL.
const MAX_IPC_PATH_BYTES: usize = 107;

/// What connections of an endpoint have to prove.
#[derive(Clone)]
pub enum Security {
    /// Nothing.
    Null,
    /// A key, checked by ZAP; the server proves this one.
    Curve(SecretKey),
}

/// One endpoint to bind.
#[derive(Clone)]
pub struct Bind {
    /// As libzmq takes it: `tcp://host:port`, `ipc://@name`, `ipc:///path`.
    pub endpoint: String,
    /// Its security.
    pub security: Security,
    /// Whether IPv6 names and addresses are meant as well.
    pub ipv6: bool,
}

/// What is said of an address that somebody else has.
pub(crate) const IN_USE: &str = "it is in use; another platform or program listens there";

/// Why the platform does not listen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address cannot be read.
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// A key in the address cannot be read.
    #[error("secretkey in the address {endpoint}: {source}")]
    Key {
        /// The address without its query.
        endpoint: String,
        /// What is wrong.
        source: BadKey,
    },
    /// `server=CURVE` without any key.
    #[error(
        "{endpoint} asks for server=CURVE, but there is neither a secretkey in the address nor a platform key"
    )]
    NoKey {
        /// The address without its query.
        endpoint: String,
    },
    /// `server=PLAIN`.
    #[error(
        "{endpoint} asks for server=PLAIN, which sends passwords in clear text and is not supported; remove \
         server=PLAIN for CURVE, or bind a loopback address with server=NULL"
    )]
    Plain {
        /// The address without its query.
        endpoint: String,
    },
    /// An address other programs cannot reach.
    #[error("{endpoint}: inproc addresses exist only inside the process and cannot be a vip-address")]
    Inproc {
        /// The address.
        endpoint: String,
    },
    /// The system refuses.
    #[error("cannot listen on {endpoint}: {why}")]
    System {
        /// The address without its query.
        endpoint: String,
        /// In words, with what can be done about it.
        why: String,
        /// What it said.
        source: zmq::Error,
    },
}

impl Bind {
    /// Reads an address. `platform_key` is the platform's key when authentication is on: it secures every endpoint
    /// whose address does not ask for something else.
    pub fn new(address: &Address, platform_key: Option<&SecretKey>) -> Result<Self, BindError> {
        let endpoint = format!("{}://{}", address.scheme.as_str(), address.endpoint);
        if address.scheme == Scheme::Inproc {
            return Err(BindError::Inproc { endpoint });
        }
        let own_key = address
            .secretkey()
            .transpose()
            .map_err(|source| BindError::Key { endpoint: endpoint.clone(), source })?;
        let security = match (address.mechanism()?, own_key.or_else(|| platform_key.cloned())) {
            (Some(Mechanism::Null), _) | (None, None) => Security::Null,
            (Some(Mechanism::Plain), _) => return Err(BindError::Plain { endpoint }),
            (Some(Mechanism::Curve) | None, Some(key)) => Security::Curve(key),
            (Some(Mechanism::Curve), None) => return Err(BindError::NoKey { endpoint }),
        };
        let ipv6 = address.ipv6() || address.endpoint.starts_with('[');
        Ok(Self { endpoint, security, ipv6 })
    }

    /// Binds it and tells the endpoint as bound (wildcard ports resolved).
    pub(super) fn apply(&self, socket: &zmq::Socket, zap: bool) -> Result<String, BindError> {
        self.try_apply(socket, zap).map_err(|source| BindError::System {
            endpoint: self.endpoint.clone(),
            why: explain(&self.endpoint, source),
            source,
        })
    }

    fn try_apply(&self, socket: &zmq::Socket, zap: bool) -> zmq::Result<String> {
        // These options count for the endpoints bound after them.
        if zap {
            // Without a domain, connections without security are not asked about.
            socket.set_zap_domain(zap::DOMAIN)?;
        }
        socket.set_ipv6(self.ipv6)?;
        match &self.security {
            Security::Null => socket.set_curve_server(false)?,
            Security::Curve(key) => {
                socket.set_curve_server(true)?;
                socket.set_curve_secretkey(key.as_bytes())?;
            }
        }
        socket.bind(&self.endpoint)?;
        socket.last_endpoint()
    }
}

/// libzmq's errno in words that say what to do.
fn explain(endpoint: &str, error: zmq::Error) -> String {
    match error {
        zmq::Error::EADDRINUSE => IN_USE.to_owned(),
        zmq::Error::EACCES => "permission denied".to_owned(),
        zmq::Error::EADDRNOTAVAIL | zmq::Error::ENODEV => {
            "no network interface of this machine has that address".to_owned()
        }
        zmq::Error::ENOENT => "its directory does not exist".to_owned(),
        zmq::Error::EINVAL => "it is not a valid endpoint (tcp://host:port or ipc://path)".to_owned(),
        zmq::Error::ENAMETOOLONG => {
            let path = endpoint.trim_start_matches("ipc://");
            format!(
                "the path has {} bytes, a socket's can have {MAX_IPC_PATH_BYTES}; use a shorter VOLTTRON_HOME",
                path.len()
            )
        }
        other => other.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use volttron_utils::keys::KeyPair;

    use super::*;

    fn security(address: &str, platform_key: Option<&SecretKey>) -> Result<&'static str, String> {
        let bind = Bind::new(&address.parse().map_err(|e: BadAddress| e.to_string())?, platform_key);
        match bind.map_err(|e| e.to_string())?.security {
            Security::Null => Ok("NULL"),
            Security::Curve(key) if platform_key.is_some_and(|p| p.as_bytes() == key.as_bytes()) => {
                Ok("platform")
            }
            Security::Curve(_) => Ok("own"),
        }
    }

    #[test]
    fn security_follows_the_address_then_the_platform() {
        let platform = KeyPair::generate().secret;
        let own = KeyPair::generate().secret;
        let with_own = format!("tcp://127.0.0.1:1?secretkey={}", own.reveal().as_str());
        for (address, with_key, without_key) in [
            ("tcp://127.0.0.1:1", Ok("platform"), Ok("NULL")),
            ("tcp://127.0.0.1:1?server=null", Ok("NULL"), Ok("NULL")),
            ("tcp://127.0.0.1:1?server=PLAIN", Err("clear text"), Err("clear text")),
            ("tcp://127.0.0.1:1?server=CURVE", Ok("platform"), Err("neither a secretkey")),
            (with_own.as_str(), Ok("own"), Ok("own")),
            ("inproc://vip", Err("inside the process"), Err("inside the process")),
            ("tcp://127.0.0.1:1?secretkey=short", Err("a key cannot have 5"), Err("a key cannot have 5")),
            ("tcp://127.0.0.1:1?server=ROT13", Err("must be NULL"), Err("must be NULL")),
        ] {
            for (expected, key) in [(with_key, Some(&platform)), (without_key, None)] {
                match (security(address, key), expected) {
                    (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{address}"),
                    (Err(got), Err(expected)) => assert!(got.contains(expected), "{address}: {got}"),
                    (got, expected) => panic!("{address}: {got:?} instead of {expected:?}"),
                }
            }
        }
    }

    #[test]
    fn refusals_of_the_system_explain_themselves() {
        let ctx = zmq::Context::new();
        let bind = |endpoint: &str| {
            let socket = ctx.socket(zmq::SocketType::Router).expect("a socket");
            let bind = Bind { endpoint: endpoint.to_owned(), security: Security::Null, ipv6: false };
            let bound = bind.apply(&socket, false).map_err(|e| e.to_string());
            (socket, bound)
        };
        let (_held, endpoint) = bind("tcp://127.0.0.1:*");
        let endpoint = endpoint.expect("a free port");
        let long = format!("ipc://@/{}", "x".repeat(120));
        for (endpoint, words) in [
            (endpoint.as_str(), "another platform or program listens there"),
            (long.as_str(), "has 122 bytes, a socket's can have 107"),
            ("ipc:///nowhere/to/be/found/vip.socket", "directory does not exist"),
            ("tcp://192.0.2.77:22916", "no network interface of this machine"),
            ("tcp://127.0.0.1", "not a valid endpoint"),
        ] {
            let message = bind(endpoint).1.expect_err(endpoint);
            assert!(message.contains(words), "{message}");
            assert!(message.starts_with(&format!("cannot listen on {endpoint}: ")), "{message}");
        }
    }
}
