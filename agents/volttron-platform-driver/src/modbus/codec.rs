//! How a value lies in Modbus words: type names, struct codes, byte and word order. Pure.
//!
//! A word arrives high byte first. Big-endian types read the bytes as they come, little-endian types read them
//! backwards as a whole, and "mixed endian" reverses the order of the *words* first.

use serde_json::Value;
use volttron_client::driver::{DriverError, PointKind, PointType};

use super::number::Number;

/// Most words one register may span: the most a single request can read.
pub const MAX_WORDS: u16 = 125;

/// Byte order of a value as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Most significant byte first, as Modbus itself.
    Big,
    /// Least significant byte first.
    Little,
}

/// What the bytes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A coil or discrete input; in a word table, a word that is not zero.
    Bool,
    /// Two's complement or unsigned integer of 2, 4 or 8 bytes.
    Int { bytes: u8, signed: bool },
    /// IEEE 754 of 2, 4 or 8 bytes.
    Float { bytes: u8 },
    /// Text of so many bytes, padded with NUL.
    Text { bytes: u16 },
    /// One character in the low byte of a word.
    Char,
    /// So many integers of one word each, as a JSON array.
    Array { items: u16, signed: bool },
}

/// The layout of one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codec {
    kind: Kind,
    order: Order,
}

impl Codec {
    /// A single bit.
    pub const BOOL: Self = Self { kind: Kind::Bool, order: Order::Big };

    /// Parses a type name (`uint16`, `string[8]`, `array(int16, 4)`, `BOOL`) or a Python struct code (`>f`, `<H`,
    /// `>16s`). `default_order` applies to type names. The error text fits behind a column name.
    pub fn parse(text: &str, default_order: Order) -> Result<Self, String> {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        let named = |kind| Ok(Self { kind, order: default_order });
        match lower.as_str() {
            "" => return Err("is empty".into()),
            "bool" | "boolean" => return Ok(Self::BOOL),
            "char" => return named(Kind::Char),
            "int16" => return named(Kind::Int { bytes: 2, signed: true }),
            "uint16" => return named(Kind::Int { bytes: 2, signed: false }),
            "int32" => return named(Kind::Int { bytes: 4, signed: true }),
            "uint32" => return named(Kind::Int { bytes: 4, signed: false }),
            "int64" => return named(Kind::Int { bytes: 8, signed: true }),
            "uint64" => return named(Kind::Int { bytes: 8, signed: false }),
            "float" | "float32" => return named(Kind::Float { bytes: 4 }),
            "float64" => return named(Kind::Float { bytes: 8 }),
            _ => {}
        }
        if let Some(inner) = bracketed(&lower, "string", '[', ']') {
            let bytes = inner.trim().parse().map_err(|_| format!("'{text}': the length must be a number"))?;
            return Self { kind: Kind::Text { bytes }, order: Order::Big }.checked(text);
        }
        if let Some(inner) = bracketed(&lower, "array", '(', ')') {
            let (item, count) =
                inner.split_once(',').ok_or_else(|| format!("'{text}': write array(int16, 4)"))?;
            let signed = match item.trim() {
                "int16" => true,
                "uint16" => false,
                _ => return Err(format!("'{text}': arrays hold int16 or uint16 only")),
            };
            let items = count.trim().parse().map_err(|_| format!("'{text}': the length must be a number"))?;
            return Self { kind: Kind::Array { items, signed }, order: default_order }.checked(text);
        }
        Self::parse_struct_code(text)
    }

