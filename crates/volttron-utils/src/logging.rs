//! Log records as they travel from an agent to the platform, and log lines as people read them (lifecycle.md
//! section 8). Formats only; who writes where belongs to the programs.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Python's level numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// 10
    Debug,
    /// 20
    Info,
    /// 30
    Warning,
    /// 40
    Error,
    /// 50
    Critical,
}

impl Level {
    /// Python's number.
    pub fn number(self) -> i64 {
        match self {
            Self::Debug => 10,
            Self::Info => 20,
            Self::Warning => 30,
            Self::Error => 40,
            Self::Critical => 50,
        }
    }

    /// Python's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }

    /// The level with exactly this name.
    fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical];
        all.into_iter().find(|level| level.as_str() == name)
    }

    /// The level at or below a number; everything under 20 is `Debug`.
    pub fn from_number(number: i64) -> Self {
        match number {
            50.. => Self::Critical,
            40.. => Self::Error,
            30.. => Self::Warning,
            20.. => Self::Info,
            _ => Self::Debug,
        }
    }

    /// A level from its name (any case) or number.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(number) = text.trim().parse() {
            return Some(Self::from_number(number));
        }
        Some(match text.trim().to_ascii_uppercase().as_str() {
            "DEBUG" | "TRACE" | "NOTSET" => Self::Debug,
            "INFO" => Self::Info,
            "WARNING" | "WARN" => Self::Warning,
            "ERROR" => Self::Error,
            "CRITICAL" | "FATAL" => Self::Critical,
            _ => return None,
        })
    }

    /// The digit of a syslog priority: 7 is debug, 6 and 5 info, 4 warning, 3 error, below critical.
    pub fn from_syslog(digit: u8) -> Self {
        match digit {
            0..=2 => Self::Critical,
            3 => Self::Error,
            4 => Self::Warning,
            5 | 6 => Self::Info,
            _ => Self::Debug,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A log record as an agent writes it to stderr, one JSON object per line. Fields this type does not know are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Logger, e.g. `listener.agent`.
    #[serde(default)]
    pub name: String,
    /// Level number.
    #[serde(default = "info")]
    pub levelno: i64,
    /// Level name.
    #[serde(default)]
    pub levelname: String,
    /// The finished message.
    #[serde(default)]
    pub msg: Value,
    /// Source line.
    #[serde(default)]
    pub lineno: i64,
    /// Seconds since 1970.
    #[serde(default)]
    pub created: f64,
    /// Text of an exception or a backtrace.
    #[serde(default)]
    pub exc_text: Option<String>,
    /// Everything else, as it came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn info() -> i64 {
    20
}

impl Record {
    /// A record of our own with the fields Python fills in.
    pub fn new(level: Level, name: &str, line: u32, message: &str, created: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            levelno: level.number(),
            levelname: level.as_str().to_owned(),
            msg: message.into(),
            lineno: line.into(),
            created: created.as_microsecond() as f64 / 1e6,
            exc_text: None,
            other: Map::new(),
        }
    }

    /// The line an agent writes, without the line end. Always ASCII and free of line breaks.
    pub fn to_line(&self) -> String {
        crate::json::to_string(self).unwrap_or_default()
    }

    /// Recognises a line that begins with `{`, ends with `}` and parses; anything else is raw output.
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.trim_end();
        if !line.starts_with('{') || !line.ends_with('}') {
            return None;
        }
        crate::json::from_str(line).ok()
    }

    /// Recognises `YYYY-MM-DD HH:MM:SS,mmm name LEVEL: message`, as Python agents write when their output is no pipe.
    pub fn parse_plain(line: &str) -> Option<Self> {
        let when = TimeZone::system().to_timestamp(clock_time(line.get(..23)?)?).ok()?;
        let (head, message) = line.get(23..)?.strip_prefix(' ')?.split_once(": ")?;
        let (name, level) = head.rsplit_once(' ')?;
        Some(Self::new(Level::from_name(level)?, name, 0, message, when))
    }

    /// The level.
    pub fn level(&self) -> Level {
        Level::from_number(self.levelno)
    }

    /// When the record was made; now if the field makes no sense.
    pub fn when(&self) -> Timestamp {
        // Rounded, because a double holds present times only to a fraction of a microsecond.
        let micros = (self.created * 1e6).round();
        if micros > 0.0 && micros < 9e15 {
            Timestamp::from_microsecond(micros as i64).unwrap_or_else(|_| Timestamp::now())
        } else {
            Timestamp::now()
        }
    }

    /// The message, with the exception text on the following lines.
    pub fn text(&self) -> String {
        let message = match &self.msg {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match self.exc_text.as_deref().filter(|t| !t.is_empty()) {
            Some(exception) => format!("{message}\n{exception}"),
            None => message,
        }
    }
}

/// One line of an agent's stderr that is not a record: `<N>text` with a syslog digit, else an error.
pub fn raw_stderr(line: &str) -> (Level, &str) {
    let bytes = line.as_bytes();
    match bytes {
        [b'<', digit @ b'0'..=b'7', b'>', ..] => (Level::from_syslog(digit - b'0'), &line[3..]),
        _ => (Level::Error, line),
    }
}

