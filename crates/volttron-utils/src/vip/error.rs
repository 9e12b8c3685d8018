//! Error reports of the VIP layer (vip.md section 6.4).

use bytes::Bytes;
use thiserror::Error;

use super::typed;

/// The destination is not connected.
pub const EHOSTUNREACH: i32 = 113;
/// Text that travels with [`EHOSTUNREACH`].
pub const EHOSTUNREACH_TEXT: &str = "No route to host";
/// The destination's queue is full.
pub const EAGAIN: i32 = 11;
/// Text that travels with [`EAGAIN`].
pub const EAGAIN_TEXT: &str = "Resource temporarily unavailable";
/// The addressed side has no such subsystem.
pub const EPROTONOSUPPORT: i32 = 93;
/// Text that travels with [`EPROTONOSUPPORT`].
pub const EPROTONOSUPPORT_TEXT: &str = "Protocol not supported";

/// An error report as its receiver sees it. Numbers and texts are Linux's on every system.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("VIP error {errno}: {text} (peer {peer:?}, subsystem {subsystem:?})")]
pub struct VipError {
    /// Errno, or -32001 for a refused publish.
    pub errno: i32,
    /// What the errno means, for people.
    pub text: String,
    /// Who could not be reached; empty is the router itself.
    pub peer: String,
    /// Subsystem of the message that failed.
    pub subsystem: String,
}

impl VipError {
    /// Reads the arguments of an `error` message: `[errno, text, peer, subsystem]`, or the three-argument form of
    /// Python agents without `peer`. The errno is decimal text or, after a Python router, four raw bytes.
    /// `None` if there are too few arguments or the errno is unreadable.
    pub fn from_args(args: &[Bytes]) -> Option<Self> {
        let (peer, subsystem) = match args {
            [_, _, subsystem] => (String::new(), typed::text(subsystem).into_owned()),
            [_, _, peer, subsystem, ..] => {
                (typed::text(peer).into_owned(), typed::text(subsystem).into_owned())
            }
            _ => return None,
        };
        let errno = parse_errno(&args[0])?;
        Some(VipError { errno, text: typed::text(&args[1]).into_owned(), peer, subsystem })
    }

    /// The four argument frames to send.
    pub fn to_args(&self) -> Vec<Bytes> {
        let frame = |text: &str| Bytes::from(typed::latin1_lossy(text));
        vec![
            Bytes::from(self.errno.to_string()),
            frame(&self.text),
            frame(&self.peer),
            frame(&self.subsystem),
        ]
    }

    /// "No such subsystem" as an agent reports it about itself.
    pub fn no_subsystem(subsystem: impl Into<String>) -> Self {
        VipError {
            errno: EPROTONOSUPPORT,
            text: EPROTONOSUPPORT_TEXT.to_owned(),
            peer: String::new(),
            subsystem: subsystem.into(),
        }
    }
}

fn parse_errno(frame: &[u8]) -> Option<i32> {
    if let Some(number) = std::str::from_utf8(frame).ok().and_then(|text| text.trim().parse().ok()) {
        return Some(number);
    }
    Some(i32::from_le_bytes(frame.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(parts: &[&'static [u8]]) -> Vec<Bytes> {
        parts.iter().map(|part| Bytes::from_static(part)).collect()
    }

    #[test]
    fn every_form_of_an_error_is_read() {
        for (parts, errno, peer, subsystem) in [
            (&[&b"113"[..], b"No route to host", b"nobody", b"RPC"][..], 113, "nobody", "RPC"),
            (&[b"-32001", b"refused", b"", b"pubsub"], -32001, "", "pubsub"),
            (&[b"93", b"Protocol not supported", b"x"], 93, "", "x"),
            (&[&[0x5d, 0, 0, 0], b"Protocol not supported", b"x"], 93, "", "x"),
        ] {
            let error = VipError::from_args(&args(parts)).expect("readable");
            assert_eq!(
                (error.errno, error.peer.as_str(), error.subsystem.as_str()),
                (errno, peer, subsystem)
            );
        }
        assert_eq!(VipError::from_args(&args(&[b"113", b"x"])), None);
        assert_eq!(VipError::from_args(&args(&[b"zebra", b"x", b"", b"RPC"])), None);
    }

    #[test]
    fn what_is_sent_is_read_back() {
        let error = VipError::no_subsystem("café");
        assert_eq!(VipError::from_args(&error.to_args()), Some(error));
    }
}