    fn parse_struct_code(text: &str) -> Result<Self, String> {
        let unknown =
            || format!("'{text}' is no known type: use a name such as uint16 or float, or a code such as >f");
        let first = text.chars().next().ok_or_else(unknown)?;
        // Without a prefix (or with `@`) Python uses the host's order and sizes: little-endian, 8-byte longs.
        let (order, native, rest) = match first {
            '>' | '!' => (Order::Big, false, &text[1..]),
            '<' | '=' => (Order::Little, false, &text[1..]),
            '@' => (Order::Little, true, &text[1..]),
            _ => (Order::Little, true, text),
        };
        let letter = rest.chars().last().ok_or_else(unknown)?;
        let count = &rest[..rest.len() - letter.len_utf8()];
        let count: Option<u16> = match count {
            "" => None,
            digits if digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| unknown())?)
            }
            _ => {
                return Err(if count.chars().all(|c| c.is_ascii_alphanumeric()) {
                    one_value(text)
                } else {
                    unknown()
                });
            }
        };
        let int = |bytes, signed| Kind::Int { bytes, signed };
        let kind = match letter {
            's' => Kind::Text { bytes: count.unwrap_or(1) },
            _ if count.is_some_and(|n| n != 1) => return Err(one_value(text)),
            'h' => int(2, true),
            'H' => int(2, false),
            'i' => int(4, true),
            'I' => int(4, false),
            'l' => int(if native { 8 } else { 4 }, true),
            'L' => int(if native { 8 } else { 4 }, false),
            'q' => int(8, true),
            'Q' => int(8, false),
            'e' => Kind::Float { bytes: 2 },
            'f' => Kind::Float { bytes: 4 },
            'd' => Kind::Float { bytes: 8 },
            '?' => Kind::Bool,
            'c' => Kind::Char,
            'b' | 'B' => {
                return Err(format!("'{text}' is one byte, but a register holds words of two: use h or H"));
            }
            _ => return Err(unknown()),
        };
        Self { kind, order }.checked(text)
    }

    fn checked(self, text: &str) -> Result<Self, String> {
        match self.words() {
            0 => Err(format!("'{text}' has no length")),
            words if words > MAX_WORDS => {
                Err(format!("'{text}' spans {words} words; one request reads at most {MAX_WORDS}"))
            }
            _ => Ok(self),
        }
    }

    /// Words the register spans in a word table.
    pub fn words(self) -> u16 {
        match self.kind {
            Kind::Bool | Kind::Char => 1,
            Kind::Int { bytes, .. } | Kind::Float { bytes } => u16::from(bytes) / 2,
            Kind::Text { bytes } => bytes.div_ceil(2),
            Kind::Array { items, .. } => items,
        }
    }

    /// True for single bits.
    pub fn is_bool(self) -> bool {
        self.kind == Kind::Bool
    }

    /// True for integers and floats, which a transform can work on.
    pub fn is_number(self) -> bool {
        matches!(self.kind, Kind::Int { .. } | Kind::Float { .. })
    }

    /// True when values are whole numbers.
    pub fn is_integer(self) -> bool {
        matches!(self.kind, Kind::Int { .. })
    }

    /// Native type and register class for the metadata.
    pub fn point_type(self) -> (PointType, PointKind) {
        match self.kind {
            Kind::Bool => (PointType::Boolean, PointKind::Bit),
            Kind::Int { .. } | Kind::Array { .. } => (PointType::Integer, PointKind::Byte),
            Kind::Float { .. } => (PointType::Float, PointKind::Byte),
            Kind::Text { .. } | Kind::Char => (PointType::String, PointKind::Byte),
        }
    }

    /// Decodes the words of one register; `words` holds exactly [`Self::words`] of them.
    pub fn decode(self, words: &[u16], mixed: bool) -> Result<Raw, String> {
        let mut bytes = Vec::with_capacity(words.len() * 2);
        let mut push = |word: &u16| bytes.extend_from_slice(&word.to_be_bytes());
        if mixed {
            words.iter().rev().for_each(&mut push);
        } else {
            words.iter().for_each(&mut push);
        }
        if bytes.len() != usize::from(self.words()) * 2 {
            return Err(format!("{} words where {} were expected", words.len(), self.words()));
        }
        Ok(match self.kind {
            Kind::Bool => Raw::Bool(bytes.iter().any(|b| *b != 0)),
            Kind::Int { signed, .. } => Raw::Number(Number::Int(int_from(&bytes, signed, self.order))),
            Kind::Float { .. } => Raw::Number(Number::Float(float_from(&bytes, self.order))),
            Kind::Text { bytes: length } => Raw::Text(text_from(&bytes[..usize::from(length)])),
            Kind::Char => Raw::Text(text_from(&bytes[1..])),
            Kind::Array { signed, .. } => {
                Raw::List(bytes.chunks_exact(2).map(|item| int_from(item, signed, self.order)).collect())
            }
        })
    }

    /// Encodes a value into words, ready to send.
    pub fn encode(self, raw: &Raw, mixed: bool) -> Result<Vec<u16>, DriverError> {
        let bytes = self.encode_bytes(raw).map_err(DriverError::Value)?;
        let mut words: Vec<u16> =
            bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        if mixed {
            words.reverse();
        }
        Ok(words)
    }

    fn encode_bytes(self, raw: &Raw) -> Result<Vec<u8>, String> {
        match (self.kind, raw) {
            (Kind::Bool, Raw::Bool(on)) => Ok(u16::from(*on).to_be_bytes().to_vec()),
            (Kind::Int { bytes, signed }, Raw::Number(Number::Int(n))) => {
                int_bytes(*n, bytes, signed, self.order)
            }
            (Kind::Float { bytes }, Raw::Number(n)) => float_bytes(n.as_f64(), bytes, self.order),
            (Kind::Text { bytes }, Raw::Text(text)) => {
                if text.len() > usize::from(bytes) {
                    return Err(format!("a text of {} bytes does not fit into {bytes}", text.len()));
                }
                let mut out = text.as_bytes().to_vec();
                out.resize(usize::from(self.words()) * 2, 0);
                Ok(out)
            }
            (Kind::Char, Raw::Text(text)) => match text.as_bytes() {
                [one] => Ok(vec![0, *one]),
                _ => Err("exactly one ASCII character is needed".into()),
            },
            (Kind::Array { items, signed }, Raw::List(list)) => {
                if list.len() != usize::from(items) {
                    return Err(format!("{} values where {items} are needed", list.len()));
                }
                let parts: Result<Vec<_>, _> =
                    list.iter().map(|n| int_bytes(*n, 2, signed, self.order)).collect();
                Ok(parts?.concat())
            }
            _ => Err("the value is not of the register's type".into()),
        }
    }

    /// Takes a value from a caller as this register's raw form, before any transform. Numbers may come as text (from
    /// command lines) and booleans as 0/1 or words.
    pub fn accept(self, value: &Value) -> Result<Raw, DriverError> {
        let wrong = |what: &str| DriverError::Value(format!("{what} is needed, not {value}"));
        match self.kind {
            Kind::Bool => super::number::truth(value).map(Raw::Bool).ok_or_else(|| wrong("a boolean")),
            Kind::Int { .. } | Kind::Float { .. } => {
                Number::from_value(value).map(Raw::Number).ok_or_else(|| wrong("a number"))
            }
            Kind::Text { .. } | Kind::Char => match value {
                Value::String(text) => Ok(Raw::Text(text.clone())),
                Value::Number(n) => Ok(Raw::Text(n.to_string())),
                _ => Err(wrong("a text")),
            },
            Kind::Array { .. } => {
                let list = value.as_array().ok_or_else(|| wrong("a list of integers"))?;
                let ints: Option<Vec<i128>> =
                    list.iter().map(|v| Number::from_value(v).and_then(Number::exact_int)).collect();
                ints.map(Raw::List).ok_or_else(|| wrong("a list of integers"))
            }
        }
    }
}

