//! `vctl backup`, `restore` and `bugreport`: arguments in, progress and what came of it out.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::output::Output;
use super::{Vctl, render};
use crate::ops::backup::{AgentNote, PackRequest, Progress, RestoreRequest, Work, pack, restore, stream};
use crate::ops::bugreport::{self, Request};
use crate::ops::doctor::size;
use crate::ops::{OpError, session};

/// Options of `vctl backup`.
#[derive(Args, Debug)]
#[command(
    after_help = "Works with the platform up or down. Agents go on working: SQLite databases are copied by SQLite as they \
    are at one moment; rules and configurations belong together; other files are copied as they are, and named if \
    they changed meanwhile. Installing waits until the backup is done.\n\
    The archive holds secret keys. Only its owner may read it (mode 600); keep it like a key.\n\n\
    Examples:\n  \
    vctl backup /mnt/usb/site1.tar.gz\n  \
    vctl backup site1.tar.gz --force         replace an earlier one\n  \
    vctl backup small.tar.gz --no-programs   restore lists what to install again\n  \
    vctl backup - | ssh host 'cat > site1.tar.gz'"
)]
pub struct BackupArgs {
    /// The archive to write; `-` is standard output
    file: PathBuf,
    /// Leave out the agents' programs
    #[arg(long)]
    no_programs: bool,
    /// Replace an archive that is there
    #[arg(short, long)]
    force: bool,
}

/// Options of `vctl restore`.
#[derive(Args, Debug)]
#[command(
    after_help = "The whole archive is read and checked before anything is written; then the home is there as a whole, or \
    not at all. Any directory on any machine will do; files that name the former place of the home are adapted.\n\n\
    Examples:\n  \
    vctl restore site1.tar.gz                        into VOLTTRON_HOME, which has to be empty\n  \
    vctl --vhome /srv/site1 restore site1.tar.gz     into another home\n  \
    vctl restore site1.tar.gz --force                move the present home aside, deleting nothing\n  \
    vctl restore site1.tar.gz --check                only check the archive"
)]
pub struct RestoreArgs {
    /// The archive that `vctl backup` wrote
    file: PathBuf,
    /// Move aside what is in the home
    #[arg(short, long)]
    force: bool,
    /// Read and check the archive, and write nothing
    #[arg(long)]
    check: bool,
}

/// Options of `vctl bugreport`.
#[derive(Args, Debug)]
#[command(
    after_help = "Holds versions, what vctl doctor finds, status, metrics, the end of the log, the settings, and the agents' \
    configurations. Secret keys, passwords, tokens and the like are masked, in the log too. Look through it before \
    you give it away: names of devices, topics and machines are in it.\n\n\
    Examples:\n  \
    vctl bugreport\n  \
    vctl bugreport report.tar.gz --platform-log /var/log/volttron.log\n  \
    tar xzf report.tar.gz && less volttron-bugreport-*/doctor.json"
)]
pub struct BugreportArgs {
    /// The archive to write; volttron-bugreport-TIME.tar.gz otherwise
    file: Option<PathBuf>,
    /// The platform's log, where the platform's settings do not tell
    #[arg(long, value_name = "FILE")]
    platform_log: Option<PathBuf>,
}

/// Shows how far it is, to a person.
pub(super) fn show(what: &str, progress: &Progress, out: &mut Output) {
    if !out.is_interactive() {
        return;
    }
    let text = match progress.bytes() {
        (done, 0) => size(done),
        (done, total) => {
            format!("{} of {} ({} %)", size(done), size(total), (done * 100 / total.max(1)).min(100))
        }
    };
    out.heading(&format!("\r\x1b[K{what}: {text}"));
}

pub(super) fn shown(out: &mut Output) {
    if out.is_interactive() {
        out.heading("\r\x1b[K");
    }
}

/// Work on a thread, watched.
pub(super) async fn watched<T: Send + 'static>(
    what: &str,
    work: impl FnOnce(&Progress) -> T + Send + 'static,
    out: &mut Output,
) -> Result<T, OpError> {
    let failed = |source| OpError::File { what: format!("cannot begin: {what}"), source };
    let done = Work::begin(work).map_err(failed)?.wait(|progress| show(what, progress, out)).await;
    shown(out);
    done.map_err(failed)
}

