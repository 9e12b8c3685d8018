//! The platform's side: who an agent's user is, and how the helper is called.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::geteuid;
use volttron_utils::files;
use volttron_utils::home::Home;

use super::site::Site;
use super::users::is_agent_name;

/// Name of the helper's program, beside that of the platform.
const HELPER: &str = "volttron-agent-exec";

/// Directories of the home that agents have no business in. (Those of agents, and of their programs, stay open to pass.)
const CLOSED: [&str; 7] =
    ["configuration_store", "keystores", "certificates", "run", "cache", "backups", "logs"];

/// Isolation is asked for and cannot be had. The platform does not start then: agents that share its user would hold what
/// they were to be kept from.
#[derive(Debug, thiserror::Error)]
#[error("agent-isolation-mode = True: {why}; an administrator sets it up once with: {setup}")]
pub struct NotReady {
    why: String,
    setup: String,
}

/// How agents get users of their own.
#[derive(Clone, Debug)]
pub struct Isolation {
    site: PathBuf,
    helper: PathBuf,
    /// The platform is root itself, and needs no sudo.
    is_root: bool,
}

/// The helper's program: beside that of the platform, else where packages put it.
pub fn helper_program() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(HELPER)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| Path::new("/usr/bin").join(HELPER))
}

impl Isolation {
    /// Checks that everything is there, and closes the home to the agents' users.
    pub fn prepare(site: &Path, home: &Home, instance: &str) -> Result<Self, NotReady> {
        let helper = helper_program();
        let setup = format!(
            "sudo {} --site {} setup --instance {instance} --home {} --platform-user \"$USER\" --sudoers \
             /etc/sudoers.d/volttron_{instance}",
            helper.display(),
            site.display(),
            home.path().display()
        );
        let not = |why: String| NotReady { why, setup: setup.clone() };
        if !helper.is_file() {
            return Err(not(format!("the program {HELPER} is missing beside this one")));
        }
        let found = Site::load(site).map_err(|e| not(e.to_string()))?;
        if found.home != home.path() {
            return Err(not(format!("{} is about the home {}", site.display(), found.home.display())));
        }
        let new = Self { site: site.to_owned(), helper, is_root: geteuid().is_root() };
        close(home).map_err(|e| not(e.to_string()))?;
        Ok(new)
    }

    /// The helper, to be given its words.
    fn helper(&self) -> Command {
        let mut command = if self.is_root { Command::new(&self.helper) } else { Command::new("sudo") };
        if !self.is_root {
            // Never asks for a password: nobody is there to give one.
            command.arg("-n").arg("--").arg(&self.helper);
        }
        command.arg("--site").arg(&self.site);
        command
    }

    /// The user whose name is in `file` (`USER_ID` of the agent); a new one if there is none.
    pub fn user(&self, file: &Path) -> io::Result<String> {
        let known = fs::read_to_string(file).map(|name| name.trim().to_owned()).unwrap_or_default();
        if is_agent_name(&known) {
            return Ok(known);
        }
        let name = answer(self.helper().arg("add-user"))?.trim().to_owned();
        if let Err(error) = files::write_atomic(file, name.as_bytes(), 0o644) {
            let _ = self.remove(&name);
            return Err(error);
        }
        Ok(name)
    }

    /// Removes the user of an agent that is removed.
    pub fn remove(&self, user: &str) -> io::Result<()> {
        answer(self.helper().args(["remove-user", user])).map(drop)
    }

    /// What runs an agent as its user, once it is told what on its standard input.
    pub fn run(&self, user: &str, identity: &str) -> Command {
        let mut command = self.helper();
        command.args(["run", user, identity]);
        command
    }

    /// Signals everything a user runs. Needed where the platform may not do it itself.
    pub fn signal(&self, user: &str, signal: &str) -> io::Result<()> {
        answer(self.helper().args(["signal", user, signal])).map(drop)
    }

    /// Whether the platform may signal its agents itself.
    pub fn is_root(&self) -> bool {
        self.is_root
    }
}

/// Others may pass through the home, as agents must to reach their own directories, and see nothing.
fn close(home: &Home) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let set = |path: &Path, mode| match fs::set_permissions(path, fs::Permissions::from_mode(mode)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    for name in CLOSED {
        set(&home.path().join(name), 0o700)?;
    }
    for path in [home.path(), &home.agents()] {
        set(path, 0o711)?;
    }
    Ok(())
}

/// What the helper says, or why it does not.
fn answer(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(if said.is_empty() {
        format!("the helper ended with {}", output.status)
    } else {
        said
    }))
}