/// Who a line of the server's log comes from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// The platform itself.
    Platform {
        /// Logger.
        name: &'a str,
        /// Source line.
        line: i64,
    },
    /// A record sent by an agent.
    Agent {
        /// `<package>-<version>`.
        agent: &'a str,
        /// Its process.
        pid: u32,
        /// Logger.
        name: &'a str,
        /// Source line.
        line: i64,
    },
    /// Raw output of an agent.
    Raw {
        /// `<package>-<version>`.
        agent: &'a str,
        /// Its process.
        pid: u32,
        /// `stdout` or `stderr`.
        stream: &'static str,
    },
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform { name, line } => write!(f, "() {name} [{line}]"),
            Self::Agent { agent, pid, name, line } => write!(f, "({agent} {pid} [{line}]) {name}"),
            Self::Raw { agent, pid, stream } => write!(f, "({agent} {pid} [0]) <{stream}>"),
        }
    }
}

/// A line of the server's log: `YYYY-MM-DD HH:MM:SS,mmm <who> LEVEL: message`, local time.
pub fn server_line(when: Timestamp, source: Source<'_>, level: Level, message: &str) -> String {
    server_line_in(when, &TimeZone::system(), source, level, message)
}

/// [`server_line`] in a given zone.
pub fn server_line_in(
    when: Timestamp,
    zone: &TimeZone,
    source: Source<'_>,
    level: Level,
    message: &str,
) -> String {
    format!("{} {source} {level}: {message}", clock(when, zone))
}

/// A line of the server's log, taken apart again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLine<'a> {
    /// When, to the millisecond.
    pub when: Timestamp,
    /// `<package>-<version>` and process of the agent it comes from; none for the platform itself.
    pub agent: Option<(&'a str, u32)>,
    /// Logger, or `<stdout>` and `<stderr>` for raw output.
    pub logger: &'a str,
    /// Source line, 0 if there is none.
    pub line: i64,
    /// The level.
    pub level: Level,
    /// The message, of which the line may be only the beginning.
    pub message: &'a str,
}

impl<'a> ServerLine<'a> {
    /// None for a line that continues a message, or comes from elsewhere.
    pub fn parse(text: &'a str) -> Option<Self> {
        Self::parse_in(text, &TimeZone::system())
    }

    /// [`Self::parse`] in a given zone.
    pub fn parse_in(text: &'a str, zone: &TimeZone) -> Option<Self> {
        let when = clock_time(text.get(..23)?)?;
        let (who, rest) = text.get(23..)?.strip_prefix(" (")?.split_once(") ")?;
        let mut at = 0;
        let (head, level, message) = loop {
            let colon = at + rest[at..].find(": ").or_else(|| rest[at..].strip_suffix(':').map(str::len))?;
            let (head, word) = rest[..colon].rsplit_once(' ')?;
            if let Some(level) = Level::from_name(word) {
                break (head, level, rest.get(colon + 2..).unwrap_or_default());
            }
            at = colon + 1;
        };
        let when = zone.to_timestamp(when).ok()?;
        let bracket = |text: &str| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
        if who.is_empty() {
            // Some generations of the platform leave the source line out.
            let split = head.rsplit_once(' ').and_then(|(name, line)| Some((name, bracket(line)?)));
            let (logger, line) = split.unwrap_or((head, 0));
            return Some(Self { when, agent: None, logger, line, level, message });
        }
        let (who, line) = who.rsplit_once(' ')?;
        let (name, pid) = who.rsplit_once(' ')?;
        let agent = Some((name, pid.parse().ok()?));
        Some(Self { when, agent, logger: head, line: bracket(line)?, level, message })
    }
}

/// `YYYY-MM-DD HH:MM:SS,mmm`
fn clock_time(text: &str) -> Option<jiff::civil::DateTime> {
    let bytes = text.as_bytes();
    let signs = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':'), (19, b',')];
    if bytes.len() != 23 || signs.iter().any(|&(at, sign)| bytes[at] != sign) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i16>().ok();
    let small = |range| i8::try_from(number(range)?).ok();
    let nanos = i32::from(number(20..23)?) * 1_000_000;
    let (date, time) =
        ((number(0..4)?, small(5..7)?, small(8..10)?), (small(11..13)?, small(14..16)?, small(17..19)?));
    jiff::civil::DateTime::new(date.0, date.1, date.2, time.0, time.1, time.2, nanos).ok()
}

/// A line of an agent that runs without the platform: `time name line LEVEL: message`.
pub fn agent_line(when: Timestamp, name: &str, line: i64, level: Level, message: &str) -> String {
    format!("{} {name} {line} {level}: {message}", clock(when, &TimeZone::system()))
}

