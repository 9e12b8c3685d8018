//! One life of the platform process: preparing the home, binding the bus, starting the services, and going away again
//! (cli.md section 3, platform-internals.md sections 1, 2).
//!
//! Owns the order of things and nothing else; every part is made elsewhere. Start at [`run`].

mod instances;
mod prepare;
mod serve;
mod services;
mod signals;

use volttron_utils::config::OptionError;
use volttron_utils::home::HomeError;

use crate::auth::startup::StartupError;
use crate::auth::store::StoreError as AuthStoreError;
use crate::front::{BindError, FrontError};
use crate::isolation::platform::NotReady;
use crate::lock::LockError;
use crate::options::Options;
use crate::services::config_store::StoreError;

/// Version text of the platform, also the answer to `query platform-version`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why the platform did not start or did not live on. The texts are complete: they are the last line on stderr.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlatformError {
    /// Another server owns the home, or the lock cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Users for agents.
    #[error(transparent)]
    Isolation(#[from] NotReady),
    /// Control groups for agents.
    #[error(
        "agent-cgroup: {0}; name a directory of control groups (version 2) that the platform may write to, as systemd \
             makes one with Delegate=yes"
    )]
    Cgroup(String),
    /// Directories of the home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The configuration file.
    #[error(transparent)]
    Config(#[from] OptionError),
    /// The auth file.
    #[error(transparent)]
    AuthFile(#[from] AuthStoreError),
    /// Keys and entries of the platform itself.
    #[error(transparent)]
    Auth(#[from] StartupError),
    /// The configuration store.
    #[error(transparent)]
    ConfigStore(#[from] StoreError),
    /// An address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The bus.
    #[error(transparent)]
    Front(#[from] FrontError),
    /// A service.
    #[error("service {identity}: {why}")]
    Service {
        /// Its identity.
        identity: &'static str,
        /// What happened.
        why: String,
    },
    /// The operating system refused something basic.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What it said.
        source: std::io::Error,
    },
    /// The place that was chosen for metrics cannot be had.
    #[error("metrics-address {address}: {source}; choose another place, or off")]
    Metrics {
        /// Where.
        address: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The bus ended by itself.
    #[error("the message bus ended unexpectedly; see the log")]
    BusEnded,
}

impl PlatformError {
    /// Exit code of the program (cli.md section 3).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Lock(error) => error.exit_code(),
            _ => 1,
        }
    }
}

/// Runs the platform until it is asked to stop.
pub fn run(options: &Options) -> Result<(), PlatformError> {
    if options.home.service_config().exists() {
        tracing::warn!(
            "service_config.yml is not read yet; settings of services go into the configuration file"
        );
    }
    for warning in &options.warnings {
        tracing::warn!("{warning}");
    }
    for line in options.log.config().into_iter().flat_map(|config| config.text.lines()) {
        tracing::info!("{line}");
    }
    if options.show_config {
        tracing::info!("volttron {VERSION}");
        for line in options.describe() {
            tracing::info!("{line}");
        }
    }
    let prepared = prepare::prepare(options)?;
    // Few small threads: the services wait most of the time, and an idle platform should stay small.
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(1, 4))
        .max_blocking_threads(16)
        .thread_stack_size(512 * 1024)
        .thread_name("services")
        .enable_all()
        .build()
        .map_err(|source| PlatformError::System { action: "start the runtime", source })?;
    let ended = runtime.block_on(serve::serve(options, prepared));
    // Blocking tasks that hang (a dead network file system) must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    ended
}
