//! What the platform counts, for monitoring systems: OpenMetrics text, which Prometheus reads, over HTTP on a unix
//! socket of the home or on a loopback port.
//!
//! Owns the names and units of the metrics, the endpoint, and the gathering. Counts nothing itself: every number comes
//! from the part that owns it, read when somebody asks. Must never listen where other machines can connect, and never
//! hold the platform up.
//!
//! Start at [`Sources`]; `text.rs` has the names, `server.rs` the endpoint.

mod gather;
pub(crate) mod process;
mod server;
mod text;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

pub use gather::{MetricsError, Sources};
pub use server::{Endpoint, serve};

/// Where metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsAddress {
    /// Nowhere.
    Off,
    /// A unix socket that only the platform's user can open.
    Unix(PathBuf),
    /// A port of a loopback interface; 0 takes a free one.
    Tcp(SocketAddr),
}

/// Why a text is no place for metrics.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadMetricsAddress {
    /// Neither of the forms.
    #[error("{0:?} is not off, unix:PATH, PORT, or HOST:PORT with a loopback address")]
    Form(String),
    /// Other machines could read it.
    #[error(
        "{0} can be reached from other machines and metrics name agents and topics; \
         use a loopback address and let a proxy on this machine decide who may read it"
    )]
    NotLoopback(SocketAddr),
}

impl FromStr for MetricsAddress {
    type Err = BadMetricsAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadMetricsAddress::Form(text.to_owned());
        if text == "off" {
            return Ok(Self::Off);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(bad()) } else { Ok(Self::Unix(path.into())) };
        }
        let local = text.replace("localhost:", "127.0.0.1:");
        let address = match local.parse::<u16>() {
            Ok(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
            Err(_) => local.parse().map_err(|_| bad())?,
        };
        if address.ip().is_loopback() {
            Ok(Self::Tcp(address))
        } else {
            Err(BadMetricsAddress::NotLoopback(address))
        }
    }
}

impl std::fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, want) in [
            ("off", "off"),
            ("unix:/srv/vh/run/m", "unix:/srv/vh/run/m"),
            ("9411", "127.0.0.1:9411"),
            ("localhost:9411", "127.0.0.1:9411"),
            ("[::1]:0", "[::1]:0"),
        ] {
            assert_eq!(text.parse::<MetricsAddress>().expect(text).to_string(), want);
        }
        for text in ["", "on", "unix:", "70000", "0.0.0.0:9411", "[::]:1", "10.1.2.3:5", "host:5"] {
            assert!(text.parse::<MetricsAddress>().is_err(), "{text}");
        }
    }
}
