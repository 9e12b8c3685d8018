//! The two pattern languages of the field: shell-style names (`* ? [..]`) and texts between slashes, which are
//! regular expressions anchored at both ends.

use regex::Regex;

/// Shell-style match of a whole text: `*` any run, `?` one character, `[abc]`, `[a-z]`, `[!abc]`. Case-sensitive;
/// an unclosed `[` stands for itself (as Python's `fnmatchcase`).
///
/// Linear memory, and time bounded by pattern length times text length.
pub fn fnmatch(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p + 1, t));
            p += 1;
        } else if let Some(used) = match_one(&pattern[p..], text[t]) {
            p += used;
            t += 1;
        } else if let Some((after, at)) = star {
            // Let the last star swallow one more character; earlier stars need not be reconsidered.
            star = Some((after, at + 1));
            p = after;
            t = at + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Matches one character against the head of the pattern; gives the pattern characters used.
fn match_one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => match class_end(pattern) {
            Some(end) => in_class(&pattern[1..end], c).then_some(end + 1),
            None => (c == '[').then_some(1),
        },
        literal => (*literal == c).then_some(1),
    }
}

/// Index of the `]` that closes the class at the head of `pattern`. A `]` right after `[` or `[!` is a member.
fn class_end(pattern: &[char]) -> Option<usize> {
    let mut at = 1;
    if pattern.get(at) == Some(&'!') {
        at += 1;
    }
    if pattern.get(at) == Some(&']') {
        at += 1;
    }
    pattern.iter().skip(at).position(|c| *c == ']').map(|found| at + found)
}

fn in_class(class: &[char], c: char) -> bool {
    let (negated, members) = match class.split_first() {
        Some(('!', rest)) => (true, rest),
        _ => (false, class),
    };
    let mut at = 0;
    let mut found = false;
    while at < members.len() {
        if members.get(at + 1) == Some(&'-') && at + 2 < members.len() {
            found |= (members[at]..=members[at + 2]).contains(&c);
            at += 3;
        } else {
            found |= members[at] == c;
            at += 1;
        }
    }
    found != negated
}

/// A text to compare with, or a regular expression when it was written between slashes (`/ahu.*/`).
#[derive(Debug, Clone)]
pub enum Rule {
    /// Compared for equality.
    Text(String),
    /// Matched against the whole text.
    Regex(Regex),
}

/// A regular expression that does not compile here. (Python's look-around and back references are not supported.)
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad pattern {pattern:?}: {why}")]
pub struct BadPattern {
    /// As written.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

impl Rule {
    /// Parses a text. Slashes around at least nothing make a regular expression: `//` matches only the empty text.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        match between_slashes(text) {
            Some(inner) => anchored(inner).map(Self::Regex),
            None => Ok(Self::Text(text.to_owned())),
        }
    }

    /// Whether `text` satisfies the rule.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Text(own) => own == text,
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

/// The inside of `/.../`, if the text is written so.
pub fn between_slashes(text: &str) -> Option<&str> {
    text.strip_prefix('/')?.strip_suffix('/')
}

/// Compiles a regular expression that has to match a whole text.
pub fn anchored(pattern: &str) -> Result<Regex, BadPattern> {
    let bad = |e: &regex::Error| BadPattern { pattern: pattern.to_owned(), why: e.to_string() };
    // On its own first, so that an unbalanced parenthesis cannot break out of the group.
    regex::RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|e| bad(&e))?;
    regex::RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(1 << 20).build().map_err(|e| bad(&e))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shell_patterns() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("*a*b", "xaxxbxb", true),
            ("devices/*", "devices/a/b", true),
            ("?", "é", true),
            ("[abc]x", "bx", true),
            ("[!abc]x", "bx", false),
            ("[a-c]", "b", true),
            ("[]a]", "]", true),
            ("[!]a]", "]", false),
            ("[a", "[a", true),
            ("[a-]", "-", true),
            ("A", "a", false),
        ] {
            assert_eq!(fnmatch(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn rules() {
        for (rule, text, expected) in [
            ("ahu", "ahu", true),
            ("ahu", "ahu1", false),
            ("/ahu.*/", "ahu1", true),
            ("/ahu/", "ahu1", false),
            ("/a|b/", "b", true),
            ("/a|b/", "ab", false),
            ("//", "", true),
            ("/", "/", true),
        ] {
            assert_eq!(Rule::parse(rule).unwrap().matches(text), expected, "{rule} on {text}");
        }
        assert!(Rule::parse("/(/").is_err());
        assert!(Rule::parse("/a)(b/").is_err());
    }

    proptest! {
        #[test]
        fn star_patterns_agree_with_regex(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            let regex = pattern.replace('*', ".*").replace('?', ".");
            prop_assert_eq!(fnmatch(&pattern, &text), anchored(&regex).unwrap().is_match(&text));
        }

        #[test]
        fn nothing_panics(pattern in "\\PC{0,20}", text in "\\PC{0,20}") {
            let _ = fnmatch(&pattern, &text);
        }
    }
}
