//! From an agent on disk to a process whose output is read, whose end is waited for, and which is recorded.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::process::{ChildStderr, ChildStdout};

use super::environment::launch_spec;
use super::installed::InstalledAgent;
use super::launcher::{LaunchSpec, Launched};
use super::logs::{Destination, LogTail, Stream, drain};
use super::machine::Input;
use super::orphans::{self, Process};
use super::running::Supervisor;

/// After an exit, how long the pipes may take to be read to their end.
const PIPE_GRACE: Duration = Duration::from_millis(50);

impl Supervisor {
    pub(super) async fn launch(self: &Arc<Self>, uuid: &str) {
        if self.leaving.load(Relaxed) {
            self.feed(uuid, Input::LaunchFailed);
            return;
        }
        // Read again: a restart uses the configuration and program of now.
        let fresh = self.agent(uuid);
        let (agent, tail) = {
            let mut slots = self.slots();
            let Some(slot) = slots.get_mut(uuid) else { return };
            if let Some(fresh) = fresh {
                slot.agent = fresh;
            }
            slot.tail.clear();
            slot.launch_error = None;
            (slot.agent.clone(), slot.tail.clone())
        };
        let (home, facts, described) = (self.options.home.clone(), self.options.facts.clone(), agent.clone());
        // Waits for what an earlier process left behind.
        let spec = tokio::task::spawn_blocking(move || launch_spec(&home, &facts, &described)).await;
        let created = match spec.unwrap_or_else(|_| Err("the preparations were interrupted".to_owned())) {
            Ok(mut spec) => {
                let program = spec.exec.display().to_string();
                self.protect(uuid, &agent, &spec);
                match self.lasting_output(&agent.identity) {
                    Ok(files) => {
                        spec.lasting = files;
                        self.launcher.launch(spec).await.map_err(|e| format!("{program}: {e}"))
                    }
                    Err(error) => Err(format!("the files for its output: {error}")),
                }
            }
            Err(why) => Err(why),
        };
        match created {
            Ok(process) => self.attach(uuid, &agent, tail, process).await,
            Err(why) => {
                tracing::error!("cannot start {}: {why}", agent.identity);
                if let Some(slot) = self.slots().get_mut(uuid) {
                    slot.launch_error = Some(why);
                }
                self.end_group(uuid).await;
                self.feed(uuid, Input::LaunchFailed);
            }
        }
    }

    pub(super) fn destination(&self, agent: &InstalledAgent, pid: u32, tail: Arc<LogTail>) -> Destination {
        let identity = agent.identity.as_str().into();
        let kept = self.options.keep_agents;
        Destination { name: agent.name.clone(), identity, pid, tail, file: self.files.clone(), kept }
    }

    /// Remembers and tells what will be in force for the agent's process.
    fn protect(&self, uuid: &str, agent: &InstalledAgent, spec: &LaunchSpec) {
        let protection = &spec.protection;
        match protection.describe() {
            Some(what) if protection.missing.is_empty() => tracing::info!("{}: {what}", agent.identity),
            Some(what) => tracing::warn!("{}: {what}", agent.identity),
            None => {}
        }
        if let Some(slot) = self.slots().get_mut(uuid) {
            slot.protection = Some(protection.clone());
            slot.group.clone_from(&spec.group);
        }
    }

    /// Begins to read the pipes of a new process and to wait for its end.
    async fn attach(
        self: &Arc<Self>,
        uuid: &str,
        agent: &InstalledAgent,
        tail: Arc<LogTail>,
        mut process: Launched,
    ) {
        let child = &mut process.child;
        let pid = child.id();
        tracing::info!("started {} ({}) as process {pid}", agent.identity, agent.name);
        let keep = self.options.keep_agents;
        let to = self.destination(agent, pid, tail);
        if let (true, Some(outputs)) = (keep, self.outputs.get()) {
            outputs.follow(&to);
        }
        let mut readers = Vec::new();
        if let Some(pipe) = child.stdout.take().and_then(|p| ChildStdout::from_std(p).ok()) {
            let to = to.clone();
            readers.push(tokio::spawn(async move { drain(pipe, Stream::Stdout, &to).await }));
        }
        if let Some(pipe) = child.stderr.take().and_then(|p| ChildStderr::from_std(p).ok()) {
            readers.push(tokio::spawn(async move { drain(pipe, Stream::Stderr, &to).await }));
        }
        self.feed(uuid, Input::Launched(pid));
        let recorded = self.record_processes();
        if keep {
            // At once: a process that is not recorded would be started a second time after a crash of this one.
            let _ = recorded.await;
        }
        let (this, uuid, identity) = (self.clone(), uuid.to_owned(), agent.identity.clone());
        tokio::spawn(async move {
            let code = process.ended().await;
            this.end_rest(&uuid, &identity, pid).await;
            let _ = tokio::time::timeout(PIPE_GRACE, futures_util::future::join_all(readers)).await;
            this.finish_output(pid).await;
            this.feed(&uuid, Input::Exited(code));
        });
    }

    /// Writes down which processes run, for the next start after a kill of this one.
    pub(super) fn record_processes(self: &Arc<Self>) -> tokio::task::JoinHandle<()> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || {
            // Locked while writing, so that an older list never replaces a newer one.
            let slots = this.slots();
            let running: Vec<Process> = slots
                .values()
                .filter_map(|s| {
                    // While the next process is being created, the id is that of the last one, or by now a stranger's.
                    let (Some(pid), None) = s.machine.status() else { return None };
                    // One that was taken over was kept already, and would not end with this platform either.
                    let kept = this.options.keep_agents || s.machine.adopted();
                    Some(Process::new(&s.agent.identity, &s.agent.uuid, pid, kept))
                })
                .collect();
            if let Err(error) = orphans::record(&this.options.home, &running) {
                tracing::warn!(
                    "cannot write {}: {error}",
                    this.options.home.run().join("agents.json").display()
                );
            }
        })
    }
}
