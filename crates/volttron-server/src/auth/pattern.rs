//! The texts of auth files that may be regular expressions: `/…/` is matched against the whole value, anything
//! else by equality.

use regex::Regex;

use super::entry::{Filter, regex_body};

/// Largest compiled size of one expression. Bounds what a file can make the platform allocate.
const SIZE_LIMIT_BYTES: usize = 1 << 20;

/// Compiles the body of a `/regex/`, anchored at both ends.
pub fn compile(body: &str) -> Result<Regex, String> {
    let build = |text: &str| {
        regex::RegexBuilder::new(text)
            .size_limit(SIZE_LIMIT_BYTES)
            .build()
            .map_err(|e| e.to_string().lines().last().unwrap_or_default().trim().to_owned())
    };
    // On its own first: a body such as `a)|(b` would otherwise close our group and escape the anchors.
    build(body)?;
    // `\A…\z` and not `^…$`: a trailing newline must not slip through, and `(?m)` in the body must not matter.
    build(&format!(r"\A(?:{body})\z"))
}

/// One text of a filter, ready to match.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// Equal to.
    Exact(String),
    /// Matches from the first to the last character.
    Regex(Regex),
}

impl Pattern {
    /// Compiles a text or `/regex/`.
    pub fn new(text: &str) -> Result<Self, String> {
        match regex_body(text) {
            Some(body) => compile(body).map(Self::Regex),
            None => Ok(Self::Exact(text.to_owned())),
        }
    }

    /// Whether `value` as a whole matches.
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(text) => text == value,
            Self::Regex(regex) => regex.is_match(value),
        }
    }

    /// Whether this is a regular expression.
    pub fn is_regex(&self) -> bool {
        matches!(self, Self::Regex(_))
    }
}

/// A [`Filter`] ready to match.
#[derive(Clone, Debug)]
pub struct Matcher(Option<Vec<Pattern>>);

impl Matcher {
    /// Compiles a filter. The expressions of a valid entry always compile; one that does not matches nothing.
    pub fn new(filter: &Filter) -> Self {
        Self((!filter.is_any()).then(|| filter.texts().iter().filter_map(|t| Pattern::new(t).ok()).collect()))
    }

    /// Whether the filter accepts `value`; a filter that names nothing accepts everything.
    pub fn matches(&self, value: &str) -> bool {
        self.0.as_ref().is_none_or(|patterns| patterns.iter().any(|p| p.matches(value)))
    }

    /// The patterns; none for a filter that accepts everything.
    pub fn patterns(&self) -> &[Pattern] {
        self.0.as_deref().unwrap_or_default()
    }
}
