//! Z85, ZeroMQ's text form of 32-byte keys (RFC 32): 4 bytes become 5 characters.

use zeroize::Zeroizing;

const ALPHABET: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

pub(super) fn encode(raw: &[u8; 32]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(40));
    for chunk in raw.chunks_exact(4) {
        let value = chunk.iter().fold(0_u32, |acc, b| acc << 8 | u32::from(*b));
        for power in (0..5).rev() {
            out.push(ALPHABET[(value / 85_u32.pow(power) % 85) as usize] as char);
        }
    }
    out
}

/// `None` unless `text` is 40 characters of the alphabet whose groups fit 32 bits.
pub(super) fn decode(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    if text.len() != 40 {
        return None;
    }
    let mut out = Zeroizing::new([0_u8; 32]);
    for (group, bytes) in text.chunks_exact(5).zip(out.chunks_exact_mut(4)) {
        let mut value = 0_u64;
        for c in group {
            value = value * 85 + ALPHABET.iter().position(|a| a == c)? as u64;
        }
        bytes.copy_from_slice(&u32::try_from(value).ok()?.to_be_bytes());
    }
    Some(out)
}
