//! CURVE keys: their text forms, generation, and the files that hold them (vip.md section 5.1, auth.md sections 3, 7).
//!
//! Secrets are wiped when dropped and have no textual `Debug`; the only way to their text is
//! [`SecretKey::reveal`].

pub mod keystore;
pub mod known_hosts;
mod z85;

pub use known_hosts::{KnownHosts, KnownHostsError};

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        // Python's decoder ignores stray bits in the last character.
        .with_decode_allow_trailing_bits(true),
);

/// Why a text is not a key. The text itself is not repeated: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadKey {
    /// No encoding has this length.
    #[error("a key cannot have {0} characters (43 is usual; 40, 44, 54, 56, 64 and 80 are understood)")]
    Length(usize),
    /// The length says `encoding`, the characters do not.
    #[error("not valid {0}")]
    Encoding(&'static str),
}

/// Decodes every input encoding, chosen by length.
fn decode(text: &str) -> Result<Zeroizing<[u8; 32]>, BadKey> {
    let text = text.trim();
    match text.len() {
        40 => z85::decode(text.as_bytes()).ok_or(BadKey::Encoding("Z85")),
        43 | 44 => {
            let raw = Zeroizing::new(BASE64.decode(text).map_err(|_| BadKey::Encoding("URL-safe base64"))?);
            Ok(Zeroizing::new(raw.as_slice().try_into().map_err(|_| BadKey::Encoding("URL-safe base64"))?))
        }
        54 | 56 => {
            let inner = Zeroizing::new(BASE64.decode(text).map_err(|_| BadKey::Encoding("URL-safe base64"))?);
            z85::decode(&inner).ok_or(BadKey::Encoding("URL-safe base64 of Z85"))
        }
        64 => {
            let raw = unhex(text).ok_or(BadKey::Encoding("hexadecimal"))?;
            Ok(Zeroizing::new(raw.as_slice().try_into().map_err(|_| BadKey::Encoding("hexadecimal"))?))
        }
        80 => {
            let inner = unhex(text).ok_or(BadKey::Encoding("hexadecimal"))?;
            z85::decode(&inner).ok_or(BadKey::Encoding("hexadecimal of Z85"))
        }
        other => Err(BadKey::Length(other)),
    }
}

fn unhex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for pair in text.as_bytes().chunks_exact(2) {
        out.push(digit(pair[0])? << 4 | digit(pair[1])?);
    }
    Some(out)
}

