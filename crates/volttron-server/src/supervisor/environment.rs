//! The environment of an agent process (lifecycle.md section 5).

use std::ffi::OsString;
use std::path::PathBuf;

use volttron_utils::home::Home;
use volttron_utils::keys::keystore;

use super::cgroup::Groups;
use super::installed::{InstalledAgent, Runtime};
use super::launcher::{IsolatedUser, LaunchSpec};
use super::limits::Limits;
use super::protection::{Protection, SandboxMode, protect};
use super::python;
use crate::isolation::platform::Isolation;

/// What all agents of a platform are told.
#[derive(Clone, Debug, Default)]
pub struct PlatformFacts {
    /// Where to connect: the first local address.
    pub vip_address: String,
    /// The platform's public key; none without authentication.
    pub server_key: Option<String>,
    /// Name of the message bus.
    pub message_bus: String,
    /// Name of this instance.
    pub instance_name: String,
    /// The Python of agents that a 9.x platform installed; the first on PATH otherwise.
    pub python: Option<PathBuf>,
    /// How agents become users of their own, if they are to.
    pub isolation: Option<Isolation>,
    /// Whether agents are confined, where `agent.json` says nothing else.
    pub sandbox: SandboxMode,
    /// Limits of agents, where `agent.json` says nothing else.
    pub limits: Limits,
    /// Where agents have control groups, if they are to.
    pub groups: Option<Groups>,
}

/// What to run for this agent, or why it cannot be run.
pub fn launch_spec(home: &Home, facts: &PlatformFacts, agent: &InstalledAgent) -> Result<LaunchSpec, String> {
    let Some(manifest) = &agent.manifest else {
        return python::older(home, facts, agent);
    };
    if manifest.runtime == Runtime::External {
        return Err("it runs outside of the platform and is never started by it".into());
    }
    let mut spec = LaunchSpec {
        exec: agent.dir.path().join(&manifest.exec),
        args: manifest.args.clone(),
        set: Vec::new(),
        unset: Vec::new(),
        cwd: agent.dir.path().to_path_buf(),
        lasting: None,
        isolated: facts.isolation.clone().map(|isolation| IsolatedUser {
            isolation,
            identity: agent.identity.clone(),
            user_file: agent.dir.user_id(),
        }),
        sandbox: None,
        group: None,
        max_processes: None,
        protection: Protection::default(),
    };
    if !spec.exec.is_file() {
        return Err(format!("its program {} is missing; install it again", spec.exec.display()));
    }
    fill(&mut spec, home, facts, agent);
    if manifest.runtime == Runtime::Python {
        python::adapt(&mut spec, home, agent, manifest)?;
        if manifest.for_11 {
            python::give_credentials(&mut spec, home, facts, agent)?;
        }
    }
    spec.set.extend(manifest.env.iter().map(|(name, value)| (name.clone(), OsString::from(value))));
    protect(&mut spec, home, facts, agent)?;
    Ok(spec)
}

/// The variables that all agents get.
pub(super) fn fill(spec: &mut LaunchSpec, home: &Home, facts: &PlatformFacts, agent: &InstalledAgent) {
    let config = agent.config().map(OsString::from);
    let public = keystore::load(&agent.keystore()).ok().map(|pair| pair.public.to_string().into());
    let values: [(&'static str, Option<OsString>); 16] = [
        ("VOLTTRON_HOME", Some(home.path().into())),
        ("AGENT_VIP_IDENTITY", Some(agent.identity.clone().into())),
        ("AGENT_UUID", Some(agent.uuid.clone().into())),
        ("AGENT_CONFIG", config),
        ("AGENT_TAG", agent.tag.clone().map(Into::into)),
        ("AGENT_DATA_DIR", Some(agent.dir.data().into())),
        // A native agent gets the path of its 0600 keystore: an environment can be read by every process of the user.
        ("AGENT_KEYSTORE", Some(agent.keystore().into())),
        ("AGENT_PUBLICKEY", public),
        ("AGENT_SECRETKEY", None),
        ("AGENT_CREDENTIALS", None),
        ("VOLTTRON_SERVERKEY", facts.server_key.clone().map(Into::into)),
        ("VOLTTRON_VIP_ADDR", Some(facts.vip_address.clone().into())),
        ("MESSAGEBUS", Some(facts.message_bus.clone().into())),
        ("AGENT_SUB_ADDR", Some(format!("ipc://@{}", home.run().join("subscribe").display()).into())),
        ("AGENT_PUB_ADDR", Some(format!("ipc://@{}", home.run().join("publish").display()).into())),
        ("_LAUNCHED_BY_PLATFORM", Some("1".into())),
    ];
    for (name, value) in values {
        match value {
            Some(value) => spec.set.push((name.to_owned(), value)),
            None => spec.unset.push(name),
        }
    }
    let auth = if facts.server_key.is_some() { "True" } else { "False" };
    spec.set.push(("AUTH_ENABLED".into(), auth.into()));
}