/// A value as it lies in the device, before the transform.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// A bit.
    Bool(bool),
    /// An integer or float.
    Number(Number),
    /// A text without its padding.
    Text(String),
    /// An array of integers.
    List(Vec<i128>),
}

impl Raw {
    /// The JSON value to publish. Bits are true and false, as the original's Modbus driver publishes them.
    pub fn into_value(self) -> Value {
        match self {
            Self::Bool(on) => Value::Bool(on),
            Self::Number(n) => n.to_value(),
            Self::Text(text) => Value::String(text),
            Self::List(list) => list.into_iter().map(|n| Number::Int(n).to_value()).collect(),
        }
    }
}

fn one_value(text: &str) -> String {
    format!("'{text}' describes more than one value; a register holds exactly one")
}

fn bracketed<'a>(text: &'a str, word: &str, open: char, close: char) -> Option<&'a str> {
    text.strip_prefix(word)?.trim_start().strip_prefix(open)?.strip_suffix(close)
}

fn ordered<const N: usize>(bytes: &[u8], order: Order) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    if order == Order::Little {
        out.reverse();
    }
    out
}

fn int_from(bytes: &[u8], signed: bool, order: Order) -> i128 {
    match (bytes.len(), signed) {
        (2, true) => i16::from_be_bytes(ordered(bytes, order)).into(),
        (2, false) => u16::from_be_bytes(ordered(bytes, order)).into(),
        (4, true) => i32::from_be_bytes(ordered(bytes, order)).into(),
        (4, false) => u32::from_be_bytes(ordered(bytes, order)).into(),
        (_, true) => i64::from_be_bytes(ordered(bytes, order)).into(),
        (_, false) => u64::from_be_bytes(ordered(bytes, order)).into(),
    }
}