/// A CURVE public key. Its text form is 43 characters of URL-safe base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// From the 32 raw bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw bytes, as ZAP and the socket options use them.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 40-character Z85 form that libzmq's text options take.
    pub fn to_z85(&self) -> String {
        z85::encode(&self.0).to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = BadKey;
    fn from_str(text: &str) -> Result<Self, BadKey> {
        decode(text).map(|raw| Self(*raw))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = BadKey;
    fn try_from(text: String) -> Result<Self, BadKey> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

/// A CURVE secret key. Wiped when dropped, never shown.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// From the 32 raw bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw bytes, for the socket option.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 43-character text, for key files and Python agents' environment. Do not log it.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64.encode(self.0))
    }

    /// The 40-character Z85 form that libzmq's text options take. Do not log it.
    pub fn to_z85(&self) -> Zeroizing<String> {
        z85::encode(&self.0)
    }

    /// The public key that belongs to this secret (X25519 with the base point).
    pub fn public_key(&self) -> PublicKey {
        let secret = x25519_dalek::StaticSecret::from(self.0);
        PublicKey(*x25519_dalek::PublicKey::from(&secret).as_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

impl FromStr for SecretKey {
    type Err = BadKey;
    fn from_str(text: &str) -> Result<Self, BadKey> {
        decode(text).map(|raw| Self(*raw))
    }
}

/// A public key and its secret.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// May be shown to anyone.
    pub public: PublicKey,
    /// Stays with its owner.
    pub secret: SecretKey,
}

impl KeyPair {
    /// A fresh pair from the system's random source. Neither text begins with `-`, which command lines would take
    /// for an option.
    ///
    /// # Panics
    /// When the operating system has no randomness; there is no safe way to go on.
    #[expect(clippy::expect_used, reason = "no keys without randomness")]
    pub fn generate() -> Self {
        loop {
            let mut raw = Zeroizing::new([0_u8; 32]);
            getrandom::fill(raw.as_mut()).expect("the operating system's random source failed");
            let secret = SecretKey(*raw);
            let public = secret.public_key();
            if !public.to_string().starts_with('-') && !secret.reveal().starts_with('-') {
                return Self { public, secret };
            }
        }
    }

    /// Whether the two halves belong together.
    pub fn is_consistent(&self) -> bool {
        self.secret.public_key() == self.public
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // One pair in every encoding, written by libzmq and Python's base64 and binascii.
    const Z85: &str = "r%1ExRP:nXLO%g:4PO(s-Yrh58[nV-dYiy5jWL[:";
    const Z85_SECRET: &str = "-W@*@1UOl3?iB3Q7P&IY}Ho6!u[V?$m)/WhR0N#(";
    const BASE: &str = "VwKQN6bMd_qUGfabDlWYIMY55sgbuE8cKqcD2j1Cox0";
    const BASE_SECRET: &str = "xi0u2QUu0qfdlY8xF62I7vp_ELlgL3qeR0NEQqTs-70";
    const BASE_OF_Z85: &str = "ciUxRXhSUDpuWExPJWc6NFBPKHMtWXJoNThbblYtZFlpeTVqV0xbOg==";
    const HEX: &str = "57029037a6cc77fa9419f69b0e559820c639e6c81bb84f1c2aa703da3d42a31d";
    const HEX_OF_Z85: &str =
        "722531457852503a6e584c4f25673a34504f28732d59726835385b6e562d64596979356a574c5b3a";

    #[test]
    fn every_encoding_gives_the_same_key() {
        let key: PublicKey = BASE.parse().unwrap();
        let padded = format!("{BASE}=");
        let trimmed = BASE_OF_Z85.trim_end_matches('=');
        let upper = HEX.to_uppercase();
        for text in [Z85, &padded, BASE_OF_Z85, trimmed, HEX, &upper, HEX_OF_Z85, &format!(" {BASE}\n")] {
            assert_eq!(text.parse::<PublicKey>().unwrap(), key, "{text}");
        }
        assert_eq!(key.to_string(), BASE);
        assert_eq!(key.to_z85(), Z85);
        assert_eq!(serde_json::to_string(&key).unwrap(), format!("\"{BASE}\""));
        assert_eq!(serde_json::from_str::<PublicKey>(&format!("\"{Z85}\"")).unwrap(), key);
    }

    #[test]
    fn the_public_key_follows_from_the_secret() {
        let secret: SecretKey = Z85_SECRET.parse().unwrap();
        assert_eq!(secret.public_key().to_string(), BASE);
        assert_eq!(secret.reveal().as_str(), BASE_SECRET);
        assert_eq!(secret.to_z85().as_str(), Z85_SECRET);
    }

    #[test]
    fn bad_texts_are_refused_without_being_repeated() {
        for (text, why) in [
            ("", BadKey::Length(0)),
            ("short", BadKey::Length(5)),
            (&"\"".repeat(40), BadKey::Encoding("Z85")),
            (&"#".repeat(40), BadKey::Encoding("Z85")),
            (&"+".repeat(43), BadKey::Encoding("URL-safe base64")),
            (&"g".repeat(64), BadKey::Encoding("hexadecimal")),
            (&"00".repeat(40), BadKey::Encoding("hexadecimal of Z85")),
            (&"A".repeat(54), BadKey::Encoding("URL-safe base64 of Z85")),
            (&"é".repeat(20), BadKey::Encoding("Z85")),
        ] {
            assert_eq!(text.parse::<PublicKey>().unwrap_err(), why, "{text:?}");
        }
    }

    #[test]
    fn generated_pairs_are_consistent_and_differ() {
        let (a, b) = (KeyPair::generate(), KeyPair::generate());
        assert!(a.is_consistent() && a.public != b.public);
        assert_eq!(a.public.to_string().len(), 43);
        assert!(!format!("{a:?}").contains(a.secret.reveal().as_str()));
    }
}