pub(super) async fn backup(vctl: &Vctl, args: BackupArgs, out: &mut Output) -> Result<u8, OpError> {
    let request = PackRequest {
        home: vctl.home().clone(),
        archive: args.file.clone(),
        programs: !args.no_programs,
        force: args.force,
        instance_name: session::instance_name(vctl.home()),
    };
    let to_output = args.file == Path::new("-");
    if to_output && out.is_terminal() {
        return Err(OpError::Usage(
            "an archive is nothing for a terminal; name a file, or lead it elsewhere: vctl backup - | ..."
                .to_owned(),
        ));
    }
    let write = move |progress: &Progress| {
        if to_output { stream(&request, io::stdout().lock(), progress) } else { pack(&request, progress) }
    };
    let packed = watched("Backing up", write, out).await??;
    for warning in &packed.warnings {
        out.complain(&format!("backup: warning: {warning}"));
    }
    let file = if to_output { "standard output".to_owned() } else { args.file.display().to_string() };
    // Where the archive goes nothing else may.
    let mut say = |text: &str| if to_output { out.heading(text) } else { out.print(text) };
    if vctl.json {
        say(&render::pretty(&json!({
            "file": args.file, "archive_bytes": packed.archive_bytes, "bytes": packed.bytes,
            "files": packed.manifest.files.len(), "databases": packed.databases, "programs": packed.manifest.programs,
            "agents": packed.manifest.agents.iter().map(|a| &a.identity).collect::<Vec<_>>(),
            "created": packed.manifest.created, "warnings": packed.warnings,
        })));
    } else {
        say(&format!(
            "Backed up {} agents, {} files ({}) to {file} ({})\n",
            packed.manifest.agents.len(),
            packed.manifest.files.len(),
            size(packed.bytes),
            size(packed.archive_bytes)
        ));
    }
    out.complain(&format!(
        "{file} holds secret keys: whoever can read it can act as this platform and its agents"
    ));
    Ok(0)
}

pub(super) async fn bring_back(vctl: &Vctl, args: RestoreArgs, out: &mut Output) -> Result<u8, OpError> {
    let request = RestoreRequest {
        archive: args.file.clone(),
        home: vctl.home().clone(),
        force: args.force,
        check: args.check,
    };
    let what = if args.check { "Checking" } else { "Restoring" };
    let restored = watched(what, move |progress| restore(&request, progress), out).await??;
    let manifest = &restored.manifest;
    for warning in &restored.warnings {
        out.complain(&format!("restore: warning: {warning}"));
    }
    let again = |agent: &AgentNote| {
        format!("vctl install {} --vip-identity {} --force", agent.source, agent.identity)
    };
    let again: Vec<String> = restored.without_program.iter().map(again).collect();
    if vctl.json {
        out.print(&render::pretty(&json!({
            "home": vctl.home().path(), "checked_only": args.check, "created": manifest.created,
            "version": manifest.version, "instance_name": manifest.instance_name, "files": manifest.files.len(),
            "agents": manifest.agents.iter().map(|a| &a.identity).collect::<Vec<_>>(),
            "moved_aside": restored.moved_aside, "adapted": restored.renamed, "install_again": again,
            "warnings": restored.warnings,
        })));
        return Ok(0);
    }
    let of_whom = match manifest.instance_name.as_str() {
        "" => String::new(),
        name => format!(" of {name}"),
    };
    let contents = format!(
        "{} agents, {} files ({}){of_whom} of {}",
        manifest.agents.len(),
        manifest.files.len(),
        manifest.size(),
        manifest.created
    );
    if args.check {
        out.line(&format!("{} is whole: {contents}", args.file.display()));
        return Ok(0);
    }
    out.line(&format!("Restored {contents} to {}", vctl.home().path().display()));
    if let Some(aside) = &restored.moved_aside {
        out.line(&format!("The former home is now {}", aside.display()));
    }
    if !restored.renamed.is_empty() {
        let names: Vec<String> = restored.renamed.iter().map(|p| p.display().to_string()).collect();
        out.line(&format!("Adapted to the new place: {}", names.join(", ")));
    }
    if !again.is_empty() {
        out.line("Programs are not in it; with the platform running, install them again:");
        for command in again {
            out.line(&format!("  {command}"));
        }
    }
    Ok(0)
}

pub(super) async fn report(vctl: &Vctl, args: BugreportArgs, out: &mut Output) -> Result<u8, OpError> {
    let written = bugreport::run(&vctl.target, &Request { file: args.file, log: args.platform_log }).await?;
    if vctl.json {
        out.print(&render::pretty(&json!({
            "file": written.file, "members": written.members, "secrets_masked": written.secrets,
        })));
    } else {
        out.line(&format!("Written to {}: {}", written.file.display(), written.members.join(", ")));
        out.complain(
            "Secrets are masked. Look through it before you give it away: it names devices and machines.",
        );
    }
    Ok(0)
}