fn int_bytes(n: i128, bytes: u8, signed: bool, order: Order) -> Result<Vec<u8>, String> {
    let bits = u32::from(bytes) * 8;
    let (low, high) =
        if signed { (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1) } else { (0, (1i128 << bits) - 1) };
    if !(low..=high).contains(&n) {
        return Err(format!("{n} is outside of the register's range {low} to {high}"));
    }
    let mut out = n.to_be_bytes()[16 - usize::from(bytes)..].to_vec();
    if order == Order::Little {
        out.reverse();
    }
    Ok(out)
}

fn float_from(bytes: &[u8], order: Order) -> f64 {
    match bytes.len() {
        2 => super::number::half_to_f64(u16::from_be_bytes(ordered(bytes, order))),
        4 => f32::from_be_bytes(ordered(bytes, order)).into(),
        _ => f64::from_be_bytes(ordered(bytes, order)),
    }
}

fn float_bytes(n: f64, bytes: u8, order: Order) -> Result<Vec<u8>, String> {
    let mut out = match bytes {
        2 => super::number::half_from_f64(n)
            .ok_or_else(|| format!("{n} is too large for a half float"))?
            .to_be_bytes()
            .to_vec(),
        4 => {
            let single = n as f32;
            if single.is_infinite() && n.is_finite() {
                return Err(format!("{n} is too large for a 32-bit float"));
            }
            single.to_be_bytes().to_vec()
        }
        _ => n.to_be_bytes().to_vec(),
    };
    if order == Order::Little {
        out.reverse();
    }
    Ok(out)
}

