//! Methods that change which version of an agent is installed: install, go back, remove; and the ledger.
//!
//! The files are the business of [`crate::install`]; here they meet the processes. The order is always: prepare everything
//! while the agent still runs, stop it, change it by one rename, start it again.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use volttron_client::{Cx, Registrar, Request, RpcError};

use super::agents::{blocking, uuid};
use super::{Control, change, operators, trial};
use crate::install::history::History;
use crate::install::{self, AgentSettings, InstallError, Installed, Keep, Pending, Site, StagedAgent};
use crate::supervisor::InstalledAgent;

pub(super) fn refused(error: InstallError) -> RpcError {
    match error {
        InstallError::IdentityExists(_) => RpcError::value_error("Identity already exists, but not forced!"),
        InstallError::BadIdentity(_) | InstallError::DefaultTaken(_) | InstallError::NoVersion(_) => {
            RpcError::value_error(error.to_string())
        }
        other => RpcError::runtime_error(other.to_string()),
    }
}

/// Whether an agent runs once its version has changed.
#[derive(Clone, Copy, Debug)]
pub(super) enum After {
    /// If it did before.
    AsBefore,
    /// In any case.
    Up,
    /// Not; whoever asked sees to it.
    Down,
}

impl After {
    fn is_up(self, before: bool) -> bool {
        match self {
            Self::AsBefore => before,
            Self::Up => true,
            Self::Down => false,
        }
    }
}

impl Control {
    /// Does what waits for the disk where it may wait.
    pub(super) async fn on_site<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Site<'_>) -> Result<T, InstallError> + Send + 'static,
    ) -> Result<T, RpcError> {
        let (home, auth) = (self.supervisor().home().clone(), self.deps.auth.clone());
        match tokio::task::spawn_blocking(move || work(&Site::new(&home, &auth))).await {
            Ok(done) => done.map_err(refused),
            Err(_) => Err(RpcError::internal("the installation was interrupted")),
        }
    }

    /// Installs a staged program. An agent that it replaces runs until the new version lies ready, and is started again.
    pub(super) async fn install(
        self: &Arc<Self>,
        cx: &Cx,
        staged: StagedAgent,
    ) -> Result<Installed, RpcError> {
        let _turn = self.changing.lock().await;
        let then = if staged.then.stay_down {
            After::Down
        } else if staged.then.start {
            After::Up
        } else {
            After::AsBefore
        };
        let supervisor = self.supervisor().clone();
        let starts = move |agent: &InstalledAgent| then.is_up(supervisor.is_up(&agent.uuid));
        let pending = self.on_site(move |site| install::stage(site, &staged, starts)).await?;
        self.put_in_place(cx, pending, then).await
    }

    /// Goes back to a former version.
    async fn roll_back(
        self: &Arc<Self>,
        cx: &Cx,
        agent: InstalledAgent,
        to: Option<String>,
        by: String,
    ) -> Result<Installed, RpcError> {
        let _turn = self.changing.lock().await;
        let stage = move |site: &Site<'_>| install::stage_rollback(site, &agent, to.as_deref(), &by, None);
        let pending = self.on_site(stage).await?;
        self.put_in_place(cx, pending, After::AsBefore).await
    }

    /// Stops the agent, makes the change, starts the agent again if it was up or is to be; and watches it if it is on
    /// trial then. The caller has the turn.
    pub(super) async fn put_in_place(
        self: &Arc<Self>,
        cx: &Cx,
        pending: Pending,
        then: After,
    ) -> Result<Installed, RpcError> {
        let replaces = pending.replaces().map(str::to_owned);
        let was_up = replaces.as_ref().is_some_and(|uuid| self.supervisor().is_up(uuid));
        if let Some(uuid) = &replaces
            && let Err(error) = self.stop(uuid).await
        {
            let leave = move |site: &Site<'_>| {
                pending.abandon(site);
                Ok(())
            };
            self.on_site(leave).await?;
            return Err(error);
        }
        let made = self.on_site(move |site| pending.commit(site)).await;
        let Some(uuid) = replaces.filter(|_| then.is_up(was_up)) else { return made };
        // Also after a failure: what is in place now was wanted up.
        let agent = self.supervisor().agent(&uuid);
        let watching = agent.and_then(|agent| trial::begin(self, cx, agent));
        let started = self.start(&uuid).await;
        drop(watching);
        let mut installed = made?;
        installed.restarted = true;
        installed.start_error = started.err().map(|e| e.to_string());
        Ok(installed)
    }

    /// Gives an agent other settings, and another process if they need one. True if something changed.
    async fn configure(
        self: &Arc<Self>,
        cx: &Cx,
        agent: InstalledAgent,
        settings: AgentSettings,
        by: String,
    ) -> Result<bool, RpcError> {
        let _turn = self.changing.lock().await;
        let uuid = agent.uuid.clone();
        let stage = move |site: &Site<'_>| install::stage_settings(site, &agent, &settings, &by);
        match self.on_site(stage).await? {
            None => return Ok(false),
            Some((pending, true)) => {
                let placed = self.put_in_place(cx, pending, After::AsBefore).await?;
                if let Some(error) = placed.start_error {
                    return Err(RpcError::runtime_error(error));
                }
            }
            Some((pending, false)) => {
                self.on_site(move |site| pending.commit(site)).await?;
                self.supervisor().refresh(&uuid);
            }
        }
        Ok(true)
    }

    /// Gives the place of data that was kept.
    async fn remove(&self, agent: InstalledAgent, keep: Keep) -> Result<Option<PathBuf>, RpcError> {
        // Before its turn: an agent that does not listen takes a while to end, and nobody else is to wait for it.
        self.stop(&agent.uuid).await?;
        let _turn = self.changing.lock().await;
        let Some(agent) = self.supervisor().agent(&agent.uuid) else {
            // Somebody else has removed it meanwhile.
            return Ok(None);
        };
        self.stop(&agent.uuid).await?;
        let user = std::fs::read_to_string(agent.dir.user_id()).unwrap_or_default();
        let gone = agent.clone();
        let kept = self.on_site(move |site| install::remove(site, &agent, keep)).await?;
        self.supervisor().forget(&gone).await;
        let isolation = self.supervisor().isolation().cloned().filter(|_| !user.trim().is_empty());
        let Some(isolation) = isolation else { return Ok(kept) };
        // The agent is gone either way; a user that stays has no files and no process.
        blocking(move || {
            if let Err(error) = isolation.remove(user.trim()) {
                tracing::warn!("the user {} of a removed agent stays: {error}", user.trim());
            }
            Ok::<_, String>(())
        })
        .await?;
        Ok(kept)
    }
}

