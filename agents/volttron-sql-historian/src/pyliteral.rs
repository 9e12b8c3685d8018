//! Python's notation of maps, lists and texts, as old aggregate historians stored it. Only what they write.

use serde_json::Value;

/// Reads text such as `{'configured_topics': [u'a', 'b'], 'x': None}`.
pub fn to_value(text: &str) -> Option<Value> {
    serde_json::from_str(&to_json(text)?).ok()
}

/// Rewrites Python notation as JSON: quotes, `u` prefixes, `None`, `True`, `False`, tuples.
fn to_json(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(tail) = rest.strip_prefix("u'").or_else(|| rest.strip_prefix("u\"")) {
            let quote = rest.chars().nth(1)?;
            rest = string(tail, quote, &mut out)?;
            continue;
        }
        let word = [("None", "null"), ("True", "true"), ("False", "false")]
            .iter()
            .find(|(w, _)| rest.starts_with(w));
        if let Some((word, json)) = word {
            out.push_str(json);
            rest = &rest[word.len()..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '\'' | '"' => rest = string(rest, c, &mut out)?,
            '(' => out.push('['),
            ')' => out.push(']'),
            c => out.push(c),
        }
    }
    Some(out)
}

/// Copies a quoted text up to its closing quote as a JSON string; returns what follows.
fn string<'a>(text: &'a str, quote: char, out: &mut String) -> Option<&'a str> {
    let mut plain = String::new();
    let mut chars = text.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => match chars.next()?.1 {
                'n' => plain.push('\n'),
                't' => plain.push('\t'),
                other => plain.push(other),
            },
            c if c == quote => {
                out.push_str(&serde_json::to_string(&plain).ok()?);
                return Some(&text[i + c.len_utf8()..]);
            }
            c => plain.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_old_historians_wrote() {
        for (text, want) in [
            ("{'configured_topics': ['a/b', u'c']}", json!({"configured_topics": ["a/b", "c"]})),
            (
                r#"{'p': "it's", 'q': 'a\'b', 'r': 'say "x"'}"#,
                json!({"p": "it's", "q": "a'b", "r": "say \"x\""}),
            ),
            (
                "{'a': (1, 2.5), 'b': None, 'c': True, 'd': 'None'}",
                json!({"a": [1, 2.5], "b": null, "c": true, "d": "None"}),
            ),
        ] {
            assert_eq!(to_value(text), Some(want), "{text}");
        }
        for text in ["", "{'a", "{'a': }", "import os"] {
            assert_eq!(to_value(text), None, "{text}");
        }
    }
}