/// Text up to the first NUL, without trailing blanks. UTF-8 where it is, else each byte is its own character.
fn text_from(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let text = match std::str::from_utf8(&bytes[..end]) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes[..end].iter().map(|b| char::from(*b)).collect(),
    };
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn decode(code: &str, words: &[u16], mixed: bool) -> Value {
        let codec = Codec::parse(code, Order::Big).expect(code);
        codec.decode(words, mixed).expect(code).into_value()
    }

    #[test]
    fn struct_codes_decode_as_python_does() {
        for (code, words, mixed, want) in [
            (">H", &[0xFFFE][..], false, json!(65534)),
            (">h", &[0xFFFE], false, json!(-2)),
            ("<H", &[0x0100], false, json!(1)),
            (">l", &[0xFFFF, 0xFFFE], false, json!(-2)),
            (">L", &[0x0001, 0x0000], false, json!(65536)),
            (">L", &[0x0001, 0x0000], true, json!(1)),
            ("<I", &[0x0100, 0x0000], false, json!(1)),
            (">q", &[0x8000, 0, 0, 0], false, json!(i64::MIN)),
            (">Q", &[0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF], false, json!(u64::MAX)),
            (">f", &[0x425D, 0x999A], false, json!(55.400_001_525_878_906)),
            (">f", &[0x999A, 0x425D], true, json!(55.400_001_525_878_906)),
            ("<f", &[0x9A99, 0x5D42], false, json!(55.400_001_525_878_906)),
            (">d", &[0x404B, 0xB333, 0x3333, 0x3333], false, json!(55.4)),
            (">e", &[0x3C00], false, json!(1.0)),
            (">8s", &[0x4148, 0x552D, 0x3300, 0x4141], false, json!("AHU-3")),
            (">3s", &[0x4142, 0x4344], false, json!("ABC")),
            (">?", &[2], false, json!(true)),
            ("H", &[0x0100], false, json!(1)),
        ] {
            assert_eq!(decode(code, words, mixed), want, "{code} {words:x?} mixed {mixed}");
        }
    }

    #[test]
    fn type_names_take_the_device_order() {
        let little = Codec::parse("uint32", Order::Little).expect("uint32");
        assert_eq!(little.decode(&[0x0100, 0], false).expect("two words"), Raw::Number(Number::Int(1)));
        for (name, words, want) in [
            ("int16", &[0xFFFF][..], json!(-1)),
            ("UINT16", &[0xFFFF], json!(65535)),
            ("int64", &[0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF], json!(-1)),
            ("uint64", &[0, 0, 0, 5], json!(5)),
            ("float", &[0x3F80, 0], json!(1.0)),
            ("char", &[0x0041], json!("A")),
            ("string[4]", &[0x4142, 0x4300], json!("ABC")),
            ("array(int16, 3)", &[1, 0xFFFF, 3], json!([1, -1, 3])),
            ("bool", &[0], json!(false)),
        ] {
            assert_eq!(decode(name, words, false), want, "{name}");
        }
    }

    #[test]
    fn wrong_types_are_refused_with_a_reason() {
        for (text, why) in [
            ("", "empty"),
            (">2H", "more than one value"),
            (">HH", "more than one value"),
            (">b", "one byte"),
            (">z", "no known type"),
            ("\u{fc}", "no known type"),
            (">-1s", "no known type"),
            (">0s", "no length"),
            (">300s", "at most 125"),
            ("string[x]", "number"),
            ("array(float, 2)", "int16 or uint16"),
            ("array(int16)", "write array"),
            (">", "no known type"),
        ] {
            let error = Codec::parse(text, Order::Big).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn values_outside_of_a_register_are_refused() {
        for (code, value, why) in [
            (">H", json!(-1), "range 0 to 65535"),
            (">h", json!(32768), "range -32768 to 32767"),
            (">H", json!("x"), "a number is needed"),
            (">f", json!(1e300), "too large"),
            (">4s", json!("hello"), "does not fit"),
            ("array(int16, 2)", json!([1]), "1 values where 2"),
            ("array(int16, 2)", json!([1, 2.5]), "list of integers"),
            ("bool", json!("maybe"), "a boolean"),
            ("char", json!("ab"), "one ASCII"),
        ] {
            let codec = Codec::parse(code, Order::Big).expect(code);
            let error = codec.accept(&value).and_then(|raw| codec.encode(&raw, false)).expect_err(code);
            assert!(matches!(error, DriverError::Value(_)));
            assert!(error.to_string().contains(why), "{code} {value}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(
            pick in 0usize..12, int in any::<i64>(), float in any::<f32>(), mixed: bool, little: bool, text in "[ -~]{0,10}[!-~]",
        ) {
            let codes = ["h", "H", "i", "I", "l", "L", "q", "Q", "f", "d", "?", "12s"];
            let prefix = if little { '<' } else { '>' };
            let codec = Codec::parse(&format!("{prefix}{}", codes[pick]), Order::Big).expect("code");
            let bits = u32::from(codec.words()) * 16;
            let raw = match codes[pick] {
                "f" | "d" => Raw::Number(Number::Float(if float.is_nan() { 0.0 } else { f64::from(float) })),
                "?" => Raw::Bool(int > 0),
                "12s" => Raw::Text(text),
                "H" | "I" | "L" | "Q" => Raw::Number(Number::Int(i128::from(int.unsigned_abs()) & ((1 << bits) - 1))),
                _ => Raw::Number(Number::Int(i128::from(int) >> (64 - bits))),
            };
            let words = codec.encode(&raw, mixed).expect("encodes");
            prop_assert_eq!(words.len(), usize::from(codec.words()));
            prop_assert_eq!(codec.decode(&words, mixed).expect("decodes"), raw);
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,12}") {
            let _ = Codec::parse(&text, Order::Little);
        }
    }
}
