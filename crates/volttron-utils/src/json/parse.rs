//! The lenient parser: what Python's `json.loads` accepts, with its error texts and positions.
//!
//! Only the slow path: documents that the standard parser takes never come here.

use serde_json::{Map, Number, Value};

use super::{JsonError, MAX_DEPTH};

/// Parses a whole document.
pub(super) fn parse(text: &str) -> Result<Value, JsonError> {
    let mut parser = Parser { text, bytes: text.as_bytes(), at: 0 };
    parser.skip_space();
    let value = parser.value(0)?;
    parser.skip_space();
    if parser.at < parser.bytes.len() {
        return Err(parser.error("Extra data", parser.at));
    }
    Ok(value)
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn error(&self, message: &str, at: usize) -> JsonError {
        JsonError::syntax(message, self.text, at)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.bytes[self.at..].starts_with(word.as_bytes());
        if found {
            self.at += word.len();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        let start = self.at;
        match self.peek() {
            Some(b'"') => self.string().map(Value::String),
            Some(b'{' | b'[') if depth == MAX_DEPTH => {
                Err(self.error(&format!("nested deeper than {MAX_DEPTH} levels"), start))
            }
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'n') if self.word("null") => Ok(Value::Null),
            Some(b't') if self.word("true") => Ok(Value::Bool(true)),
            Some(b'f') if self.word("false") => Ok(Value::Bool(false)),
            Some(b'N') if self.word("NaN") => Ok(Value::Null),
            Some(b'I') if self.word("Infinity") => Ok(Value::Null),
            Some(b'-') if self.word("-Infinity") => Ok(Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.error("Expecting value", start)),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        let mut map = Map::new();
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(map));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.error("Expecting property name enclosed in double quotes", self.at));
            }
            let key = self.string()?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.error("Expecting ':' delimiter", self.at));
            }
            self.at += 1;
            self.skip_space();
            let value = self.value(depth)?;
            map.insert(key, value);
            self.skip_space();
            match self.peek() {
                Some(b'}') => break,
                Some(b',') => self.at += 1,
                _ => return Err(self.error("Expecting ',' delimiter", self.at)),
            }
            self.skip_space();
        }
        self.at += 1;
        Ok(Value::Object(map))
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        let mut list = Vec::new();
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(list));
        }
        loop {
            list.push(self.value(depth)?);
            self.skip_space();
            match self.peek() {
                Some(b']') => break,
                Some(b',') => self.at += 1,
                _ => return Err(self.error("Expecting ',' delimiter", self.at)),
            }
            self.skip_space();
        }
        self.at += 1;
        Ok(Value::Array(list))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - start
    }

    /// As Python, a number ends where its grammar ends: `01` is 0 followed by extra data, `1.` is 1.
    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else if self.digits() == 0 {
            return Err(self.error("Expecting value", start));
        }
        let mut whole = true;
        for exponent in [false, true] {
            let before = self.at;
            match (exponent, self.peek()) {
                (false, Some(b'.')) | (true, Some(b'e' | b'E')) => self.at += 1,
                _ => continue,
            }
            if exponent && matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                self.at = before;
            } else {
                whole = false;
            }
        }
        Ok(number(&self.text[start..self.at], whole))
    }

    fn string(&mut self) -> Result<String, JsonError> {
        let start = self.at;
        let mut out = String::new();
        self.at += 1;
        loop {
            let run = self.at;
            while self.peek().is_some_and(|byte| byte != b'"' && byte != b'\\' && byte >= 0x20) {
                self.at += 1;
            }
            out.push_str(&self.text[run..self.at]);
            match self.peek() {
                None => return Err(self.error("Unterminated string starting at", start)),
                Some(b'"') => break,
                Some(b'\\') => self.escape(start, &mut out)?,
                Some(_) => return Err(self.error("Invalid control character at", self.at)),
            }
        }
        self.at += 1;
        Ok(out)
    }

    fn escape(&mut self, start: usize, out: &mut String) -> Result<(), JsonError> {
        let backslash = self.at;
        self.at += 1;
        let plain = match self.peek() {
            None => return Err(self.error("Unterminated string starting at", start)),
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(out),
            Some(_) => return Err(self.error("Invalid \\escape", backslash)),
        };
        self.at += 1;
        out.push(plain);
        Ok(())
    }

    /// At the `u` of an escape. A surrogate without its partner becomes U+FFFD.
    fn unicode(&mut self, out: &mut String) -> Result<(), JsonError> {
        let first = self.hex4(self.at + 1).ok_or_else(|| self.error("Invalid \\uXXXX escape", self.at))?;
        self.at += 5;
        let mut scalar = u32::from(first);
        let partner = if self.bytes[self.at..].starts_with(b"\\u") { self.hex4(self.at + 2) } else { None };
        if let (0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) = (first, partner) {
            scalar = 0x1_0000 + ((scalar - 0xd800) << 10) + (u32::from(second) - 0xdc00);
            self.at += 6;
        }
        out.push(char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER));
        Ok(())
    }

    fn hex4(&self, at: usize) -> Option<u16> {
        let digits = self.bytes.get(at..at + 4)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}

/// Integers keep their value while 64 bits hold it; beyond that the nearest float; what no float holds is null,
/// as the infinity Python would read.
fn number(text: &str, whole: bool) -> Value {
    if whole {
        if let Ok(unsigned) = text.parse::<u64>() {
            return Value::from(unsigned);
        }
        if let Ok(signed) = text.parse::<i64>() {
            return Value::from(signed);
        }
    }
    text.parse::<f64>().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}
