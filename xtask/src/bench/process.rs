//! Starting the processes of a measurement, and what the system says about them.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::setup::Outcome;

/// No role takes longer to say something than this.
const PATIENCE: Duration = Duration::from_secs(120);

/// A role in a process of its own, killed when dropped.
pub struct Role {
    name: String,
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Role {
    pub fn start(name: &str, keys: &str, args: &[String]) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bench", "role", name, keys])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let (tx, lines) = mpsc::channel();
        let out: ChildStdout = child.stdout.take().ok_or("no stdout")?;
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if tx.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { name: name.to_owned(), child, lines })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line the role prints.
    pub fn line(&self) -> Outcome<String> {
        self.lines.recv_timeout(PATIENCE).map_err(|_| format!("{} said nothing", self.name).into())
    }

    /// Processor time used so far, all threads, in seconds.
    pub fn cpu_seconds(&self) -> Outcome<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The program's name, in parentheses, may contain blanks. utime and stime are fields 14 and 15.
        let after = stat.rsplit_once(')').ok_or("no process status")?.1;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks: f64 = fields.get(11).ok_or("short process status")?.parse::<f64>()?
            + fields.get(12).ok_or("short process status")?.parse::<f64>()?;
        Ok(ticks / rustix::param::clock_ticks_per_second() as f64)
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
