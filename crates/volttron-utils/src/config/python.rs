//! Literals of Python as JSON values: what `ast.literal_eval` reads, as far as JSON has such values, and products of whole
//! numbers (`10 * 1024`). Nothing is evaluated, and nothing else is understood.

use serde_json::{Map, Number, Value};

/// Deepest nesting accepted.
const DEPTH_MAX: usize = 128;

/// A text that is no literal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}: line {line} column {column}")]
pub struct BadPython {
    /// What is wrong.
    pub why: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Reads one literal; tuples become arrays, and keys that are no texts become texts. `named` gives dotted names a value,
/// such as `sys.stdout`; a name that has none is an error.
pub fn parse_python(text: &str, named: fn(&str) -> Option<Value>) -> Result<Value, BadPython> {
    let mut reader = Reader { text: text.strip_prefix('\u{feff}').unwrap_or(text), at: 0, named };
    let value = reader.product(0)?;
    reader.skip_blanks();
    match reader.rest().chars().next() {
        None => Ok(value),
        Some(_) => Err(reader.bad("something follows the literal")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    named: fn(&str) -> Option<Value>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn bad(&self, why: impl Into<String>) -> BadPython {
        let before = &self.text[..self.at];
        let line_begin = before.rfind('\n').map_or(0, |at| at + 1);
        BadPython {
            why: why.into(),
            line: before.matches('\n').count() + 1,
            column: before[line_begin..].chars().count() + 1,
        }
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest().trim_start_matches([' ', '\t', '\r', '\n', '\u{c}']);
            let rest = rest.strip_prefix("\\\n").unwrap_or(rest);
            let after = match rest.strip_prefix('#') {
                Some(note) => note.find('\n').map_or("", |end| &note[end..]),
                None => rest,
            };
            let at = self.text.len() - after.len();
            if at == self.at {
                return;
            }
            self.at = at;
        }
    }

    /// Takes a sign if it comes next.
    fn takes(&mut self, sign: &str) -> bool {
        self.skip_blanks();
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    fn product(&mut self, depth: usize) -> Result<Value, BadPython> {
        let mut value = self.value(depth)?;
        while self.takes("*") {
            let factor = self.value(depth)?;
            let product = value.as_i64().zip(factor.as_i64()).and_then(|(a, b)| a.checked_mul(b));
            value = product.ok_or_else(|| self.bad("only whole numbers can be multiplied"))?.into();
        }
        Ok(value)
    }

    fn value(&mut self, depth: usize) -> Result<Value, BadPython> {
        if depth > DEPTH_MAX {
            return Err(self.bad("nested too deeply"));
        }
        self.skip_blanks();
        let Some(first) = self.rest().chars().next() else { return Err(self.bad("the text ends too early")) };
        match first {
            '{' => self.dict(depth),
            '[' => self.items("[", "]", depth).map(|(items, _)| items.into()),
            '(' => {
                let (mut items, comma) = self.items("(", ")", depth)?;
                // Parentheses alone make no tuple.
                match (items.pop(), items.is_empty() && !comma) {
                    (Some(only), true) => Ok(only),
                    (last, _) => {
                        items.extend(last);
                        Ok(items.into())
                    }
                }
            }
            '\'' | '"' => self.strings(),
            '0'..='9' | '.' | '-' | '+' => self.number(),
            c if c.is_alphabetic() || c == '_' => self.name(),
            _ => Err(self.bad(format!("{first:?} begins no literal"))),
        }
    }

    /// What is between brackets; and whether a comma stands at its end.
    fn items(&mut self, open: &str, close: &str, depth: usize) -> Result<(Vec<Value>, bool), BadPython> {
        self.takes(open);
        let (mut items, mut comma) = (Vec::new(), false);
        while !self.takes(close) {
            if !items.is_empty() && !comma {
                return Err(self.bad(format!("`,` or `{close}` is missing")));
            }
            items.push(self.product(depth + 1)?);
            comma = self.takes(",");
        }
        Ok((items, comma))
    }

    fn dict(&mut self, depth: usize) -> Result<Value, BadPython> {
        self.takes("{");
        let (mut map, mut comma) = (Map::new(), true);
        while !self.takes("}") {
            if !comma {
                return Err(self.bad("`,` or `}` is missing"));
            }
            let key = match self.value(depth + 1)? {
                Value::String(key) => key,
                Value::Array(_) | Value::Object(_) => return Err(self.bad("a key is a text or a number")),
                other => other.to_string(),
            };
            if !self.takes(":") {
                return Err(self.bad("`:` is missing after the key"));
            }
            let value = self.product(depth + 1)?;
            map.insert(key, value);
            comma = self.takes(",");
        }
        Ok(map.into())
    }

    /// Texts that stand beside each other are one.
    fn strings(&mut self) -> Result<Value, BadPython> {
        let mut all = String::new();
        loop {
            let raw = match self.rest().find(['\'', '"']) {
                Some(end) => self.rest()[..end].contains(['r', 'R']),
                None => false,
            };
            self.at += self.rest().find(['\'', '"']).unwrap_or(0);
            self.string(&mut all, raw)?;
            self.skip_blanks();
            if !begins_text(self.rest()) {
                return Ok(all.into());
            }
        }
    }

    /// One text in quotes.
    fn string(&mut self, out: &mut String, raw: bool) -> Result<(), BadPython> {
        let begin = self.at;
        let quote = &self.rest()[..1];
        let triple = quote.repeat(3);
        let end = if self.rest().starts_with(&triple) { triple.as_str() } else { quote };
        self.at += end.len();
        loop {
            let rest = self.rest();
            if rest.starts_with(end) {
                self.at += end.len();
                return Ok(());
            }
            let Some(c) = rest.chars().next().filter(|c| *c != '\n' || end.len() == 3) else {
                self.at = begin;
                return Err(self.bad("the text has no closing quote"));
            };
            self.at += c.len_utf8();
            if c != '\\' {
                out.push(c);
            } else if raw {
                out.push('\\');
                out.extend(self.rest().chars().next());
                self.at += self.rest().chars().next().map_or(0, char::len_utf8);
            } else {
                self.escape(out)?;
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), BadPython> {
        let Some(c) = self.rest().chars().next() else { return Ok(()) };
        self.at += c.len_utf8();
        let digits = match c {
            '\n' => return Ok(()),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => {
                match c {
                    '\\' | '\'' | '"' => out.push(c),
                    'n' => out.push('\n'),
                    'r' => out.push('\r'),
                    't' => out.push('\t'),
                    '0' => out.push('\0'),
                    'a' => out.push('\u{7}'),
                    'b' => out.push('\u{8}'),
                    'f' => out.push('\u{c}'),
                    'v' => out.push('\u{b}'),
                    // Python leaves the backslash where it means nothing.
                    other => out.extend(['\\', other]),
                }
                return Ok(());
            }
        };
        let code = self.rest().get(..digits).and_then(|text| u32::from_str_radix(text, 16).ok());
        let c = code.and_then(char::from_u32).ok_or_else(|| self.bad("this is no character"))?;
        out.push(c);
        self.at += digits;
        Ok(())
    }

    fn number(&mut self) -> Result<Value, BadPython> {
        let sign_len = self.rest().len() - self.rest().trim_start_matches(['-', '+']).len();
        let negative = self.rest()[..sign_len].matches('-').count() % 2 == 1;
        let body = &self.rest()[sign_len..];
        let mut end = 0;
        for (at, c) in body.char_indices() {
            let exponent =
                matches!(c, '-' | '+') && body[..at].ends_with(['e', 'E']) && !body.starts_with("0x");
            if !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_') || exponent) {
                break;
            }
            end = at + 1;
        }
        let digits = body[..end].replace('_', "");
        let whole = match digits.get(..2) {
            Some("0x" | "0X") => i64::from_str_radix(&digits[2..], 16).ok(),
            Some("0o" | "0O") => i64::from_str_radix(&digits[2..], 8).ok(),
            _ => digits.parse().ok(),
        };
        let float = || digits.parse().ok().filter(|_| digits.contains(['.', 'e', 'E']));
        let value = match whole {
            Some(whole) => Some(Value::from(if negative { -whole } else { whole })),
            None => {
                float().and_then(|f: f64| Number::from_f64(if negative { -f } else { f })).map(Value::Number)
            }
        };
        let value = value.ok_or_else(|| self.bad(format!("{:?} is no number", &body[..end])))?;
        self.at += sign_len + end;
        Ok(value)
    }

    fn name(&mut self) -> Result<Value, BadPython> {
        if begins_text(self.rest()) {
            return self.strings();
        }
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
        let end = self.rest().find(|c| !is_part(c)).unwrap_or(self.rest().len());
        let name = &self.rest()[..end];
        let value = match name {
            "None" => Some(Value::Null),
            "True" => Some(true.into()),
            "False" => Some(false.into()),
            other => (self.named)(other),
        };
        let value =
            value.ok_or_else(|| self.bad(format!("{name} is no literal, and nothing is evaluated")))?;
        self.at += end;
        Ok(value)
    }
}

/// A text in quotes, perhaps with the letters that Python has before it. (`f` would have to be evaluated, bytes are no
/// text.)
fn begins_text(rest: &str) -> bool {
    let quote = rest.trim_start_matches(['u', 'U', 'r', 'R']);
    rest.len() - quote.len() <= 1 && quote.starts_with(['\'', '"'])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Value, BadPython> {
        parse_python(text, |name| (name == "sys.stdout").then(|| json!("ext://sys.stdout")))
    }

    #[test]
    fn literals_are_read() {
        for (text, expected) in [
            ("None", json!(null)),
            (
                "# note\n{'a': True, 'b': [1, -2.5, 1e3,], 3: ()}  # end",
                json!({"a": true, "b": [1, -2.5, 1000.0], "3": []}),
            ),
            ("('a', 'b' \"c\",\n 'd')", json!(["a", "bc", "d"])),
            ("('a',)", json!(["a"])),
            ("('a')", json!("a")),
            ("(1)", json!(1)),
            ("(sys.stdout,)", json!(["ext://sys.stdout"])),
            ("10 * 1024 * 1024", json!(10_485_760)),
            ("[1_000, 0x1F, 0o17, 0]", json!([1000, 31, 15, 0])),
            (r"'it\'s \x41\u00e9\n\d'", json!("it's A\u{e9}\n\\d")),
            (r"r'C:\logs\x'", json!(r"C:\logs\x")),
            ("'''two\nlines'''", json!("two\nlines")),
            ("u'x'", json!("x")),
            ("{'a': {'b': {}}}", json!({"a": {"b": {}}})),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_place() {
        for (text, part) in [
            ("", "ends too early: line 1 column 1"),
            ("import os\n{}", "import is no literal, and nothing is evaluated: line 1 column 1"),
            (
                "{\n 'a': os.environ['X']}",
                "os.environ is no literal, and nothing is evaluated: line 2 column 7",
            ),
            ("{'a' 1}", "`:` is missing after the key"),
            ("{'a': 1 'b': 2}", "`,` or `}` is missing"),
            ("[1 2]", "`,` or `]` is missing"),
            ("{'a': 1} x", "something follows"),
            ("'abc\n'", "no closing quote: line 1 column 1"),
            ("f'{x}'", "f is no literal"),
            ("99999999999999999999", "is no number"),
            ("1.2.3", "is no number"),
            ("'a' * 3", "only whole numbers"),
            ("{[1]: 2}", "a key is a text"),
            (r"'\u12'", "no character"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(read(&"[".repeat(100_000)).unwrap_err().why.contains("too deeply"));
    }
}
