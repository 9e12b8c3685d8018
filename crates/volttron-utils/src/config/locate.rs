//! Where in a configuration text a value stands, for messages about it.

use std::collections::HashSet;

use saphyr_parser::{Event, Marker, Parser};

use crate::json;

/// A key that its mapping has had already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepeatedKey {
    /// The key.
    pub key: String,
    /// Line where it stands again, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

/// Keys that stand in one mapping more than once, of which readers would take the last. As far as the text can be read.
pub fn repeated_keys(text: &str) -> Vec<RepeatedKey> {
    let text = readable(text);
    let (mut walk, mut seen, mut found) = (Walk::default(), Vec::<HashSet<String>>::new(), Vec::new());
    let mut parser = Parser::new_from_str(&text);
    while let Some(Ok((event, span))) = parser.next_event() {
        match &event {
            // Several merges are no repetition.
            Event::Scalar(key, ..) if walk.is_key() && key != "<<" => {
                let keys = seen.last_mut();
                if keys.is_some_and(|keys| !keys.insert(key.to_string())) {
                    let (line, column) = (span.start.line(), span.start.col() + 1);
                    found.push(RepeatedKey { key: key.to_string(), line, column });
                }
            }
            Event::MappingStart(..) | Event::SequenceStart(..) => seen.push(HashSet::new()),
            Event::MappingEnd | Event::SequenceEnd => drop(seen.pop()),
            _ => {}
        }
        walk.advance(&event, span.start);
    }
    found
}

/// The text as the YAML parser reads it: JSON is nearly YAML, only its comments have to go.
fn readable(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let stripped = json::strip_comments(text);
    let json = stripped.trim_start().starts_with(['{', '[']);
    // Tabs may indent JSON, but not YAML.
    if json { stripped.replace('\t', " ") } else { text.to_owned() }
}

/// The line, from 1, of the value that this JSON pointer (RFC 6901) names; of its key, if it has one. None if there is
/// no such value, or if the text cannot be read that far.
///
/// JSON is read as the YAML that it nearly is: only its comments go first.
pub fn line_of(text: &str, pointer: &str) -> Option<usize> {
    place_of(text, pointer).map(|(line, _)| line)
}

/// As [`line_of`], with the column, from 1.
pub fn place_of(text: &str, pointer: &str) -> Option<(usize, usize)> {
    let text = readable(text);
    let wanted: Vec<String> =
        pointer.split('/').skip(1).map(|t| t.replace("~1", "/").replace("~0", "~")).collect();
    let mut walk = Walk::default();
    let mut parser = Parser::new_from_str(&text);
    while let Some(Ok((event, span))) = parser.next_event() {
        if let Some(found) = walk.step(&event, span.start, &wanted) {
            return Some(found);
        }
    }
    None
}

/// What is open around the present place.
#[derive(Debug)]
enum Open {
    Sequence {
        next: usize,
    },
    /// The key that was read last, with its place, until its value ends.
    Mapping {
        key: Option<(String, Marker)>,
    },
}

#[derive(Debug, Default)]
struct Walk {
    open: Vec<Open>,
}

impl Walk {
    /// The place that is wanted, if this event begins its value.
    fn step(&mut self, event: &Event<'_>, start: Marker, wanted: &[String]) -> Option<(usize, usize)> {
        let begins = match event {
            Event::Scalar(..) => !self.is_key(),
            Event::Alias(_) | Event::SequenceStart(..) | Event::MappingStart(..) => true,
            _ => false,
        };
        if begins && self.is_at(wanted) {
            return Some(self.place(start));
        }
        self.advance(event, start);
        None
    }

    /// Goes past an event.
    fn advance(&mut self, event: &Event<'_>, start: Marker) {
        match event {
            Event::Scalar(text, ..) if self.is_key() => {
                if let Some(Open::Mapping { key }) = self.open.last_mut() {
                    *key = Some((text.to_string(), start));
                }
            }
            Event::Scalar(..) | Event::Alias(_) => self.close(),
            Event::SequenceStart(..) => self.open.push(Open::Sequence { next: 0 }),
            Event::MappingStart(..) => self.open.push(Open::Mapping { key: None }),
            Event::SequenceEnd | Event::MappingEnd => {
                self.open.pop();
                self.close();
            }
            _ => {}
        }
    }

    fn is_key(&self) -> bool {
        matches!(self.open.last(), Some(Open::Mapping { key: None }))
    }

    fn is_at(&self, wanted: &[String]) -> bool {
        wanted.len() == self.open.len()
            && self.open.iter().zip(wanted).all(|(open, wanted)| match open {
                Open::Sequence { next } => next.to_string() == *wanted,
                Open::Mapping { key } => key.as_ref().is_some_and(|(key, _)| key == wanted),
            })
    }

    /// The place of the key of what begins here, or of itself.
    fn place(&self, start: Marker) -> (usize, usize) {
        let mark = match self.open.last() {
            Some(Open::Mapping { key: Some((_, mark)) }) => *mark,
            _ => start,
        };
        (mark.line(), mark.col() + 1)
    }

    /// A value has ended.
    fn close(&mut self) {
        match self.open.last_mut() {
            Some(Open::Sequence { next }) => *next += 1,
            Some(Open::Mapping { key }) => *key = None,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_found_wherever_it_is() {
        for (text, expected) in [
            ("a: 1\nb: {a: 2}\na: 3\n", vec![("a", 3, 1)]),
            ("l:\n  - {x: 1, y: 2, x: 3}\n  - x: 1\n", vec![("x", 2, 18)]),
            ("{ // one\n\t\"a\": {\"b\": 1},\n\t\"a\": 2,\n\t\"b\": \"b\"}", vec![("a", 3, 2)]),
            ("b: &b {x: 1}\nc: {<<: *b, <<: *b, x: 2}\n", vec![]),
            ("? [a, a]\n: 1\n", vec![]),
            ("", vec![]),
        ] {
            let found = repeated_keys(text);
            let found: Vec<_> = found.iter().map(|k| (k.key.as_str(), k.line, k.column)).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn values_are_found_in_json_and_in_yaml() {
        let json =
            "{ // tcp\n\t\"a\": 1,\n  \"b\": [\n    {\"x/y\": 2},\n    true # no\n  ],\n  \"c\":\n    5\n}";
        let yaml = "# note\na: 1\nurl: tcp://here\nb:\n  - x: 1\n    z: 2\n  - [3,\n     4]\n";
        for (text, pointer, line) in [
            (json, "", Some(1)),
            (json, "/a", Some(2)),
            (json, "/b", Some(3)),
            (json, "/b/0/x~1y", Some(4)),
            (json, "/b/1", Some(5)),
            (json, "/c", Some(7)),
            (json, "/d", None),
            (yaml, "/url", Some(3)),
            (yaml, "/b/0/z", Some(6)),
            (yaml, "/b/1/1", Some(8)),
            (yaml, "/b/2", None),
            ("{", "/a", None),
        ] {
            assert_eq!(line_of(text, pointer), line, "{pointer} of {text}");
        }
        assert_eq!((place_of(json, "/b/0/x~1y"), place_of(yaml, "/b/0/z")), (Some((4, 6)), Some((6, 5))));
    }
}
