//! `vctl migrate`: the report, the question, what came of it.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use volttron_utils::home::{Home, expand};

use super::output::Output;
use super::{Vctl, backup, render};
use crate::install::python::Settings;
use crate::ops::OpError;
use crate::ops::doctor::{quoted, size};
use crate::ops::migrate::report::{Action, Item};
use crate::ops::migrate::{Built, MigrateRequest, Plan, build, look, prepare_undo};

/// Options of `vctl migrate`.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[command(
    after_help = "Reads a home of 9.x or 10.x, says what becomes of each thing in it, asks, and makes a new home: settings, keys, \
    rules, configurations, certificates, and the agents with identity, uuid, keys, tag, priority, configuration and \
    data. The old home is only read, and no platform may run in it. The new home is there as a whole, or not at all. \
    Python agents get an environment each, made from a wheel in the old home, from their files (9.x), from the Python \
    first on PATH (10.x: the one the old platform ran with), or from PyPI. Where that cannot be done here, the report \
    says which command completes the agent (SOURCE: the directory it was made from).\n\
    Run only one of the two platforms at a time: they have the same address and the same keys.\n\n\
    Examples:\n  \
    vctl migrate ~/.volttron --to /srv/site1 --dry-run   only the report\n  \
    vctl migrate ~/.volttron --to /srv/site1\n  \
    vctl migrate ~/.volttron --to /srv/site1 --yes --python /opt/volttron/env/bin/python\n  \
    vctl migrate --undo --to /srv/site1                  the new home goes, the old one is as it was"
)]
pub struct MigrateArgs {
    /// The home of the Python platform
    #[arg(value_name = "OLD_HOME", required_unless_present = "undo", conflicts_with = "undo")]
    pub(super) old: Option<PathBuf>,
    /// The new home, which has to be empty or missing; VOLTTRON_HOME otherwise
    #[arg(long, value_name = "DIR")]
    pub(super) to: Option<PathBuf>,
    /// Only say what would be done
    #[arg(long, conflicts_with = "undo")]
    pub(super) dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Remove the new home again
    #[arg(long)]
    pub(super) undo: bool,
    /// With --undo: also if it has changed since, losing that
    #[arg(short, long, requires = "undo")]
    pub(super) force: bool,
    /// The Python that environments are made with; otherwise the first `python` on PATH
    #[arg(long, value_name = "PATH")]
    pub(super) python: Option<PathBuf>,
    /// Do not use the network
    #[arg(long)]
    pub(super) offline: bool,
    /// Make no environments: agents are completed by installing them again
    #[arg(long)]
    pub(super) no_environments: bool,
}

pub(super) async fn migrate(vctl: &Vctl, args: MigrateArgs, out: &mut Output) -> Result<u8, OpError> {
    let to = match &args.to {
        Some(path) => {
            Home::new(expand(&path.to_string_lossy())).map_err(|e| OpError::Usage(e.to_string()))?
        }
        None => vctl.home().clone(),
    };
    let Some(old) = args.old.clone() else { return undo(vctl, &args, &to, out) };
    let configured = Settings::from_home(vctl.home());
    let request = MigrateRequest {
        from: std::path::absolute(expand(&old.to_string_lossy())).unwrap_or(old),
        to,
        python: Settings {
            interpreter: args.python.clone().or(configured.interpreter.clone()),
            offline: args.offline,
            verbose: vctl.verbose,
            ..configured
        },
        environments: !args.no_environments,
    };
    let asked = request.clone();
    let plan = backup::watched("Looking at it", move |progress| look(&asked, progress), out).await??;
    if !vctl.json {
        out.print(&planned(&plan));
    }
    if args.dry_run {
        if vctl.json {
            out.print(&render::pretty(&report(&plan)));
        }
        for problem in &plan.problems {
            out.complain(&format!("has to be mended first: {problem}"));
        }
        return Ok(u8::from(!plan.problems.is_empty()));
    }
    plan.check()?;
    if !args.yes {
        ask(&format!("Migrate it to {}?", plan.to.path().display()), out)?;
    }
    let (summary, from, to) = (report(&plan), plan.from.clone(), plan.to.clone());
    let built = build(&request, plan, |progress| backup::show("Copying", progress, out)).await;
    backup::shown(out);
    let built = built?;
    if vctl.json {
        let mut object = summary;
        object["items"] = items(&built.items);
        object["done"] = true.into();
        object["to_finish"] = json!(built.to_finish);
        out.print(&render::pretty(&object));
    } else {
        out.print(&done(&built, &from, &to));
    }
    Ok(0)
}

