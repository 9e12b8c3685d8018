//! The way to a running platform: where it listens, with which keys, under which identity (cli.md section 4,
//! "Connection").

use std::time::Duration;

use volttron_client::link::zmq::ZmqConnector;
use volttron_client::{ConnectOptions, Connection, Cx, SpawnError};
use volttron_utils::address::Address;
use volttron_utils::config::OptionFile;
use volttron_utils::files::FileLock;
use volttron_utils::home::Home;
use volttron_utils::identity::CONTROL_CONNECTION;
use volttron_utils::keys::known_hosts::KnownHosts;
use volttron_utils::keys::{PublicKey, keystore};

use super::OpError;
use crate::lock;

/// Pause between two looks at whether the platform still lives.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How to reach the platform.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its home: keys, and the default address.
    pub home: Home,
    /// Another address than that of the home.
    pub address: Option<String>,
    /// How long connecting and each call may take.
    pub timeout: Duration,
    /// Whether somebody said so: then it holds for calls as well that otherwise get as long as they may need.
    pub timeout_is_given: bool,
}

impl Target {
    /// Whether the platform of the home is up. One at an explicit address is asked by connecting.
    pub fn is_running(&self) -> bool {
        self.address.is_some() || self.home.running().is_some()
    }

    /// Connects.
    pub async fn connect(&self) -> Result<Session, OpError> {
        if !self.is_running() {
            return Err(OpError::NotRunning);
        }
        let address = self.resolve()?;
        let mut connector = ZmqConnector::new(address.clone()).map_err(SpawnError::from)?;
        if !authentication_is_off(&self.home) {
            if address.publickey().is_none() {
                let path = self.home.keystores(CONTROL_CONNECTION);
                connector = connector.keys(keystore::load(&path).map_err(|e| OpError::Keys(e.to_string()))?);
            }
            if address.serverkey().is_none() {
                connector = connector.serverkey(self.server_key(&address)?);
            }
        }
        let options = ConnectOptions::new(connector).identity(self.identity()).timeout(self.timeout);
        let connection = tokio::select! {
            opened = Connection::open(options) => match opened {
                Err(_) if !self.is_running() => return Err(OpError::NotRunning),
                other => other?,
            },
            // Nobody is going to answer any more.
            () = self.ended() => return Err(OpError::NotRunning),
        };
        Ok(Session {
            connection,
            address: address.base(),
            timeout: self.timeout,
            timeout_is_given: self.timeout_is_given,
        })
    }

    /// Waits until the platform of the home has ended; for ever, if it is one at an explicit address.
    async fn ended(&self) {
        let mut look = tokio::time::interval(LOOK_AGAIN);
        while self.is_running() {
            look.tick().await;
        }
    }

    fn resolve(&self) -> Result<Address, OpError> {
        let from_env = || std::env::var("VOLTTRON_VIP_ADDR").ok().filter(|text| !text.trim().is_empty());
        let configured = || platform_option(&self.home, "vip-local-address");
        let text = self
            .address
            .clone()
            .or_else(from_env)
            .or_else(configured)
            .unwrap_or_else(|| self.home.default_vip_socket());
        volttron_utils::home::expand(&text)
            .parse()
            .map_err(|e| OpError::Usage(format!("{text} is not an address: {e}")))
    }

    fn server_key(&self, address: &Address) -> Result<PublicKey, OpError> {
        let known = KnownHosts::load(&self.home.known_hosts()).ok().and_then(|hosts| hosts.get(address));
        // The platform's own keystore is as good, should known_hosts be damaged.
        let own = || keystore::load(&self.home.keystore()).ok().map(|pair| pair.public);
        known.or_else(|| self.address.is_none().then(own).flatten()).ok_or_else(|| {
            OpError::Keys(format!(
                "no server key is known for {}; add it with: vctl auth add-known-host --host {} --serverkey KEY",
                address.base(),
                address.host_key()
            ))
        })
    }

    /// Our own platform takes any number of tools at a time; a Python one knows only the plain name.
    fn identity(&self) -> String {
        if FileLock::is_held(&self.home.lock_file()).unwrap_or(false) {
            let random = uuid::Uuid::new_v4().as_fields().0;
            format!("{CONTROL_CONNECTION}.{}-{random:08x}", std::process::id())
        } else {
            CONTROL_CONNECTION.to_owned()
        }
    }
}

/// Whether the platform of this home runs without authentication: as it says itself, else as its settings tell.
pub fn authentication_is_off(home: &Home) -> bool {
    if let Some(on) = lock::authenticates(home) {
        return !on;
    }
    let given = || std::env::var("AUTH_ENABLED").ok();
    platform_option(home, "allow-auth").or_else(given).is_some_and(|text| text == "False")
}

/// Name of the platform of this home, as far as its settings tell.
pub fn instance_name(home: &Home) -> String {
    platform_option(home, "instance-name").unwrap_or_default()
}

fn platform_option(home: &Home, key: &str) -> Option<String> {
    if std::env::var_os("SKIP_VOLTTRON_CONFIG").is_some() {
        return None;
    }
    let file = OptionFile::load_or_empty(&home.config_file()).ok()?;
    file.get(&["volttron"], key).map(|text| text.trim_matches('"').to_owned())
}

/// A connection to the platform.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    address: String,
    timeout: Duration,
    timeout_is_given: bool,
}

impl Session {
    /// The handle to the bus.
    pub fn cx(&self) -> &Cx {
        &self.connection
    }

    /// Where the platform was reached, without keys.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Limit of each call.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Limit of a call that may need as long as `long`, since it waits for an agent to end.
    pub fn patience(&self, long: Duration) -> Duration {
        if self.timeout_is_given { self.timeout } else { self.timeout.max(long) }
    }

    /// A call to the control service.
    pub fn control(&self, method: &str) -> volttron_client::Call {
        self.call(volttron_utils::identity::CONTROL, method)
    }

    /// A call to a service.
    pub fn call(&self, service: &'static str, method: &str) -> volttron_client::Call {
        self.cx().call(self.cx().service(service), method).timeout(self.timeout)
    }

    /// Says goodbye.
    pub async fn close(self) {
        self.connection.close().await;
    }
}
