//! Everything before the first socket. Synchronous; the two parts that wait for disks run side by side.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use volttron_utils::config::OptionFile;
use volttron_utils::files;
use volttron_utils::keys::KeyPair;

use super::PlatformError;
use crate::auth::{AuthOptions, AuthState, startup};
use crate::install;
use crate::lock::HomeLock;
use crate::logging;
use crate::options::Options;
use crate::services::config_store::ConfigStore;

/// Open files when the hard limit is unlimited (cli.md section 3).
const OPEN_FILES: u64 = 8192;

/// What the services need.
pub(super) struct Prepared {
    pub(super) lock: HomeLock,
    pub(super) auth: AuthState,
    /// The platform's key pair; none without authentication.
    pub(super) keys: Option<KeyPair>,
    pub(super) config_store: ConfigStore,
}

/// Takes the home and reads what is in it.
pub(super) fn prepare(options: &Options) -> Result<Prepared, PlatformError> {
    if rustix::process::geteuid().is_root() {
        tracing::warn!("running as root; use an ordinary user outside of containers");
    }
    raise_open_files();
    options.home.create_dirs()?;
    let mut lock = HomeLock::take(&options.home, options.shutdown_timeout)?;
    lock.authenticates(options.auth)?;
    if files::open_bits(options.home.path()).is_ok_and(|bits| bits & 0o022 != 0) {
        tracing::warn!("insecure access control on directory: {}", options.home.path().display());
    }
    write_back(options);
    if let Err(error) = logging::leave_link(&options.home, &options.log.target()) {
        tracing::warn!(
            "`vctl logs` will not find this log: {}: {error}",
            options.home.platform_log().display()
        );
    }
    let (auth, config_store) = std::thread::scope(|scope| {
        let stores = scope.spawn(|| ConfigStore::load(&options.home));
        let auth = prepare_auth(options);
        let stores = stores.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (auth, stores)
    });
    let (auth, keys) = auth?;
    if let Err(error) = install::repair_home(&options.home, &auth) {
        tracing::error!("what an interrupted installation left behind cannot be cleared away: {error}");
    }
    Ok(Prepared { lock, auth, keys, config_store: config_store? })
}

fn prepare_auth(options: &Options) -> Result<(AuthState, Option<KeyPair>), PlatformError> {
    let auth_options = AuthOptions {
        enabled: options.auth,
        setup_mode: options.setup_mode,
        bind_identity_to_key: options.bind_identity_to_key,
        open_methods: options.open_methods,
    };
    if !options.auth {
        tracing::warn!("authentication is off: everybody who reaches this platform may do everything");
        return Ok((AuthState::empty(&options.home, auth_options), None));
    }
    if options.setup_mode {
        tracing::warn!("setup mode: unknown keys are accepted and remembered; restart without it when done");
    }
    let state = AuthState::open(&options.home, auth_options)?;
    let mut addresses = options.vip_addresses.clone();
    addresses.push(options.local_address.clone());
    let keys = startup::prepare(&options.home, &state, &addresses)?;
    Ok((state, Some(keys)))
}

fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(OPEN_FILES);
    if limit.current.is_some_and(|current| current < wanted)
        && let Err(error) =
            setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
    {
        tracing::warn!("cannot raise the limit of open files to {wanted}: {error}");
    }
}

/// Other programs look up the instance name and the bus in the configuration file.
fn write_back(options: &Options) {
    if std::env::var_os("SKIP_VOLTTRON_CONFIG").is_some() {
        return;
    }
    let path = options.home.config_file();
    let written = OptionFile::load_or_empty(&path).and_then(|mut file| {
        let unquoted = file.get(&["volttron"], "instance-name").map(|n| n.trim_matches('"').to_owned());
        let mut changed = unquoted.as_deref() != Some(options.instance_name.as_str())
            && file.set("volttron", "instance-name", &options.instance_name);
        changed |= file.set("volttron", "message-bus", "zmq");
        if changed { file.save(&path) } else { Ok(()) }
    });
    if let Err(error) = written {
        tracing::warn!("the instance name is not recorded: {error}");
    }
}
