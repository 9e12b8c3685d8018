//! A program that asks, and the person who answers.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{inside, pair};

/// How long a question may let wait for it; guards against hanging.
const PATIENCE: Duration = Duration::from_mins(2);

/// A program whose standard streams are a pseudo-terminal; killed when dropped.
pub struct Dialogue {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    /// Everything that was shown.
    shown: String,
    /// How much of it was waited for.
    seen: usize,
}

impl Dialogue {
    /// Starts the program.
    ///
    /// # Panics
    /// If there is no terminal to be had or the program does not start.
    pub fn start(command: &mut Command) -> Self {
        let (keyboard, path) = pair();
        let child = command.stdin(inside(&path)).stdout(inside(&path)).stderr(inside(&path)).spawn();
        // The command holds the other side as well, which would keep the screen open for ever.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut reader = keyboard.try_clone().expect("the screen");
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // An error is how a terminal tells that nobody is at its other side any more.
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child: child.expect("start the program"), keyboard, screen, shown: String::new(), seen: 0 }
    }

    /// Waits for a text that was not waited for yet.
    ///
    /// # Panics
    /// If it does not come.
    pub fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.shown[self.seen..].find(text) {
                self.seen += at + text.len();
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{text:?} was not shown after {:?} of {}", &self.shown[..self.seen], self.shown)
                }
            }
        }
    }

    /// Types a line.
    pub fn answer(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).expect("type a line");
    }

    /// Waits for a question and types its answer.
    pub fn dialogue(&mut self, lines: &[(&str, &str)]) {
        for (question, answer) in lines {
            self.expect(question);
            self.answer(answer);
        }
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signal the program");
    }

    /// Waits for the end of the program; how it ended and everything that was shown.
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("wait for the program");
        while let Ok(bytes) = self.screen.recv() {
            self.shown.push_str(&String::from_utf8_lossy(&bytes));
        }
        (status, std::mem::take(&mut self.shown))
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