/// `YYYY-MM-DD HH:MM:SS,mmm`, as the lines begin with it.
pub fn clock(when: Timestamp, zone: &TimeZone) -> String {
    let t = zone.to_datetime(when);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02},{:03}",
        t.year(),
        t.month(),
        t.day(),
        t.hour(),
        t.minute(),
        t.second(),
        t.millisecond()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_the_pipe() {
        let when: Timestamp = "2026-03-04T16:00:00.123456Z".parse().unwrap();
        let record = Record::new(Level::Warning, "listener.agent", 41, "caf\u{e9}\n2", when);
        let line = record.to_line();
        assert!(line.is_ascii() && !line.contains('\n'), "{line}");
        let back = Record::parse(&line).unwrap();
        assert_eq!(back.text(), "caf\u{e9}\n2");
        assert_eq!((back.level(), back.when(), back.lineno), (Level::Warning, when, 41));
    }

    #[test]
    fn a_record_written_by_python() {
        let line = r#"{"name": "a.b", "msg": "x", "args": null, "levelname": "ERROR", "levelno": 40, "created": 1795195435.5,
            "exc_text": "Traceback", "process": 12, "lineno": 3}"#
            .replace('\n', " ");
        let record = Record::parse(&line).unwrap();
        assert_eq!(record.text(), "x\nTraceback");
        assert_eq!(record.other["process"], 12);
        let plain = Record::parse_plain("2026-03-04 16:00:00,123 a.b WARNING: x: y").unwrap();
        assert_eq!(
            (plain.name.as_str(), plain.level(), plain.text()),
            ("a.b", Level::Warning, "x: y".to_owned())
        );
        assert!(Record::parse_plain("2026-03-04 16:00:00,123 a.b LOUD: x").is_none());
        for raw in ["", "text", "{not json}", "[1]", "{\"a\": 1} x"] {
            assert!(Record::parse(raw).is_none(), "{raw}");
        }
        assert_eq!(Record::parse("{}").unwrap().level(), Level::Info);
    }

    #[test]
    fn lines_for_people() {
        let when: Timestamp = "2026-03-04T16:00:00.1239Z".parse().unwrap();
        let line = |source| server_line_in(when, &TimeZone::UTC, source, Level::Info, "hi");
        let agent = "listeneragent-3.3";
        for (source, expected) in [
            (Source::Platform { name: "volttron.core", line: 7 }, "() volttron.core [7] INFO: hi"),
            (
                Source::Agent { agent, pid: 12, name: "listener.agent", line: 41 },
                "(listeneragent-3.3 12 [41]) listener.agent INFO: hi",
            ),
            (
                Source::Raw { agent, pid: 12, stream: "stdout" },
                "(listeneragent-3.3 12 [0]) <stdout> INFO: hi",
            ),
        ] {
            let line = line(source);
            assert_eq!(line, format!("2026-03-04 16:00:00,123 {expected}"));
            let back = ServerLine::parse_in(&line, &TimeZone::UTC).expect("a line");
            assert_eq!(
                (back.level, back.message, back.when.as_millisecond()),
                (Level::Info, "hi", 1_772_640_000_123)
            );
            assert_eq!(server_line_in(when, &TimeZone::UTC, source, back.level, back.message), line);
            let who = match source {
                Source::Platform { name, line } => (None, name, line),
                Source::Agent { agent, pid, name, line } => (Some((agent, pid)), name, line),
                Source::Raw { agent, pid, .. } => (Some((agent, pid)), "<stdout>", 0),
            };
            assert_eq!((back.agent, back.logger, back.line), who);
        }
    }

    #[test]
    fn other_lines_are_no_lines_of_the_server() {
        let parse = |text| ServerLine::parse_in(text, &TimeZone::UTC);
        for text in [
            "",
            "Traceback (most recent call last):",
            "2026-03-04 16:00:00,123",
            "2026-03-04 16:00:00,123 () x",
            "2026-03-04 16:00:00,123 (a [1]) x INFO: y",
            "2026-13-04 16:00:00,123 () x [1] INFO: y",
            "2026-03-04 16:00:00,12\u{e4} () x [1] INFO: y",
            "2026-03-04 16:00:00,123 () x [1] LOUD: y",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        let old = parse("2026-03-04 16:00:00,123 () a.b WARNING: x INFO: y").expect("without a source line");
        assert_eq!((old.logger, old.line, old.level, old.message), ("a.b", 0, Level::Warning, "x INFO: y"));
        let empty = parse("2026-03-04 16:00:00,123 (a b 7 [1]) l ERROR: ").expect("an empty message");
        assert_eq!((empty.agent, empty.message), (Some(("a b", 7)), ""));
    }

    #[test]
    fn raw_output_levels() {
        for (line, level, text) in [
            ("<7>x", Level::Debug, "x"),
            ("<5>x", Level::Info, "x"),
            ("<4>x", Level::Warning, "x"),
            ("<3>x", Level::Error, "x"),
            ("<0>x", Level::Critical, "x"),
            ("<8>x", Level::Error, "<8>x"),
            ("x", Level::Error, "x"),
            ("<", Level::Error, "<"),
        ] {
            assert_eq!(raw_stderr(line), (level, text));
        }
        assert_eq!(Level::parse("warn"), Some(Level::Warning));
        assert_eq!(Level::parse("25"), Some(Level::Info));
        assert_eq!(Level::parse("loud"), None);
    }
}
