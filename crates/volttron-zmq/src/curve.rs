//! A fresh CURVE key pair, for throw-away client keys and tests. Keys that are kept belong to `volttron_utils::keys`.

use core::ffi::c_char;

use volttron_zmq_sys as sys;

use crate::{Error, Result, error::check};

/// A new pair, raw: `(public, secret)`.
pub fn curve_keypair() -> Result<([u8; 32], [u8; 32])> {
    // 40 characters and a NUL each.
    let (mut public, mut secret) = ([0 as c_char; 41], [0 as c_char; 41]);
    // SAFETY: room for 41 bytes each, as the manual asks.
    check(unsafe { sys::zmq_curve_keypair(public.as_mut_ptr(), secret.as_mut_ptr()) })?;
    Ok((raw(&public)?, raw(&secret)?))
}

fn raw(z85: &[c_char; 41]) -> Result<[u8; 32]> {
    let mut key = [0_u8; 32];
    // SAFETY: a NUL-terminated text of 40 characters decodes to 32 bytes.
    let done = unsafe { sys::zmq_z85_decode(key.as_mut_ptr(), z85.as_ptr()) };
    if done.is_null() { Err(Error::last()) } else { Ok(key) }
}
