//! `vctl auth`: hands the verbs to [`crate::ops::auth`], and shows the keys of installed agents.

use std::collections::HashMap;

use volttron_utils::keys::keystore;

use super::args::ListArgs;
use super::output::{Output, Person};
use super::{Vctl, render, show};
use crate::codes::Coded;
use crate::ops::auth::{self, AuthCommand, AuthOpError};
use crate::ops::session::authentication_is_off;
use crate::ops::{OpError, agents};
use crate::supervisor::installed;

pub(super) async fn rules(vctl: &Vctl, command: AuthCommand, out: &mut Output) -> Result<u8, OpError> {
    // A platform without authentication serves no rules; those in the files count from the day it has some again.
    let on_files = authentication_is_off(vctl.home()) && !command.needs_platform();
    let session = if command.wants_platform() && !on_files { vctl.connect_if_running().await? } else { None };
    let platform = session.as_ref().map(super::Session::cx);
    match auth::run(command, vctl.home(), platform, &mut Person).await {
        Ok(said) => {
            out.heading(&said.stderr);
            match said.json.filter(|_| vctl.json) {
                Some(json) => out.print(&render::pretty(&json)),
                None => out.print(&said.stdout),
            }
            Ok(0)
        }
        Err(AuthOpError::NotRunning) => Err(OpError::NotRunning),
        Err(AuthOpError::Call(error)) => Err(OpError::Call(error)),
        Err(error) => {
            out.fail(&format!("auth: error: {error}"), error.coded(), error.code());
            Ok(error.code())
        }
    }
}

/// Public keys are in files that only the home's owner reads, so this works without a platform.
pub(super) async fn publickey(vctl: &Vctl, args: &ListArgs, out: &mut Output) -> Result<u8, OpError> {
    let all = agents::list(vctl.home(), None).await?;
    let keys: HashMap<String, String> = installed::list(vctl.home())
        .0
        .into_iter()
        .filter_map(|agent| {
            Some((agent.uuid.clone(), keystore::load(&agent.keystore()).ok()?.public.to_string()))
        })
        .collect();
    let chosen = agents::choose(&all, &args.selection.patterns, args.selection.filters());
    let key = |uuid: &str| keys.get(uuid).cloned().unwrap_or_default();
    let missed = show::report_misses("auth", &chosen, out);
    let rows: Vec<_> = chosen.agents.into_iter().map(|agent| (agent.clone(), key(&agent.uuid))).collect();
    show::show_list(vctl, &rows, "PUBLICKEY", args.min_uuid, out);
    Ok(if missed && rows.is_empty() { 10 } else { 0 })
}
