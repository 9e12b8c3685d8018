//! What the environment tells an agent (cli.md section 2): who it is, where the platform is, with which keys.
//!
//! Reads variables through a function, so that tests need no process of their own; touches key files only.

use std::path::{Path, PathBuf};

use volttron_utils::address::Address;
use volttron_utils::home::Home;
use volttron_utils::keys::known_hosts::KnownHosts;
use volttron_utils::keys::{KeyPair, PublicKey, keystore};

use super::Program;
use crate::link::ConnectError;
use crate::link::zmq::ZmqConnector;

/// Why the environment is not enough to connect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// A variable makes no sense.
    #[error("{name}: {why}")]
    Variable {
        /// Which one.
        name: &'static str,
        /// What is wrong; never its value if that is secret.
        why: String,
    },
    /// One half of a key pair is missing.
    #[error("AGENT_PUBLICKEY and AGENT_SECRETKEY must both be set, or neither")]
    HalfPair,
    /// What we were given and what is in `known_hosts` differ.
    #[error(
        "the server key given for {host} is not the one in {}. If the platform's key was changed on purpose, remove \
         the old entry (`vctl auth remove-known-host --host {host}`)",
        file.display()
    )]
    ServerKeyMismatch {
        /// Host key of the address.
        host: String,
        /// The file.
        file: PathBuf,
    },
    /// There is no such message bus in this build.
    #[error("message bus '{0}' is not built yet; only zmq is")]
    Bus(String),
    /// A file cannot be used.
    #[error("{0}")]
    File(String),
    /// The address cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Gives the value of a variable.
type Lookup = dyn Fn(&str) -> Option<String>;

/// The variables of one process.
pub struct Environment {
    get: Box<Lookup>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the values: there are secrets among them.
        f.write_str("Environment")
    }
}

impl Environment {
    /// Reads variables through `get`.
    pub fn new(get: impl Fn(&str) -> Option<String> + 'static) -> Self {
        Self { get: Box::new(get) }
    }

    /// A variable that is set to something.
    fn var(&self, name: &str) -> Option<String> {
        (self.get)(name).filter(|text| !text.trim().is_empty())
    }

    /// Started by a platform.
    pub fn launched_by_platform(&self) -> bool {
        self.var("_LAUNCHED_BY_PLATFORM").is_some()
    }

    /// Whether the platform authenticates; only the exact text `False` says no.
    pub fn auth_enabled(&self) -> bool {
        self.var("AUTH_ENABLED").as_deref() != Some("False")
    }

    /// The identity to use.
    pub(super) fn identity(&self, program: &Program) -> String {
        self.var("AGENT_VIP_IDENTITY").unwrap_or_else(|| program.identity.replace("{n}", "1"))
    }

    /// The configuration file of the installation.
    pub fn config_path(&self) -> Option<PathBuf> {
        self.var("AGENT_CONFIG").map(PathBuf::from)
    }

    /// The agent's tag.
    pub fn tag(&self) -> Option<String> {
        self.var("AGENT_TAG")
    }

    /// `VOLTTRON_HOME`, or its default.
    pub fn home(&self) -> Result<Home, EnvironmentError> {
        let home = match self.var("VOLTTRON_HOME") {
            Some(text) => Home::new(volttron_utils::home::expand(text.trim())),
            None => Home::from_env(),
        };
        home.map_err(|e| EnvironmentError::Variable { name: "VOLTTRON_HOME", why: e.to_string() })
    }

    /// Where the agent may write: what the platform says, else its installation's, else below the working directory.
    pub(super) fn data_dir(&self, identity: &str) -> PathBuf {
        if let Some(dir) = self.var("AGENT_DATA_DIR") {
            return dir.into();
        }
        let installed = self.home().map(|home| home.agent(identity).data());
        installed.ok().filter(|dir| dir.is_dir()).unwrap_or_else(|| PathBuf::from("data"))
    }

    /// A connector to the platform for `identity`, with every key this environment knows.
    pub fn connector(&self, identity: &str) -> Result<ZmqConnector, EnvironmentError> {
        if let Some(bus) = self.var("MESSAGEBUS").filter(|bus| bus != "zmq") {
            return Err(EnvironmentError::Bus(bus));
        }
        let home = self.home()?;
        let text = self.var("VOLTTRON_VIP_ADDR").unwrap_or_else(|| home.default_vip_socket());
        let address: Address = text
            .trim()
            .parse()
            .map_err(|e| EnvironmentError::Variable { name: "VOLTTRON_VIP_ADDR", why: format!("{e}") })?;
        let mut connector = ZmqConnector::new(address.clone())?;
        if !self.auth_enabled() {
            return Ok(connector);
        }
        if let Some(key) = self.server_key(&address, &home)? {
            connector = connector.serverkey(key);
            if let Some(keys) = self.keys(identity, &address, &home)? {
                connector = connector.keys(keys);
            }
        }
        Ok(connector)
    }

