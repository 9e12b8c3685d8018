//! Comments in configuration documents (subsystems.md section 11.4).

use serde::de::DeserializeOwned;

use super::{JsonError, from_str};

/// Replaces comments by blanks, so that positions in error texts stay true: `#` and `//` to the end of the line,
/// `/* */`. Inside `"…"` and `'…'` nothing is a comment. An unclosed `/*` reaches to the end.
pub fn strip_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut quote = None;
    while let Some(c) = chars.next() {
        if let Some(open) = quote {
            out.push(c);
            if c == '\\' {
                out.extend(chars.next());
            } else if c == open {
                quote = None;
            }
            continue;
        }
        match (c, chars.peek()) {
            ('"' | '\'', _) => {
                quote = Some(c);
                out.push(c);
            }
            ('#', _) | ('/', Some('/')) => {
                out.push(' ');
                while let Some(c) = chars.next_if(|&c| c != '\n') {
                    out.push(blank(c));
                }
            }
            ('/', Some('*')) => {
                chars.next();
                out.push_str("  ");
                let mut star = false;
                for c in chars.by_ref() {
                    out.push(blank(c));
                    if star && c == '/' {
                        break;
                    }
                    star = c == '*';
                }
            }
            _ => out.push(c),
        }
    }
    out
}

fn blank(c: char) -> char {
    if matches!(c, '\n' | '\r' | '\t') { c } else { ' ' }
}

/// Reads a configuration document: comments removed first, then as [`super::from_slice`].
pub fn parse_commented<T: DeserializeOwned>(text: &str) -> Result<T, JsonError> {
    from_str(&strip_comments(text))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn comments_become_blanks() {
        for (text, stripped) in [
            ("{} # x\n[]", "{}    \n[]"),
            ("1 // é\n", "1     \n"),
            ("a/*\n*/b", "a  \n  b"),
            ("a/***/b", "a     b"),
            ("\"# // /* \\\" */\" # c", "\"# // /* \\\" */\"    "),
            ("'#' '//'#", "'#' '//' "),
            ("a / b", "a / b"),
            ("/* open", "       "),
            ("/*/ x */y", "        y"),
        ] {
            assert_eq!(strip_comments(text), stripped, "{text}");
        }
    }

    #[test]
    fn positions_survive_stripping() {
        let error = parse_commented::<Value>("{ /* one */\n  # two\n  \"a\": }").unwrap_err();
        assert_eq!((error.line(), error.column()), (3, 8));
        assert_eq!(
            parse_commented::<Value>("{\"a\": \"http://x\"} // end").ok(),
            Some(json!({"a": "http://x"}))
        );
    }
}