/// No without a person to ask.
fn ask(question: &str, out: &mut Output) -> Result<(), OpError> {
    if !std::io::stdin().is_terminal() {
        return Err(OpError::Usage("nobody can be asked here; say --yes".to_owned()));
    }
    if out.confirm(question) { Ok(()) } else { Err(OpError::Refused("nothing was done".to_owned())) }
}

fn undo(vctl: &Vctl, args: &MigrateArgs, home: &Home, out: &mut Output) -> Result<u8, OpError> {
    let undoing = prepare_undo(home)?;
    let changes = undoing.changes.clone();
    let lost = undoing.check();
    if !args.force
        && let Err(error) = lost
    {
        // Somebody who is asked may say so; nobody else loses anything by a habit.
        if args.yes || !std::io::stdin().is_terminal() {
            return Err(error.into());
        }
        out.complain(&error.to_string());
        ask(&format!("Remove {} and lose that?", home.path().display()), out)?;
    } else if !args.yes && !args.force {
        ask(&format!("Remove {}?", home.path().display()), out)?;
    }
    let undone = undoing.remove()?;
    if vctl.json {
        out.print(&render::pretty(&json!({"removed": undone.home, "from": undone.from, "lost": changes})));
    } else {
        out.line(&format!("Removed {}; {} is as it was", undone.home.display(), undone.from.display()));
    }
    Ok(0)
}

fn items(items: &[Item]) -> Value {
    items.iter().map(Item::to_json).collect()
}

fn report(plan: &Plan) -> Value {
    json!({
        "from": plan.from, "to": plan.to.path(), "generation": plan.generation.text(), "bytes": plan.bytes(),
        "items": items(&plan.items), "problems": plan.problems, "done": false, "to_finish": [],
    })
}

/// The plan as people read it.
fn planned(plan: &Plan) -> String {
    let mut text = format!(
        "{} is a home of {} ({} to copy). What becomes of it in {}:\n",
        plan.from.display(),
        plan.generation.text(),
        size(plan.bytes()),
        plan.to.path().display()
    );
    for item in &plan.items {
        text.push_str(&item.to_text());
        text.push('\n');
    }
    let count = |action: Action| plan.items.iter().filter(|item| item.action == action).count();
    let (converted, copied, left) = (count(Action::Convert), count(Action::Copy), count(Action::Leave));
    let _ = writeln!(text, "{converted} converted, {copied} copied, {left} left");
    text
}

fn done(built: &Built, from: &Path, to: &Home) -> String {
    let place = quoted(&to.path().to_string_lossy());
    let mut text = format!("Migrated to {}; {} is as it was\n", to.path().display(), from.display());
    for item in built.items.iter().filter(|item| item.kind == "agent" && item.action == Action::Convert) {
        let _ = writeln!(text, "  {}", item.to_text());
    }
    if !built.to_finish.is_empty() {
        text.push_str("With the new platform running, complete what could not be done here:\n");
        for command in &built.to_finish {
            let _ = writeln!(text, "  {command}");
        }
    }
    let _ =
        writeln!(text, "Start it:  volttron up --vhome {place}\nUndo it:   vctl migrate --undo --to {place}");
    text
}
