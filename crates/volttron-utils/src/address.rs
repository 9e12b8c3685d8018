//! VIP addresses: `scheme://endpoint[?query][#identity]` (vip.md section 5).
//!
//! Only the text is handled here; nothing is resolved or opened.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::keys::{BadKey, PublicKey, SecretKey};

/// Transport of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// TCP, `host:port`.
    Tcp,
    /// Unix socket; a leading `@` means a Linux abstract socket.
    Ipc,
    /// Inside the process.
    Inproc,
}

impl Scheme {
    /// As written in addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Ipc => "ipc",
            Self::Inproc => "inproc",
        }
    }
}

/// Security mechanism asked for by a bound address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// No security.
    Null,
    /// User name and password in clear text.
    Plain,
    /// Encryption and public keys.
    Curve,
}

/// A parsed address. Query parameters keep their order; names are stored in lower case.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Transport.
    pub scheme: Scheme,
    /// What stands between `://` and `?`.
    pub endpoint: String,
    /// Socket identity from the fragment; `Some("")` for a bare trailing `#`.
    pub identity: Option<String>,
    params: Vec<(String, String)>,
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadAddress {
    /// Not tcp, ipc or inproc.
    #[error("address {address:?}: unknown scheme {scheme:?} (tcp, ipc and inproc are possible)")]
    Scheme {
        /// The rejected text without its query (keys may be in there).
        address: String,
        /// What stood before `://`.
        scheme: String,
    },
    /// Nothing after the scheme.
    #[error("address {0:?} names no endpoint")]
    NoEndpoint(String),
    /// `server=` with a word that is no mechanism.
    #[error("address parameter server={0:?} must be NULL, PLAIN or CURVE")]
    Mechanism(String),
    /// A `%` that is not followed by two hexadecimal digits that give UTF-8.
    #[error("address parameter {0:?} has a broken percent escape")]
    Escape(String),
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let text = text.trim();
        let (rest, identity) = match text.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment.to_owned())),
            None => (text, None),
        };
        let (location, query) = rest.split_once('?').unwrap_or((rest, ""));
        let location = location.trim();
        let (scheme, endpoint) = location.split_once("://").unwrap_or(("tcp", location));
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "tcp" => Scheme::Tcp,
            "ipc" => Scheme::Ipc,
            "inproc" => Scheme::Inproc,
            _ => {
                return Err(BadAddress::Scheme { address: location.to_owned(), scheme: scheme.to_owned() });
            }
        };
        if endpoint.is_empty() {
            return Err(BadAddress::NoEndpoint(location.to_owned()));
        }
        let params = parse_query(query)?;
        let address = Self { scheme, endpoint: endpoint.to_owned(), identity, params };
        address.mechanism()?;
        Ok(address)
    }
}

fn parse_query(query: &str) -> Result<Vec<(String, String)>, BadAddress> {
    let mut params = Vec::new();
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = unescape(value).ok_or_else(|| BadAddress::Escape(name.to_owned()))?;
        params.push((name.to_ascii_lowercase(), value));
    }
    Ok(params)
}

fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'+' => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|d| (d as char).to_digit(16));
                (digit()? * 16 + digit()?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-_.~:/@,".contains(&b) {
            out.push(b as char);
        } else {
            out.push('%');
            out.push(char::from_digit(u32::from(b >> 4), 16).unwrap_or('0').to_ascii_uppercase());
            out.push(char::from_digit(u32::from(b & 15), 16).unwrap_or('0').to_ascii_uppercase());
        }
    }
    out
}

impl Address {
    /// An address without parameters.
    pub fn new(scheme: Scheme, endpoint: impl Into<String>) -> Self {
        Self { scheme, endpoint: endpoint.into(), identity: None, params: Vec::new() }
    }

    /// Value of a parameter; the last one wins, names are case-insensitive.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().rev().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Sets or replaces a parameter.
    pub fn set_param(&mut self, name: &str, value: impl Into<String>) {
        let name = name.to_ascii_lowercase();
        self.params.retain(|(n, _)| *n != name);
        self.params.push((name, value.into()));
    }

    /// The same address without parameters and fragment: what sockets are bound to and `query addresses` lists.
    pub fn base(&self) -> String {
        format!("{}://{}", self.scheme.as_str(), self.endpoint)
    }

    /// Key of the server, if the address names it.
    pub fn serverkey(&self) -> Option<Result<PublicKey, BadKey>> {
        self.param("serverkey").filter(|v| !v.is_empty()).map(str::parse)
    }

    /// Own public key, if the address names it.
    pub fn publickey(&self) -> Option<Result<PublicKey, BadKey>> {
        self.param("publickey").filter(|v| !v.is_empty()).map(str::parse)
    }

    /// Own secret key, if the address names it.
    pub fn secretkey(&self) -> Option<Result<SecretKey, BadKey>> {
        self.param("secretkey").filter(|v| !v.is_empty()).map(str::parse)
    }

    /// The mechanism a bound address asks for.
    pub fn mechanism(&self) -> Result<Option<Mechanism>, BadAddress> {
        let Some(word) = self.param("server") else { return Ok(None) };
        match word.trim().to_ascii_uppercase().as_str() {
            "NULL" => Ok(Some(Mechanism::Null)),
            "PLAIN" => Ok(Some(Mechanism::Plain)),
            "CURVE" => Ok(Some(Mechanism::Curve)),
            _ => Err(BadAddress::Mechanism(word.to_owned())),
        }
    }

