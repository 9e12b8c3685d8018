//! `vctl apply`, `diff` and `export`: a platform as a file.

use std::fmt::Write;
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgAction, Args};
use serde_json::{Value, json};
use volttron_utils::files;

use super::args::BuildArgs;
use super::output::Output;
use super::{Vctl, describe, install, render};
use crate::codes::Coded;
use crate::ops::apply::carry::{Failure, How, Outcome, Site, carry_out};
use crate::ops::apply::plan::{Change, Sign};
use crate::ops::apply::{self, export::export as describe_platform, schema::schema};
use crate::ops::{OpError, Session};

/// Most lines shown of one kind of change without `-v`.
const MAX_SHOWN: usize = 200;
/// Most lines of details shown of one change without `-v`.
const MAX_DETAILS: usize = 40;
/// How long an agent may take to report its health.
const WAIT: Duration = Duration::from_secs(15);
/// Mode of what is exported: configurations are nobody else's.
const MODE: u32 = 0o600;

/// What a file of this kind looks like.
const EXAMPLE: &str = "A file describes a platform, or the parts of it that it names:\n\n  \
    settings:                          # of the file `config` of the home\n    \
      instance-name: campus-a\n    \
      vip-address: [tcp://127.0.0.1:22916]\n  \
    agents:\n    \
      platform.driver:\n      \
        source: volttron-platform-driver   # what `vctl install` takes; paths are relative to the file\n      \
        version: 0.1.0\n      \
        tag: driver\n      \
        priority: 20                     # starts with the platform; null: does not\n      \
        running: true\n      \
        config: {driver_scrape_interval: 0.05}   # or config-file: driver.json\n      \
        restart: on-failure              # or always, never\n  \
    config-store:\n    \
      platform.driver:\n      \
        devices/campus/b1/ahu1: {file: ahu1.config}   # or json: {..}, csv: text, raw: text\n      \
        registry/ahu.csv: {file: ahu.csv}\n  \
    config-store-dir: configs          # a directory, as `vctl config export` writes it\n  \
    auth:\n    \
      entries:\n      \
        - {identity: weather, credentials: KEY, capabilities: [can_publish], groups: [readers]}\n    \
      groups: {readers: [reader]}\n    \
      roles: {reader: [can_read]}\n  \
    protected-topics:\n    \
      - {topic: devices, capabilities: [can_publish_to_devices]}\n\n\
    What a file leaves out stays as it is. With --prune, what a part does not name goes: an agent that `agents` does \
    not name is removed, a setting that `settings` does not name is taken out. Parts that are left out are never \
    touched. With a directory, all its .yaml, .yml and .json files count together.";

/// Arguments of `vctl apply`.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[command(after_long_help = format!(
    "{EXAMPLE}\n\nExamples:\n  vctl apply -f site.yaml --dry-run     show what would happen\n  \
     vctl apply -f site.yaml               show it, ask, do it\n  \
     vctl apply -f site.d --yes --prune    for scripts; takes out what is not named\n  \
     generate | vctl apply -f - --yes\n  \
     vctl apply --schema > platform.schema.json\n\n\
     Exit codes: 0 done, or nothing to do (with --dry-run too); 1 failed or not confirmed; 2 the file or the arguments \
     are wrong, nothing was changed; 10 part of it has to wait for the platform to run; 20 the platform refused; 75 it \
     did not answer in time."
))]
pub struct ApplyArgs {
    /// A file (YAML or JSON), a directory of such files, or `-` for standard input; several count together
    #[arg(
        short = 'f',
        long = "file",
        value_name = "FILE|DIR",
        required_unless_present = "schema",
        action = ArgAction::Append
    )]
    pub paths: Vec<PathBuf>,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Take out what the parts of the file do not name
    #[arg(long)]
    pub prune: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Print the JSON schema of the file
    #[arg(long, exclusive = true)]
    pub schema: bool,
    /// How agents are built
    #[command(flatten)]
    pub build: BuildArgs,
}

