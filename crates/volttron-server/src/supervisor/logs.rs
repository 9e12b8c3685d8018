//! What agents write to their standard output and error: drained always, passed to the platform's log, and the last
//! lines kept so that a failed start can be explained.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use volttron_utils::logging::{Level, Record};

use crate::logging;

/// Lines kept per agent.
const TAIL_LINES: usize = 20;
/// A longer line is cut here; the rest becomes the next line.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// The last lines an agent wrote.
#[derive(Debug, Default)]
pub struct LogTail(Mutex<VecDeque<String>>);

impl LogTail {
    fn keep(&self, line: String) {
        let mut lines = self.lock();
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Forgets what an earlier process wrote.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Reads `pipe` to its end. An agent that writes faster than the log takes lines loses lines, never time.
pub async fn drain(pipe: impl AsyncRead + Unpin, stream: Stream, agent: &str, pid: u32, tail: &LogTail) {
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
            take(text, stream, agent, pid, tail);
        }
    }
}

fn take(text: &str, stream: Stream, agent: &str, pid: u32, tail: &LogTail) {
    let record = if stream == Stream::Stderr { Record::parse(text) } else { None };
    if let Some(record) = record {
        if record.level() >= Level::Info {
            tail.keep(format!("{}: {}", record.level(), record.text()));
        }
        logging::agent_record(agent, pid, &record);
    } else {
        tail.keep(text.to_owned());
        logging::agent_output(agent, pid, stream.name(), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tail_of(output: &[u8], stream: Stream) -> Vec<String> {
        let tail = LogTail::default();
        drain(output, stream, "a-1", 7, &tail).await;
        tail.lines()
    }

    #[tokio::test]
    async fn records_and_raw_lines_are_kept_readable() {
        let output = b"{\"name\": \"x\", \"levelno\": 40, \"levelname\": \"ERROR\", \"msg\": \"no device\"}\nplain\n\n";
        assert_eq!(tail_of(output, Stream::Stderr).await, ["ERROR: no device", "plain"]);
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