/// The methods.
pub(super) fn register(b: &mut Registrar<Control>) {
    let install = change("install_staged").param("agent").doc("Installs a program that lies on this host.");
    b.rpc(install, |s: Arc<Control>, r: Request| async move {
        let mut staged = r.arg::<StagedAgent>("agent")?;
        staged.installed_by.clone_from(&r.caller.user);
        s.install(&r.cx, staged).await
    });
    let roll_back = volttron_client::Method::new("rollback_agent", operators())
        .param("uuid")
        .optional("to", Value::Null)
        .doc("Goes back to the version before the installed one, or to the kept version `to`.");
    b.rpc(roll_back, |s: Arc<Control>, r: Request| async move {
        let (agent, to) = (s.to_change(&r)?, r.arg::<Option<String>>("to")?);
        s.roll_back(&r.cx, agent, to, r.caller.user.clone()).await
    });
    let configure = volttron_client::Method::new("configure_agent", operators())
        .param("uuid")
        .param("settings")
        .doc("Changes configuration file, environment, restart policy or start order of an agent; restarts it if needed.");
    b.rpc(configure, |s: Arc<Control>, r: Request| async move {
        let (agent, settings) = (s.to_change(&r)?, r.arg::<AgentSettings>("settings")?);
        s.configure(&r.cx, agent, settings, r.caller.user.clone()).await
    });
    let remove = change("remove_agent")
        .param("uuid")
        .optional("remove_auth", true)
        .optional("keep_data", false)
        .doc("Stops and removes an agent. `keep_data`: moves its data to the home's backups, and says where that is.");
    b.rpc(remove, |s: Arc<Control>, r: Request| async move {
        let agent = s.to_change(&r)?;
        let keep = Keep { auth: !r.arg::<bool>("remove_auth")?, data: r.arg("keep_data")? };
        s.remove(agent, keep).await
    });
    let history = volttron_client::Method::new("agent_history", operators())
        .param("uuid")
        .optional("settled", false)
        .doc(
            "The installed version of an agent, the versions it can go back to, and what was done. `settled`: answers once \
             no change is under way.",
        );
    b.rpc(history, |s: Arc<Control>, r: Request| async move {
        let uuid = uuid(&r)?;
        if r.arg("settled")? {
            drop(s.changing.lock().await);
        }
        let agent = s.supervisor().agent(&uuid).ok_or_else(RpcError::file_not_found)?;
        blocking(move || Ok(ledger(&agent))).await
    });
}

fn ledger(agent: &InstalledAgent) -> Value {
    let history = History::load(&agent.dir);
    let versions: Vec<Value> = history
        .versions
        .iter()
        .map(|v| {
            json!({
                "number": v.number, "package": v.manifest.package, "version": v.manifest.version,
                "source": v.manifest.source, "failed": v.failed,
            })
        })
        .collect();
    json!({
        "identity": agent.identity, "name": agent.name, "present": history.present, "manifest": agent.manifest,
        "versions": versions, "events": history.events, "trial": history.trial,
    })
}
