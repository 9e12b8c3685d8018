//! What agents write to their standard output and error: drained always, passed to the platform's log and to
//! the agent's own file, and the last lines kept so that a failed start can be explained.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use volttron_utils::logging::{Level, Record, Source, raw_stderr, server_line};

use crate::logging::{self, agent_files::AgentFiles};

/// Lines kept per agent.
const TAIL_LINES: usize = 20;
/// A longer line is cut here; the rest becomes the next line.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// The last lines an agent wrote.
#[derive(Debug, Default)]
pub struct LogTail(Mutex<Tail>);

#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<String>,
    /// The last one that tells of an error.
    error: Option<String>,
}

impl LogTail {
    fn keep(&self, level: Level, line: String) {
        let mut tail = self.lock();
        // A panic ends with a hint that says nothing about it.
        if level >= Level::Error && !line.starts_with("note: run with `RUST_BACKTRACE=") {
            tail.error = Some(line.clone());
        }
        if tail.lines.len() == TAIL_LINES {
            tail.lines.pop_front();
        }
        tail.lines.push_back(line);
    }

    /// Forgets what an earlier process wrote.
    pub fn clear(&self) {
        *self.lock() = Tail::default();
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.iter().cloned().collect()
    }

    /// The last line that tells of an error.
    pub fn error(&self) -> Option<String> {
        self.lock().error.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tail> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Where the lines of one process of an agent go.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Its `<package>-<version>`.
    pub name: String,
    /// Its identity.
    pub identity: Arc<str>,
    /// Process id.
    pub pid: u32,
    /// Its last lines.
    pub tail: Arc<LogTail>,
    /// Its own file, if agents have such.
    pub file: Option<AgentFiles>,
    /// It may outlive the platform, and so writes to files instead of pipes.
    pub kept: bool,
}

impl Destination {
    /// Takes one line of output, without its end. Never waits.
    pub fn take(&self, text: &str, stream: Stream) {
        let record = match stream {
            Stream::Stdout => None,
            Stream::Stderr if self.kept => Record::parse(text).or_else(|| Record::parse_plain(text)),
            Stream::Stderr => Record::parse(text),
        };
        let (name, pid, agent) = (self.name.as_str(), self.pid, self.name.as_str());
        let (level, number, logger, message, when, source) = if let Some(r) = &record {
            let source = Source::Agent { agent, pid, name: &r.name, line: r.lineno };
            (r.level(), r.levelno, r.name.as_str(), Cow::Owned(r.text()), r.when(), source)
        } else {
            let (level, text) = if stream == Stream::Stdout { (Level::Info, text) } else { raw_stderr(text) };
            let source = Source::Raw { agent, pid, stream: stream.name() };
            (level, level.number(), name, Cow::Borrowed(text), Timestamp::now(), source)
        };
        match &record {
            Some(_) if level < Level::Info => {}
            Some(_) => self.tail.keep(level, format!("{level}: {message}")),
            None => self.tail.keep(level, text.to_owned()),
        }
        // What is only for looking closer has to be asked for; the rest is there when it is needed.
        if let Some(file) = &self.file
            && (number >= Level::Info.number() || logging::shows(logger, number))
        {
            file.write(&self.identity, server_line(when, source, level, &message));
        }
        logging::agent_line(logger, number, |format| format.line(when, source, level, &message));
    }
}

/// Which pipe a line came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error: JSON records, or raw text.
    Stderr,
}

impl Stream {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Reads `pipe` to its end. An agent that writes faster than the log takes lines loses lines, never time.
pub async fn drain(pipe: impl AsyncRead + Unpin, stream: Stream, to: &Destination) {
    let mut reader = BufReader::with_capacity(4096, pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        if !text.is_empty() {
            to.take(text, stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tail_of(output: &[u8], stream: Stream) -> Vec<String> {
        let to = Destination {
            name: "a-1".into(),
            identity: "a".into(),
            pid: 7,
            tail: Arc::default(),
            file: None,
            kept: false,
        };
        drain(output, stream, &to).await;
        to.tail.lines()
    }

    #[tokio::test]
    async fn records_and_raw_lines_are_kept_readable() {
        let output = b"{\"name\": \"x\", \"levelno\": 40, \"levelname\": \"ERROR\", \"msg\": \"no device\"}\nplain\n\n";
        assert_eq!(tail_of(output, Stream::Stderr).await, ["ERROR: no device", "plain"]);
    }

    #[test]
    fn the_last_error_is_remembered() {
        let tail = LogTail::default();
        tail.keep(Level::Error, "no device".into());
        tail.keep(
            Level::Error,
            "note: run with `RUST_BACKTRACE=1` environment variable to display it".into(),
        );
        tail.keep(Level::Info, "bye".into());
        assert_eq!(tail.error().as_deref(), Some("no device"));
        tail.clear();
        assert_eq!(tail.error(), None);
    }

    #[tokio::test]
    async fn only_the_last_lines_are_kept_and_long_ones_are_cut() {
        let mut output = Vec::new();
        for n in 0..50 {
            output.extend_from_slice(format!("line {n}\n").as_bytes());
        }
        output.extend_from_slice(&vec![b'x'; MAX_LINE_BYTES as usize + 10]);
        let lines = tail_of(&output, Stream::Stdout).await;
        assert_eq!(lines.len(), TAIL_LINES);
        assert_eq!(lines[0], "line 32");
        assert_eq!((lines[18].len(), lines[19].len()), (MAX_LINE_BYTES as usize, 10));
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_do_no_harm() {
        assert_eq!(tail_of(b"\xff\xfe{\n", Stream::Stderr).await.len(), 1);
    }
}
