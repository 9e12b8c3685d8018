//! Standard output and standard error of the program. A reader that went away is not an error; a disk that is full is one.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use serde_json::json;

use crate::codes::Code;
use crate::ops::OpError;
use crate::ops::auth::Prompt;

/// How long somebody at a terminal waits without being told for what.
const SILENCE: Duration = Duration::from_secs(2);

/// Where commands write.
#[derive(Debug)]
pub struct Output {
    out: io::Stdout,
    err: io::Stderr,
    json: bool,
    reader_gone: bool,
    unwritten: Option<io::Error>,
}

impl Default for Output {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Output {
    /// Where commands write; failures as JSON too if that is asked for.
    pub fn new(json: bool) -> Self {
        Self { out: io::stdout(), err: io::stderr(), json, reader_gone: false, unwritten: None }
    }

    /// Tells why something failed. The text is what scripts know; where to read on comes behind it, for people who look
    /// and for programs that ask for JSON, and for nobody else.
    pub fn fail(&mut self, text: &str, code: Code, exit: u8) {
        self.complain(text);
        self.describe(text, code, exit);
        self.point_to(code);
    }

    /// Tells programs that ask for JSON why something failed that people have been told already.
    pub fn describe(&mut self, text: &str, code: Code, exit: u8) {
        if self.json {
            let error = json!({"error": {"code": code.text(), "message": text, "exit_code": exit}});
            self.complain(&error.to_string());
        }
    }

    /// Says to a person where to read on.
    pub fn point_to(&mut self, code: Code) {
        if !self.json && self.is_interactive() {
            self.complain(&format!("try: vctl explain {code}"));
        }
    }

    /// Text to standard output, as it is.
    pub fn print(&mut self, text: &str) {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.reader_gone = true,
            Err(error) => self.unwritten = self.unwritten.take().or(Some(error)),
            Ok(()) => {}
        }
    }

    /// Why not all of it was written, if so: what a script keeps in a file would be short without anybody noticing.
    pub fn unwritten(&mut self) -> Option<OpError> {
        let what = "the output is not complete: cannot write to standard output".to_owned();
        self.unwritten.take().map(|source| OpError::File { what, source })
    }

    /// Whether nobody reads standard output any more: a command that only shows may end then.
    pub fn reader_gone(&self) -> bool {
        self.reader_gone
    }

    /// Whether a person looks at standard output.
    pub fn is_terminal(&self) -> bool {
        self.out.is_terminal()
    }

    /// Whether nobody reads standard output any more.
    pub fn is_gone(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::new(&self.out, PollFlags::empty())];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
            && fds[0].revents().intersects(PollFlags::ERR | PollFlags::NVAL)
    }

    /// A line to standard output.
    pub fn line(&mut self, text: &str) {
        self.print(&format!("{text}\n"));
    }

    /// A line to standard error.
    pub fn complain(&mut self, text: &str) {
        let _ = writeln!(self.err, "{text}");
    }

    /// Text to standard error, as it is.
    pub fn heading(&mut self, text: &str) {
        let _ = self.err.write_all(text.as_bytes());
    }

    /// Asks a yes-or-no question on the terminal; without one, or without an answer, it is no.
    pub fn confirm(&mut self, question: &str) -> bool {
        if !io::stdin().is_terminal() || !self.is_interactive() {
            return false;
        }
        self.heading(&format!("{question} [y/N] "));
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes" | "Yes")
    }

    /// Waits for work that is quick as a rule; a person is told what it waits for if it is not.
    pub async fn patiently<T>(&mut self, waits_for: &str, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        if let Ok(done) = tokio::time::timeout(SILENCE, &mut work).await {
            return done;
        }
        if self.is_interactive() {
            self.complain(&format!("still waiting for {waits_for}; Ctrl-C ends the waiting, not the work"));
        }
        work.await
    }

    /// Whether a person looks at standard error.
    pub fn is_interactive(&self) -> bool {
        self.err.is_terminal()
    }
}

/// The person behind standard input.
#[derive(Debug, Default)]
pub struct Person;

impl Prompt for Person {
    fn ask(&mut self, question: &str) -> io::Result<String> {
        let mut out = io::stdout().lock();
        out.write_all(question.as_bytes())?;
        out.flush()?;
        let mut answer = String::new();
        if io::stdin().read_line(&mut answer)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the input has ended"));
        }
        Ok(answer.trim_end_matches(['\n', '\r']).to_owned())
    }

    fn tell(&mut self, line: &str) {
        Output::default().line(line);
    }
}
