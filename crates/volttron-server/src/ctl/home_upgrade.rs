//! `volttron-upgrade`: a home of a Python platform becomes one of today, where it is or, with `--from`, beside it as
//! `vctl migrate` does.

use std::path::PathBuf;

use clap::Parser;
use serde_json::{Value, json};

use super::migrate::{MigrateArgs, migrate};
use super::output::Output;
use super::program::{Common, Program};
use super::{Vctl, render};
use crate::ops::OpError;
use crate::ops::home_upgrade::{Upgrade, look};

/// Bring a home that a Python platform wrote up to date.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[command(
    name = "volttron-upgrade",
    version,
    after_help = "Without --from it works in the home itself, whose platform must not run: keys of agents go from their data to \
        their place, auth entries with such a key get the agent's identity, caches of historians (backup.sqlite) go to \
        the agent's data, where upgrading the agent keeps them, and secure-agent-users in the config becomes \
        agent-isolation-mode. A second run finds nothing to do.\n\
        With --from it makes a new home of a Python platform's and leaves that one as it is: `vctl migrate`.\n\n\
        Examples:\n  \
        volttron-upgrade --dry-run                             what would be done\n  \
        VOLTTRON_HOME=/srv/site1 volttron-upgrade\n  \
        volttron-upgrade --from ~/.volttron --to /srv/site1    as vctl migrate ~/.volttron --to /srv/site1"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    common: Common,
    /// The home of a Python platform, to make a new one of
    #[arg(long, value_name = "HOME")]
    from: Option<PathBuf>,
    /// With --from: the new home, which has to be empty or missing; VOLTTRON_HOME otherwise
    #[arg(long, value_name = "DIR", requires = "from")]
    to: Option<PathBuf>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// With --from: do not ask
    #[arg(short, long, requires = "from")]
    yes: bool,
    /// With --from: the Python that environments are made with; otherwise the first `python` on PATH
    #[arg(long, value_name = "PATH", requires = "from")]
    python: Option<PathBuf>,
    /// With --from: do not use the network
    #[arg(long, requires = "from")]
    offline: bool,
    /// With --from: make no environments; agents are completed by installing them again
    #[arg(long, requires = "from")]
    no_environments: bool,
}

impl Program for Cli {
    const NAME: &'static str = "volttron-upgrade";

    fn common(&self) -> &Common {
        &self.common
    }

    async fn go(self, vctl: &Vctl, out: &mut Output) -> Result<u8, OpError> {
        let Some(old) = self.from else { return in_place(vctl, self.dry_run, out) };
        let args = MigrateArgs {
            old: Some(old),
            to: self.to,
            dry_run: self.dry_run,
            yes: self.yes,
            undo: false,
            force: false,
            python: self.python,
            offline: self.offline,
            no_environments: self.no_environments,
        };
        migrate(vctl, args, out).await
    }
}

fn in_place(vctl: &Vctl, dry_run: bool, out: &mut Output) -> Result<u8, OpError> {
    let upgrade = look(vctl.home())?;
    if !dry_run {
        upgrade.carry_out()?;
    }
    if vctl.json {
        out.print(&render::pretty(&report(vctl, &upgrade, !dry_run)));
        return Ok(0);
    }
    let home = vctl.home().path().display();
    for change in &upgrade.changes {
        out.line(&format!("  {:<7} {}", change.kind(), change.text(vctl.home())));
    }
    for text in &upgrade.left {
        out.complain(&format!("left as it is: {text}"));
    }
    out.line(&match (upgrade.changes.len(), dry_run) {
        (0, _) => format!("{home}: nothing to do"),
        (n, true) => format!("{home}: {n} to do; nothing was done"),
        (n, false) => format!("{home}: {n} done"),
    });
    Ok(0)
}

fn report(vctl: &Vctl, upgrade: &Upgrade, done: bool) -> Value {
    let changes = upgrade.changes.iter().map(|c| json!({"kind": c.kind(), "text": c.text(vctl.home())}));
    let home = vctl.home().path();
    json!({"home": home, "done": done, "changes": changes.collect::<Vec<_>>(), "left": upgrade.left})
}