    /// Given key, else the address's, else `known_hosts`; what is given must agree with `known_hosts`.
    fn server_key(&self, address: &Address, home: &Home) -> Result<Option<PublicKey>, EnvironmentError> {
        let bad = |why: String| EnvironmentError::Variable { name: "VOLTTRON_SERVERKEY", why };
        let given = self.var("VOLTTRON_SERVERKEY").map(|t| t.trim().parse::<PublicKey>()).transpose();
        let given = given.map_err(|e| bad(e.to_string()))?;
        let given = match given {
            Some(key) => Some(key),
            None => address.serverkey().transpose().map_err(|e| bad(e.to_string()))?,
        };
        let file = home.known_hosts();
        // A file that cannot be read is no reason to distrust a key that was given.
        let known = match KnownHosts::load(&file) {
            Ok(hosts) => hosts.get(address),
            Err(error) if given.is_none() => return Err(EnvironmentError::File(error.to_string())),
            Err(_) => None,
        };
        match (given, known) {
            (Some(a), Some(b)) if a != b => {
                Err(EnvironmentError::ServerKeyMismatch { host: address.host_key(), file })
            }
            (given, known) => Ok(given.or(known)),
        }
    }

    /// Own keys: environment, address, the keystore file that is named, the keystore of the identity (made if there is
    /// none: its public key then shows up at the platform as pending).
    fn keys(
        &self,
        identity: &str,
        address: &Address,
        home: &Home,
    ) -> Result<Option<KeyPair>, EnvironmentError> {
        let file = |e: keystore::KeystoreError| EnvironmentError::File(e.to_string());
        match (self.var("AGENT_PUBLICKEY"), self.var("AGENT_SECRETKEY")) {
            (Some(public), Some(secret)) => return pair(&public, &secret).map(Some),
            (None, Some(_)) => return Err(EnvironmentError::HalfPair),
            // Alone it only tells who we are; the secret half is in the keystore.
            (Some(_) | None, None) => {}
        }
        if address.publickey().is_some() && address.secretkey().is_some() {
            // The connector takes them from there.
            return Ok(None);
        }
        if let Some(path) = self.var("AGENT_KEYSTORE") {
            return keystore::load(Path::new(&path)).map(Some).map_err(file);
        }
        keystore::load_or_create(&home.keystores(identity)).map(Some).map_err(file)
    }
}

fn pair(public: &str, secret: &str) -> Result<KeyPair, EnvironmentError> {
    let public = public.trim().parse().map_err(|e: volttron_utils::keys::BadKey| {
        EnvironmentError::Variable { name: "AGENT_PUBLICKEY", why: e.to_string() }
    })?;
    let secret = secret
        .trim()
        .parse()
        .map_err(|_| EnvironmentError::Variable { name: "AGENT_SECRETKEY", why: "not a key".to_owned() })?;
    Ok(KeyPair { public, secret })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let all: HashMap<String, String> =
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Environment::new(move |name| all.get(name).cloned())
    }

    #[test]
    fn the_environment_decides_who_we_are() {
        let program = Program::new(crate::package!(), "listener-{n}");
        assert_eq!(environment(&[]).identity(&program), "listener-1");
        assert_eq!(environment(&[("AGENT_VIP_IDENTITY", "x")]).identity(&program), "x");
        assert_eq!(environment(&[("AGENT_VIP_IDENTITY", " ")]).identity(&program), "listener-1");
        assert!(environment(&[]).auth_enabled());
        assert!(environment(&[("AUTH_ENABLED", "false")]).auth_enabled());
        assert!(!environment(&[("AUTH_ENABLED", "False")]).auth_enabled());
    }

    #[test]
    fn keys_must_fit_together() {
        let dir = tempfile::tempdir().expect("dir");
        let home = Home::new(dir.path()).expect("home");
        let home_text = dir.path().display().to_string();
        let own = KeyPair::generate();
        let (server, other) = (KeyPair::generate().public, KeyPair::generate().public);
        let server_text = server.to_string();
        let base = [("VOLTTRON_HOME", home_text.as_str()), ("VOLTTRON_SERVERKEY", &server_text)];

        let connector = environment(&base).connector("me").expect("keys are made");
        assert!(connector.endpoint().starts_with("ipc://@"), "{}", connector.endpoint());
        assert!(home.keystores("me").exists());

        let secret = own.secret.reveal().to_string();
        let half = [base[0], base[1], ("AGENT_SECRETKEY", &secret)];
        assert!(matches!(environment(&half).connector("me"), Err(EnvironmentError::HalfPair)));
        let public = own.public.to_string();
        let whole = [base[0], base[1], ("AGENT_SECRETKEY", &secret), ("AGENT_PUBLICKEY", &public)];
        assert!(environment(&whole).connector("me").is_ok());
        let garbage = [base[0], base[1], ("AGENT_SECRETKEY", "no"), ("AGENT_PUBLICKEY", &public)];
        let error = environment(&garbage).connector("me").expect_err("not a key").to_string();
        assert!(error.contains("AGENT_SECRETKEY"), "{error}");

        let mut hosts = KnownHosts::default();
        hosts.add("@", other);
        hosts.save(&home.known_hosts()).expect("saved");
        let error = environment(&base).connector("me").expect_err("mismatch");
        assert!(matches!(error, EnvironmentError::ServerKeyMismatch { .. }), "{error}");
        assert!(environment(&base[..1]).connector("me").is_ok(), "known_hosts alone");
        let rmq = [base[0], ("MESSAGEBUS", "rmq")];
        assert!(matches!(environment(&rmq).connector("me"), Err(EnvironmentError::Bus(_))));
    }
}
