//! The listener: logs what is published, beats, and says hello to the world. The smallest complete agent.
//!
//! Owns nothing but its configuration. Start reading at [`Listener`].

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use volttron_client::program::OptionText;
use volttron_client::utils::logging::Level;
use volttron_client::{AgentError, Cx, Publication, Subscription, agent};

/// What may be configured: in the configuration file, or in the store entry `config`, which wins.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default)]
pub struct Config {
    /// Shown in the log, and published nowhere.
    pub agentid: String,
    /// What to log at start.
    pub message: String,
    /// Seconds between heartbeats.
    pub heartbeat_period: f64,
    /// At which level publications are logged: a name or a number.
    #[serde(rename = "log-level")]
    pub log_level: String,
    /// Which topics to log: everything that begins with this.
    pub topic: String,
    /// Also topics of other platforms.
    pub all_platforms: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            agentid: "listener".to_owned(),
            message: "Hello".to_owned(),
            heartbeat_period: 5.0,
            log_level: "INFO".to_owned(),
            topic: String::new(),
            all_platforms: false,
        }
    }
}

/// The options, for `--describe`.
pub fn options() -> Vec<OptionText> {
    let default = Config::default();
    vec![
        ("agentid", default.agentid.into(), "Shown in the log, and published nowhere"),
        ("message", default.message.into(), "What is logged at the start"),
        ("heartbeat_period", default.heartbeat_period.into(), "Seconds between heartbeats"),
        ("log-level", default.log_level.into(), "At which level publications are logged: a name or a number"),
        ("topic", default.topic.into(), "Which topics are logged: all that begin with this"),
        ("all_platforms", default.all_platforms.into(), "Log topics of other platforms, too"),
    ]
}

/// The agent.
#[derive(Debug)]
pub struct Listener {
    config: Mutex<Config>,
    /// Ends the task that logs the present topics.
    listening: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

#[agent(name = "ListenerAgent")]
impl Listener {
    /// With what the configuration file says.
    pub fn new(config: Config) -> Self {
        Self { config: Mutex::new(config), listening: Mutex::default() }
    }

    /// The configuration in force.
    pub fn config(&self) -> Config {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[config("config")]
    async fn configure(&self, cx: &Cx, config: Config) -> Result<(), AgentError> {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
        self.listen(cx).await
    }

    #[on(start)]
    async fn start(&self, cx: &Cx) -> Result<(), AgentError> {
        tracing::info!("{}", self.config().message);
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if listening { Ok(()) } else { self.listen(cx).await }
    }

    /// Starts over with the configuration in force.
    async fn listen(&self, cx: &Cx) -> Result<(), AgentError> {
        let config = self.config();
        let period = Duration::try_from_secs_f64(config.heartbeat_period)
            .map_err(|_| AgentError::msg(format!("heartbeat_period: {}", config.heartbeat_period)))?;
        let level = Level::parse(&config.log_level)
            .ok_or_else(|| AgentError::msg(format!("log-level: '{}' is not a level", config.log_level)))?;
        cx.heartbeat().set_period(period);
        let options =
            volttron_client::SubscribeOptions { all_platforms: config.all_platforms, ..Default::default() };
        let subscription = cx.subscribe_with(&config.topic, options).await?;
        let task = cx.spawn(log_all(subscription, level));
        let before = self.listening.lock().unwrap_or_else(PoisonError::into_inner).replace(task);
        if let Some(before) = before {
            before.abort();
        }
        Ok(())
    }
}

async fn log_all(mut subscription: Subscription, level: Level) {
    while let Some(publication) = subscription.next().await {
        log(&publication, level);
    }
}

/// One line per publication, with the words of the original.
fn log(p: &Publication, level: Level) {
    let headers = volttron_client::utils::json::to_string(&p.headers).unwrap_or_default();
    let message = String::from_utf8_lossy(&p.message);
    let line = format!(
        "Peer: pubsub, Sender: {}:, Bus: {}, Topic: {}, Headers: {headers}, Message: \n{message}",
        p.sender, p.bus, p.topic
    );
    match level {
        Level::Debug => tracing::debug!("{line}"),
        Level::Info => tracing::info!("{line}"),
        Level::Warning => tracing::warn!("{line}"),
        Level::Error | Level::Critical => tracing::error!("{line}"),
    }
}
