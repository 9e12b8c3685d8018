//! The platform of the demo: its home, its process, and `vctl` for it.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::shell::{Outcome, run, target_dir};

/// How long the platform may take to be ready.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running platform.
pub struct Stage {
    home: PathBuf,
    /// Deletes the home at the end, if it is ours.
    _temporary: Option<tempfile::TempDir>,
    platform: Child,
}

impl Stage {
    /// Makes a home and starts the platform in it.
    pub fn open(home: Option<PathBuf>) -> Outcome<Self> {
        let (home, temporary) = match home {
            Some(home) => (home, None),
            None => {
                let dir =
                    tempfile::Builder::new().prefix("volttron-demo").tempdir().map_err(|e| e.to_string())?;
                (dir.path().join("home"), Some(dir))
            }
        };
        fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
        let config = home.join("config");
        if !config.exists() {
            let text = format!(
                "[volttron]\ninstance-name = demo\nvip-address = tcp://127.0.0.1:{}\nmessage-bus = zmq\n",
                free_port()?
            );
            fs::write(&config, text).map_err(|e| format!("{}: {e}", config.display()))?;
        }
        eprintln!("== start the platform, home {}", home.display());
        let log = home.with_extension("log");
        let platform = Command::new(target_dir().join("debug/volttron"))
            .arg("-v")
            .arg("-l")
            .arg(&log)
            .env("VOLTTRON_HOME", &home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // Ctrl-C in the terminal is not for the platform: it is taken down in order afterwards.
            .process_group(0)
            .spawn()
            .map_err(|e| format!("cannot start volttron: {e}"))?;
        let mut stage = Self { home, _temporary: temporary, platform };
        stage.wait_until_ready(&log)?;
        Ok(stage)
    }

    fn wait_until_ready(&mut self, log: &Path) -> Outcome {
        let deadline = Instant::now() + START_LIMIT;
        let pid = self.platform.id().to_string();
        while !fs::read_to_string(self.home.join("VOLTTRON_PID")).is_ok_and(|text| text == pid) {
            if let Ok(Some(status)) = self.platform.try_wait() {
                return Err(format!("volttron ended at once ({status}); see {}", log.display()));
            }
            if Instant::now() > deadline {
                return Err(format!("volttron is not ready after {START_LIMIT:?}; see {}", log.display()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The home.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Writes a file beside the home; its path.
    pub fn file(&self, name: &str, text: &str) -> Outcome<PathBuf> {
        let path = self.home.join("demo").join(name);
        fs::create_dir_all(self.home.join("demo")).map_err(|e| e.to_string())?;
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(target_dir().join("debug/vctl"));
        command.env("VOLTTRON_HOME", &self.home).stdin(Stdio::null());
        command
    }

    /// Runs `vctl`, its output to the terminal.
    pub fn vctl(&self, args: &[&str]) -> Outcome {
        run(self.command().args(args))
    }

    /// As [`Self::vctl`], and says so.
    pub fn vctl_args(&self, args: &[&OsStr]) -> Outcome {
        let shown: Vec<_> = args.iter().map(|a| a.to_string_lossy()).collect();
        eprintln!("== vctl {}", shown.join(" "));
        run(self.command().args(args))
    }

    /// Runs `vctl` and takes its standard output.
    pub fn vctl_output(&self, args: &[&str]) -> Outcome<String> {
        let output = self.command().args(args).output().map_err(|e| format!("cannot run vctl: {e}"))?;
        if !output.status.success() {
            return Err(format!("vctl {}: {}", args[0], String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Takes the platform down in order.
    pub fn close(&mut self) -> Outcome {
        eprintln!("== vctl shutdown --platform");
        let asked = self.vctl(&["shutdown", "--platform"]);
        if asked.is_err() {
            let _ = self.platform.kill();
        }
        let _ = self.platform.wait();
        asked
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if matches!(self.platform.try_wait(), Ok(None)) {
            let _ = self.platform.kill();
            let _ = self.platform.wait();
        }
    }
}

fn free_port() -> Outcome<u16> {
    let probe = TcpListener::bind("127.0.0.1:0").map_err(|e| format!("no free port: {e}"))?;
    Ok(probe.local_addr().map_err(|e| e.to_string())?.port())
}