/// Arguments of `vctl diff`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  vctl diff -f site.yaml\n  vctl --json diff -f site.yaml --prune\n\n\
    Exit codes: 0 the platform is as the file says, 1 it differs, 2 or more it could not be compared.")]
pub struct DiffArgs {
    /// A file (YAML or JSON), a directory of such files, or `-` for standard input; several count together
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR", required = true, action = ArgAction::Append)]
    pub paths: Vec<PathBuf>,
    /// Also what the parts of the file do not name
    #[arg(long)]
    pub prune: bool,
}

/// Arguments of `vctl export`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  vctl export site.yaml\n  vctl export | less\n\n\
    Keys are never exported: agents get new ones where the file is applied. Configurations with what may be a secret, \
    such as a password, are left out and named, unless --with-secrets.")]
pub struct ExportArgs {
    /// The file to write; standard output if not given or `-`
    pub file: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
    /// Also configurations that may hold passwords
    #[arg(long)]
    pub with_secrets: bool,
}

/// The platform's own host is where its files are.
async fn connect(vctl: &Vctl) -> Result<Option<Session>, OpError> {
    if vctl.target.address.is_some() && vctl.home().running().is_none() {
        return Err(OpError::Usage(
            "this works on the files of a platform too, so run it on the platform's host, without --vip-address"
                .to_owned(),
        ));
    }
    vctl.connect_if_running().await
}

pub(super) async fn apply(vctl: &Vctl, args: ApplyArgs, out: &mut Output) -> Result<u8, OpError> {
    if args.schema {
        out.print(&render::pretty(&schema()));
        return Ok(0);
    }
    let session = connect(vctl).await?;
    let (wanted, plan) = apply::compare(vctl.home(), session.as_ref(), &args.paths, args.prune).await?;
    let (now, later): (Vec<&Change>, Vec<&Change>) =
        plan.iter().partition(|change| session.is_some() || !change.needs_platform);
    if !vctl.json {
        out.print(&shown(&plan, vctl.verbose));
    }
    let report = |done: bool, failed: &[Failure]| {
        let changes: Vec<Value> = plan.iter().map(as_json).collect();
        let failed: Vec<Value> = failed.iter().map(failure_as_json).collect();
        render::pretty(&json!({"changes": changes, "applied": done, "failed": failed}))
    };
    if args.dry_run || now.is_empty() {
        if vctl.json {
            out.print(&report(false, &[]));
        }
        return Ok(waiting(&later, args.dry_run, out));
    }
    if !args.yes {
        if !std::io::stdin().is_terminal() {
            return Err(OpError::Usage("nobody can be asked here; say --yes".to_owned()));
        }
        if !out.confirm(&format!("Make {}?", counted(now.len()))) {
            return Ok(1);
        }
    }
    let how = How {
        python: install::python(vctl, &args.build),
        build: install::build(vctl, args.build),
        wait: WAIT,
    };
    let site = Site { home: vctl.home(), session: session.as_ref(), wanted: &wanted, how };
    let Outcome { made, failed } = carry_out(&site, &now).await?;
    if vctl.json {
        out.print(&report(failed.is_empty(), &failed));
    }
    for Failure { what, error, .. } in &failed {
        out.fail(&format!("apply: error: {what}: {error}"), error.coded(), error.code());
    }
    if !failed.is_empty() {
        let left = now.len() - made;
        let not_made = if left == 1 { "1 was not".to_owned() } else { format!("{left} were not") };
        out.complain(&format!("{} made, {not_made}; run this again to go on.", counted(made)));
    } else if !vctl.json {
        out.line(&format!("{} made.", counted(made)));
    }
    let settings = now.iter().any(|change| change.what.starts_with("setting "));
    if settings && session.is_some() && !vctl.json {
        out.complain("Settings count from the platform's next start.");
    }
    if let Some(session) = session {
        session.close().await;
    }
    match failed.iter().map(|failure| failure.error.code()).max() {
        Some(code) => Ok(code),
        None => Ok(waiting(&later, false, out)),
    }
}

fn failure_as_json(failure: &Failure) -> Value {
    json!({"agent": failure.agent, "what": failure.what, "error": failure.error.to_string()})
}

