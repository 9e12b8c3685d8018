//! A reader at a shell: one bash per page, so that what a command sets or starts is there for the next one.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longer than any command of a page takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(10);
/// Ends what a command prints.
const END: &str = "--end-of-command--";

/// The shell.
pub struct Shell {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Shell {
    /// In `directory`, with these variables and no others.
    pub fn start(directory: &Path, variables: &[(&str, String)]) -> Self {
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc"]).current_dir(directory).env_clear();
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("run bash");
        let output = child.stdout.take().expect("a pipe");
        let (tx, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let _ = tx.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
        let input = child.stdin.take().expect("a pipe");
        Self { child, input, lines }
    }

    /// Runs one command to its end: its exit code, and the lines it printed on both streams.
    pub fn run(&mut self, command: &str) -> (i32, Vec<String>) {
        writeln!(self.input, "{{ {command}\n}} 2>&1 </dev/null; code=$?; echo; echo {END} $code")
            .expect("bash reads");
        let deadline = Instant::now() + PATIENCE;
        let mut printed: Vec<String> = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line =
                line.unwrap_or_else(|_| panic!("{command:?} does not end; so far:\n{}", printed.join("\n")));
            if let Some(code) = line.strip_prefix(END) {
                // The empty line before it is ours, unless the last line had no end of its own.
                if printed.last().is_some_and(String::is_empty) {
                    printed.pop();
                }
                return (code.trim().parse().expect("an exit code"), printed);
            }
            printed.push(line);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
