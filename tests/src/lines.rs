//! The output of a child process as JSON lines with deadlines.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Lines that a child has written and nobody has asked for yet.
pub struct Lines {
    incoming: Receiver<Value>,
    kept: Vec<Value>,
}

impl Lines {
    /// Reads `output` to its end on a thread; lines that are not JSON are shown and dropped.
    pub fn new(output: impl Read + Send + 'static) -> Self {
        let (tx, incoming) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    Ok(value) => {
                        if tx.send(value).is_err() {
                            return;
                        }
                    }
                    Err(_) => eprintln!("child: {line}"),
                }
            }
        });
        Self { incoming, kept: Vec::new() }
    }

    /// The first line, old or new, that `wanted` accepts; it is taken out, others stay in order.
    ///
    /// # Panics
    /// With `what` and what came instead, after `limit` or when the child has closed its output.
    pub fn expect(&mut self, what: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        match self.wait(limit, wanted) {
            Some(line) => line,
            None => panic!("waited {limit:?} in vain for {what}, or the child ended; got {:#?}", self.kept),
        }
    }

    /// Takes out every line that has come so far and that `wanted` accepts, in order.
    pub fn drain(&mut self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.kept.extend(self.incoming.try_iter());
        let (taken, kept) = std::mem::take(&mut self.kept).into_iter().partition(wanted);
        self.kept = kept;
        taken
    }

    /// As [`Self::expect`], but none instead of a panic.
    pub fn wait(&mut self, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        if let Some(at) = self.kept.iter().position(&wanted) {
            return Some(self.kept.remove(at));
        }
        let deadline = Instant::now() + limit;
        loop {
            match self.incoming.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if wanted(&line) => return Some(line),
                Ok(line) => self.kept.push(line),
                Err(_) => return None,
            }
        }
    }
}
