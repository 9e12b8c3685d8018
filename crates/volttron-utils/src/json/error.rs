//! Why a document could not be read.

use thiserror::Error;

/// A document that could not be read. Displayed as Python displays it:
/// `Expecting value: line 1 column 2 (char 1)`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", self.text())]
pub struct JsonError {
    message: String,
    at: Option<Position>,
}

/// Where in a document something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Characters from the beginning, from 0.
    pub offset: usize,
}

impl JsonError {
    /// The problem without its position, in Python's words for syntax errors.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where the problem is; `None` if the document is valid JSON of an unexpected shape.
    pub fn position(&self) -> Option<Position> {
        self.at
    }

    /// Line of the problem, from 1; 0 without a position.
    pub fn line(&self) -> usize {
        self.at.map_or(0, |at| at.line)
    }

    /// Column of the problem in characters, from 1; 0 without a position.
    pub fn column(&self) -> usize {
        self.at.map_or(0, |at| at.column)
    }

    /// A syntax error at byte `offset_bytes` of `text`.
    pub(super) fn syntax(message: impl Into<String>, text: &str, offset_bytes: usize) -> Self {
        let before = &text.as_bytes()[..offset_bytes.min(text.len())];
        let chars = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let at = Position {
            line: before.split(|&byte| byte == b'\n').count(),
            column: 1 + chars(&before[line_start..]),
            offset: chars(before),
        };
        JsonError { message: message.into(), at: Some(at) }
    }

    pub(super) fn shape(error: &serde_json::Error) -> Self {
        JsonError { message: error.to_string(), at: None }
    }

    fn text(&self) -> String {
        match self.at {
            Some(Position { line, column, offset }) => {
                format!("{}: line {line} column {column} (char {offset})", self.message)
            }
            None => self.message.clone(),
        }
    }
}
