//! The environment of an agent process (lifecycle.md section 5).

use std::ffi::OsString;

use volttron_utils::home::Home;
use volttron_utils::keys::keystore;

use super::installed::{InstalledAgent, Runtime};
use super::launcher::LaunchSpec;

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
}

/// What to run for this agent, or why it cannot be run.
pub fn launch_spec(home: &Home, facts: &PlatformFacts, agent: &InstalledAgent) -> Result<LaunchSpec, String> {
    let Some(manifest) = &agent.manifest else {
        return Err(format!(
            "{} was installed by a Python platform and this version starts native agents only; install a replacement \
             with `vctl install --force --vip-identity {}`",
            agent.name, agent.identity
        ));
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
    };
    if !spec.exec.is_file() {
        return Err(format!("its program {} is missing; install it again", spec.exec.display()));
    }
    fill(&mut spec, home, facts, agent);
    if manifest.runtime == Runtime::Python {
        as_python(&mut spec, home, agent, manifest.classic)?;
    }
    spec.set.extend(manifest.env.iter().map(|(name, value)| (name.clone(), OsString::from(value))));
    Ok(spec)
}

/// What differs for a Python agent: it gets its keys in the environment, and its own virtual environment.
fn as_python(
    spec: &mut LaunchSpec,
    home: &Home,
    agent: &InstalledAgent,
    classic: bool,
) -> Result<(), String> {
    let keys = keystore::load(&agent.keystore()).map_err(|e| e.to_string())?;
    spec.set.retain(|(name, _)| name != "AGENT_KEYSTORE");
    spec.unset.retain(|name| *name != "AGENT_SECRETKEY");
    spec.set.push(("AGENT_SECRETKEY".into(), keys.secret.reveal().to_string().into()));
    spec.unset.extend(["AGENT_KEYSTORE", "PYTHONHOME", "__PYVENV_LAUNCHER__"]);
    // Python finds its environment by the path it is called with.
    if let Ok(below) = spec.exec.strip_prefix(agent.dir.path().join("../..")) {
        spec.exec = home.path().join(below);
    }
    if let Some(bin) = spec.exec.parent() {
        let rest = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::iter::once(bin.to_path_buf()).chain(std::env::split_paths(&rest));
        if let Ok(path) = std::env::join_paths(dirs) {
            spec.set.push(("PATH".into(), path));
        }
        spec.set.extend(bin.parent().map(|root| ("VIRTUAL_ENV".into(), root.into())));
    }
    // There it finds its data in a directory named after where it runs, and its keys.
    let package = agent.package_dir(home);
    if classic && package.is_dir() {
        spec.cwd = package;
    }
    Ok(())
}

fn fill(spec: &mut LaunchSpec, home: &Home, facts: &PlatformFacts, agent: &InstalledAgent) {
    let config = agent.config().map(OsString::from);
    let public = keystore::load(&agent.keystore()).ok().map(|pair| pair.public.to_string().into());
    let values: [(&'static str, Option<OsString>); 15] = [
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
