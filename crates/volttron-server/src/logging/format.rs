//! What a line of the log looks like: as the platform writes it, or as a format of Python's `logging` asks.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use volttron_utils::logging::{Level, Source, clock, server_line};

/// What a line looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// The platform's own form, which `vctl logs` can take apart again.
    #[default]
    Platform,
    /// A format of Python's `logging`.
    Python {
        /// What it is made of.
        pieces: Vec<Piece>,
        /// How `asctime` is written, where not with milliseconds as usual.
        date: Option<String>,
    },
}

/// A piece of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// As it stands.
    Text(String),
    /// A field, at least so wide; to the left with a negative width.
    Field(Field, isize),
}

/// What a format can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// `asctime`
    Time,
    /// `levelname`
    LevelName,
    /// `levelno`
    LevelNumber,
    /// `name`
    Logger,
    /// `message`
    Message,
    /// `process`
    Process,
    /// `lineno`
    SourceLine,
    /// `msecs`
    Milliseconds,
    /// `composite_name` of the platform's `AgentFormatter`.
    Composite,
}

impl Field {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "asctime" => Self::Time,
            "levelname" => Self::LevelName,
            "levelno" => Self::LevelNumber,
            "name" => Self::Logger,
            "message" => Self::Message,
            "process" => Self::Process,
            "lineno" => Self::SourceLine,
            "msecs" => Self::Milliseconds,
            "composite_name" => Self::Composite,
            _ => return None,
        })
    }
}

impl Format {
    /// Reads a format string of Python's `%` style and a date format; the error names what cannot be done.
    pub(crate) fn parse(format: &str, date: Option<&str>) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = format;
        let mut text = String::new();
        while let Some(at) = rest.find('%') {
            text.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                text.push('%');
                rest = after;
                continue;
            }
            let (field, after) = field(rest).ok_or_else(|| {
                let end = rest.find(')').map_or(rest.len(), |end| (end + 2).min(rest.len()));
                format!("%{}", rest.get(..end).unwrap_or(rest))
            })?;
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(field);
            rest = after;
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        if let Some(date) = date {
            dated(date, Timestamp::UNIX_EPOCH).map_err(|_| format!("the date format {date:?}"))?;
        }
        Ok(Self::Python { pieces, date: date.map(str::to_owned) })
    }

    /// A line, without its end.
    pub(crate) fn line(&self, when: Timestamp, source: Source<'_>, level: Level, message: &str) -> String {
        let Self::Python { pieces, date } = self else { return server_line(when, source, level, message) };
        let mut line = String::with_capacity(message.len() + 64);
        for piece in pieces {
            match piece {
                Piece::Text(text) => line.push_str(text),
                Piece::Field(Field::Message, 0) => line.push_str(message),
                Piece::Field(field, width) => {
                    let text = value(*field, date.as_deref(), when, source, level, message);
                    let fill = width.unsigned_abs().saturating_sub(text.chars().count());
                    let (before, after) = if *width > 0 { (fill, 0) } else { (0, fill) };
                    line.extend(std::iter::repeat_n(' ', before));
                    line.push_str(&text);
                    line.extend(std::iter::repeat_n(' ', after));
                }
            }
        }
        line
    }
}

/// `(name)-8s` and what follows it.
fn field(text: &str) -> Option<(Piece, &str)> {
    let (name, rest) = text.strip_prefix('(')?.split_once(')')?;
    let field = Field::named(name)?;
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '-'))?;
    let width = match &rest[..end] {
        "" => 0,
        width => width.parse().ok().filter(|width: &isize| width.unsigned_abs() < 1000)?,
    };
    let number =
        matches!(field, Field::LevelNumber | Field::Process | Field::SourceLine | Field::Milliseconds);
    let mut after = rest[end..].chars();
    match after.next()? {
        's' => {}
        'd' if number => {}
        _ => return None,
    }
    Some((Piece::Field(field, width), after.as_str()))
}

fn value(
    field: Field,
    date: Option<&str>,
    when: Timestamp,
    source: Source<'_>,
    level: Level,
    message: &str,
) -> String {
    match field {
        Field::Time => {
            date.and_then(|date| dated(date, when).ok()).unwrap_or_else(|| clock(when, &TimeZone::system()))
        }
        Field::LevelName => level.as_str().to_owned(),
        Field::LevelNumber => level.number().to_string(),
        Field::Logger => match source {
            Source::Platform { name, .. } | Source::Agent { name, .. } => name.to_owned(),
            Source::Raw { agent, .. } => agent.to_owned(),
        },
        Field::Message => message.to_owned(),
        Field::Process => match source {
            Source::Platform { .. } => std::process::id(),
            Source::Agent { pid, .. } | Source::Raw { pid, .. } => pid,
        }
        .to_string(),
        Field::SourceLine => match source {
            Source::Platform { line, .. } | Source::Agent { line, .. } => line,
            Source::Raw { .. } => 0,
        }
        .to_string(),
        Field::Milliseconds => when.as_millisecond().rem_euclid(1000).to_string(),
        Field::Composite => source.to_string(),
    }
}

fn dated(format: &str, when: Timestamp) -> Result<String, jiff::Error> {
    jiff::fmt::strtime::format(format, &when.to_zoned(TimeZone::system()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_python_are_followed() {
        let when: Timestamp = "2026-03-04T16:00:00.123Z".parse().unwrap();
        let agent = Source::Agent { agent: "a-1", pid: 12, name: "x.y", line: 41 };
        let line = |format: &str, date| {
            Format::parse(format, date).unwrap().line(when, agent, Level::Info, "hi\nthere")
        };
        assert_eq!(line("%(message)s", None), "hi\nthere");
        assert_eq!(
            line("%(levelname)-8s|%(levelno)4d|%(name)s|%(process)d|%(lineno)d 100%%", None),
            "INFO    |  20|x.y|12|41 100%"
        );
        assert_eq!(line("%(composite_name)s %(msecs)d", None), "(a-1 12 [41]) x.y 123");
        let local = clock(when, &TimeZone::system());
        assert_eq!(line("%(asctime)s", None), local);
        assert_eq!(line("%(asctime)s!", Some("%Y-%m-%d %H:%M:%S")), format!("{}!", &local[..19]));
        let platform = Source::Platform { name: "p", line: 7 };
        let format = Format::parse("%(process)d %(name)s", None).unwrap();
        assert_eq!(format.line(when, platform, Level::Info, ""), format!("{} p", std::process::id()));
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        for (format, part) in [
            ("%(message)s %(threadName)s", "%(threadName)s"),
            ("%(message)r", "%(message)r"),
            ("%(name)d", "%(name)d"),
            ("%(message", "%(message"),
            ("5%", "%"),
        ] {
            assert_eq!(Format::parse(format, None).unwrap_err(), part);
        }
        assert!(Format::parse("%(asctime)s", Some("%!")).unwrap_err().contains("%!"));
    }
}