/// Tells what has to wait for the platform.
fn waiting(later: &[&Change], dry_run: bool, out: &mut Output) -> u8 {
    if later.is_empty() {
        return 0;
    }
    out.complain(&format!(
        "VOLTTRON is not running: {} will have to wait for it. Start it, then run this again.",
        counted(later.len())
    ));
    if dry_run { 0 } else { 10 }
}

pub(super) async fn diff(vctl: &Vctl, args: &DiffArgs, out: &mut Output) -> Result<u8, OpError> {
    let compared = async {
        let session = connect(vctl).await?;
        apply::compare(vctl.home(), session.as_ref(), &args.paths, args.prune).await
    };
    match compared.await {
        Ok((_, plan)) => {
            if vctl.json {
                out.print(&render::pretty(&Value::from(plan.iter().map(as_json).collect::<Vec<_>>())));
            } else if !plan.is_empty() {
                out.print(&shown(&plan, vctl.verbose));
            }
            Ok(u8::from(!plan.is_empty()))
        }
        // One means that there are differences.
        Err(error) if error.code() == 1 => {
            out.fail(&describe("diff", &error), error.coded(), 2);
            Ok(2)
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn export(vctl: &Vctl, args: &ExportArgs, out: &mut Output) -> Result<u8, OpError> {
    let session = connect(vctl).await?;
    let exported = describe_platform(vctl.home(), session.as_ref(), args.with_secrets).await?;
    for line in &exported.left_out {
        out.complain(&format!("left out: {line}"));
    }
    let text = if vctl.json { render::pretty(&exported.document) } else { exported.text };
    match args.file.as_deref().filter(|path| *path != Path::new("-")) {
        Some(path) => write(path, text.as_bytes(), args.force)?,
        None => out.print(&text),
    }
    Ok(0)
}

fn write(path: &Path, bytes: &[u8], force: bool) -> Result<(), OpError> {
    // A terminal or a pipe is written to, not replaced.
    let is_device = fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir());
    let written = if is_device {
        fs::write(path, bytes).map(|()| true)
    } else if force || path.is_dir() {
        files::write_atomic(path, bytes, MODE).map(|()| true)
    } else {
        files::write_new(path, bytes, MODE)
    };
    match written {
        Ok(true) => Ok(()),
        Ok(false) => Err(OpError::Refused(format!(
            "{} exists already; choose another name, or replace it with --force",
            path.display()
        ))),
        Err(source) => Err(OpError::File { what: path.display().to_string(), source }),
    }
}

fn counted(count: usize) -> String {
    if count == 1 { "1 change".to_owned() } else { format!("{count} changes") }
}

fn as_json(change: &Change) -> Value {
    json!({
        "change": change.sign.as_char().to_string(), "what": change.what, "details": change.details,
        "needs_platform": change.needs_platform,
    })
}

/// The plan as people read it.
fn shown(plan: &[Change], everything: bool) -> String {
    if plan.is_empty() {
        return "The platform is as the file says.\n".to_owned();
    }
    let mut text = String::new();
    let limit = |limit: usize| if everything { usize::MAX } else { limit };
    for change in plan.iter().take(limit(MAX_SHOWN)) {
        let _ = writeln!(text, "{} {}", change.sign.as_char(), change.what);
        for line in change.details.iter().take(limit(MAX_DETAILS)) {
            let _ = writeln!(text, "    {line}");
        }
        if change.details.len() > limit(MAX_DETAILS) {
            let more = change.details.len() - MAX_DETAILS;
            let _ = writeln!(text, "    ... and {more} lines more (-v shows them)");
        }
    }
    if plan.len() > limit(MAX_SHOWN) {
        let _ = writeln!(text, "... and {} changes more (-v shows them)", plan.len() - MAX_SHOWN);
    }
    let count = |sign: Sign| plan.iter().filter(|change| change.sign == sign).count();
    let (new, changed, gone) = (count(Sign::Add), count(Sign::Change), count(Sign::Remove));
    let _ = writeln!(text, "{new} new, {changed} changed, {gone} removed");
    text
}
