//! A home that nothing was done with, and the programs around it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use volttron_tests::programs::{free_port, program};

pub struct Site {
    dir: TempDir,
    pub port: u16,
}

impl Site {
    /// A home that does not exist yet.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("vh").tempdir().expect("a temporary directory");
        Self { dir, port: free_port() }
    }

    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Where programs are started.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A program of ours; without VOLTTRON_HOME, which `--vhome` says.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command
            .env_clear()
            .env("HOME", self.dir.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(self.dir.path());
        command
    }

    /// A program of ours that is told the home by the environment.
    pub fn command_at_home(&self, name: &str) -> Command {
        let mut command = self.command(name);
        command.env("VOLTTRON_HOME", self.home());
        command
    }

    pub fn vcfg(&self) -> Command {
        let mut command = self.command("vcfg");
        command.arg("--vhome").arg(self.home());
        command
    }

    /// Runs `vcfg` with these answers in a pipe, the last one without a line end, as scripts do.
    pub fn answer(&self, args: &[&str], answers: &[&str]) -> Output {
        let mut command = self.vcfg();
        command.args(args);
        with_input(&mut command, &answers.join("\n"))
    }

    pub fn config(&self) -> String {
        fs::read_to_string(self.home().join("config")).expect("read config")
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home().join(name);
        fs::create_dir_all(path.parent().expect("in the home")).expect("make a directory");
        fs::write(&path, text).expect("write a file");
        path
    }

    pub fn vctl(&self, args: &[&str]) -> Output {
        self.command_at_home("vctl").args(args).stdin(Stdio::null()).output().expect("run vctl")
    }

    pub fn is_up(&self) -> bool {
        self.home().join("VOLTTRON_PID").exists()
    }

    pub fn pid(&self) -> u32 {
        let text = fs::read_to_string(self.home().join("VOLTTRON_PID")).expect("read VOLTTRON_PID");
        text.trim().parse().expect("a pid")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.is_up() {
            let _ = self.vctl(&["shutdown", "--platform"]);
        }
    }
}

pub fn with_input(command: &mut Command, input: &str) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("start the program");
    // It may end without reading everything.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("wait for the program")
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