    /// ZAP domain of a bound address.
    pub fn domain(&self) -> Option<&str> {
        self.param("domain")
    }

    /// The `ipv6` parameter: everything but `0 false no off` and the empty text is true.
    pub fn ipv6(&self) -> bool {
        self.param("ipv6").is_some_and(|v| {
            !matches!(v.trim().to_ascii_lowercase().as_str(), "" | "0" | "false" | "no" | "off")
        })
    }

    /// Key in `known_hosts`: `host:port`; for ipc the path, and `@` for every abstract socket (home.md section 4).
    pub fn host_key(&self) -> String {
        match self.scheme {
            Scheme::Ipc if self.endpoint.starts_with('@') => "@".to_owned(),
            _ => self.endpoint.clone(),
        }
    }

    /// Host part of a tcp endpoint, without brackets.
    pub fn host(&self) -> Option<&str> {
        if self.scheme != Scheme::Tcp {
            return None;
        }
        let host = self.endpoint.rsplit_once(':').map_or(self.endpoint.as_str(), |(host, _)| host);
        Some(host.trim_start_matches('[').trim_end_matches(']'))
    }

    /// Port of a tcp endpoint; `None` for `*` and for other schemes.
    pub fn port(&self) -> Option<u16> {
        if self.scheme != Scheme::Tcp {
            return None;
        }
        self.endpoint.rsplit_once(':')?.1.parse().ok()
    }

    /// Only processes of this host can reach it: ipc, inproc, `localhost` and loopback addresses.
    pub fn is_loopback(&self) -> bool {
        match self.host() {
            None => true,
            Some(host) => {
                host.eq_ignore_ascii_case("localhost")
                    || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }
}

impl fmt::Display for Address {
    /// Everything, secrets too; use [`Address::base`] in messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.endpoint)?;
        for (i, (name, value)) in self.params.iter().enumerate() {
            write!(f, "{}{name}={}", if i == 0 { '?' } else { '&' }, escape(value))?;
        }
        match &self.identity {
            Some(identity) => write!(f, "#{identity}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Address {
    /// Secrets are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({}", self.base())?;
        for (name, value) in &self.params {
            let hidden = matches!(name.as_str(), "secretkey" | "password");
            write!(f, " {name}={}", if hidden { "..." } else { value })?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_addresses() {
        for (text, scheme, endpoint, host_key, loopback) in [
            ("tcp://127.0.0.1:22916", Scheme::Tcp, "127.0.0.1:22916", "127.0.0.1:22916", true),
            ("10.0.0.7:22916", Scheme::Tcp, "10.0.0.7:22916", "10.0.0.7:22916", false),
            ("TCP://localhost:1", Scheme::Tcp, "localhost:1", "localhost:1", true),
            ("tcp://[::1]:5", Scheme::Tcp, "[::1]:5", "[::1]:5", true),
            (" tcp://a:1 ?x=1", Scheme::Tcp, "a:1", "a:1", false),
            ("tcp://*:5", Scheme::Tcp, "*:5", "*:5", false),
            ("ipc://@/h/run/vip.socket", Scheme::Ipc, "@/h/run/vip.socket", "@", true),
            ("ipc:///h/vip.socket", Scheme::Ipc, "/h/vip.socket", "/h/vip.socket", true),
            ("inproc://vip", Scheme::Inproc, "vip", "vip", true),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.scheme, scheme, "{text}");
            assert_eq!(address.endpoint, endpoint);
            assert_eq!(address.host_key(), host_key);
            assert_eq!(address.is_loopback(), loopback, "{text}");
        }
        assert!(matches!("http://x".parse::<Address>(), Err(BadAddress::Scheme { .. })));
        assert!(matches!("tcp://".parse::<Address>(), Err(BadAddress::NoEndpoint(_))));
        assert!(matches!("".parse::<Address>(), Err(BadAddress::NoEndpoint(_))));
        assert!(matches!("tcp://a:1?server=x".parse::<Address>(), Err(BadAddress::Mechanism(_))));
    }

    #[test]
    fn parameters_and_fragment() {
        let text = "tcp://a:1?ServerKey=abc&blank=&x=%41+b&server=%20curve%20#me";
        let address: Address = text.parse().unwrap();
        assert_eq!(address.param("serverkey"), Some("abc"));
        assert_eq!(address.param("blank"), Some(""));
        assert_eq!(address.param("x"), Some("A b"));
        assert_eq!(address.mechanism(), Ok(Some(Mechanism::Curve)));
        assert_eq!(address.identity.as_deref(), Some("me"));
        assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        assert_eq!("tcp://a:1#".parse::<Address>().unwrap().identity.as_deref(), Some(""));
        for (value, expected) in [("0", false), (" OFF ", false), ("", false), ("yes", true), ("2", true)] {
            assert_eq!(
                format!("tcp://a:1?ipv6={value}").parse::<Address>().unwrap().ipv6(),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn debug_hides_secrets() {
        let address: Address = "tcp://a:1?secretkey=S3CRET&password=S3CRET&publickey=open".parse().unwrap();
        let shown = format!("{address:?}");
        assert!(!shown.contains("S3CRET") && shown.contains("open"), "{shown}");
    }
}
