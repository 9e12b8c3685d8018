//! The running platform: bus, services, agents; and the way out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio_util::task::AbortOnDropHandle;
use volttron_client::{Agent, AgentBuilder, AgentHandle};
use volttron_router::{
    Control, Input, Limits, Output, Router, RouterEvent, RouterFacts, ServiceId, Unsent, Why,
};
use volttron_utils::identity;
use volttron_utils::keys::KeyPair;
use volttron_utils::vip::Frames;

use super::prepare::Prepared;
use super::services::Services;
use super::signals::{Reason, Signals};
use super::{PlatformError, VERSION, instances};
use crate::auth::AuthState;
use crate::bridge::LocalConnector;
use crate::front::{Bind, Front, FrontConfig, RunningFront, ZmqFrame, zap::Authenticator};
use crate::isolation::platform::Isolation;
use crate::lock::HomeLock;
use crate::metrics::{self, Endpoint};
use crate::options::Options;
use crate::services::auth::{AuthService, StandIn};
use crate::services::config_store::ConfigStore;
use crate::services::control::{Control as ControlService, ControlDeps};
use crate::services::health::Health;
use crate::services::keydiscovery::KeyDiscovery;
use crate::services::rpc_pubsub::RpcPubSub;
use crate::supervisor::cgroup::Groups;
use crate::supervisor::environment::PlatformFacts;
use crate::supervisor::machine::Rules;
use crate::supervisor::{Supervisor, SupervisorOptions};

/// How long services may take to say goodbye.
const SERVICE_GOODBYE: Duration = Duration::from_secs(2);
/// How long services may take after a signal: the sockets have to be free soon (dropin.md allows 0.2 s in all).
const SERVICE_GOODBYE_AFTER_SIGNAL: Duration = Duration::from_millis(40);
/// How long agents may say goodbye on the bus after a signal.
const SOCKETS_AFTER_SIGNAL: Duration = Duration::from_millis(120);
/// How long killed agents may take to disappear.
const KILLED_GOODBYE: Duration = Duration::from_secs(5);

/// Runs the platform until it is asked to stop, then takes it down.
pub(super) async fn serve(options: &Options, prepared: Prepared) -> Result<(), PlatformError> {
    let mut signals = Signals::catch()?;
    let Prepared { lock, auth, keys, config_store } = prepared;
    let since = Instant::now();
    let front = bind(options, &auth, keys.as_ref())?;
    let metrics = bind_metrics(options)?;
    let supervisor = supervisor(options, keys.as_ref())?;
    let connector = LocalConnector::new(front.control().clone(), options.auth);
    let local = Local { options, auth: &auth, connector };

    // Before all others, so that it hears their first heartbeats.
    let health = local.spawn(identity::HEALTH, Health::default()).await?;
    health.started().await;
    // All at once: each waits for its own welcome only.
    let control_deps = ControlDeps {
        supervisor: supervisor.clone(),
        auth: auth.clone(),
        front: front.control().clone(),
        server_key: keys.as_ref().map(|k| k.public.to_string()),
        instance_name: options.instance_name.clone(),
        since,
        python: options.python.clone(),
    };
    let control = ControlService::new(control_deps.clone());
    let (control, store, auth_service, keydiscovery, rpc_pubsub) = tokio::try_join!(
        local.spawn(identity::CONTROL, control),
        local.spawn(identity::CONFIG_STORE, config_store),
        local.spawn_auth(),
        local.spawn(identity::KEYDISCOVERY, KeyDiscovery),
        local.spawn_rpc_pubsub(),
    )?;
    let metrics = metrics.map(|endpoint| {
        let sources = control_deps.metrics_sources(control.cx());
        AbortOnDropHandle::new(tokio::spawn(metrics::serve(endpoint, sources)))
    });
    for handle in [&control, &store, &auth_service, &keydiscovery].into_iter().chain(&rpc_pubsub) {
        handle.started().await;
    }
    let mut services = Services::default();
    services.add(health, || local.spawn(identity::HEALTH, Health::default()).boxed());
    services
        .add(control, || local.spawn(identity::CONTROL, ControlService::new(control_deps.clone())).boxed());
    services.add(store, || local.spawn_store().boxed());
    services.add(auth_service, || local.spawn_auth().boxed());
    services.add(keydiscovery, || local.spawn(identity::KEYDISCOVERY, KeyDiscovery).boxed());
    if let Some(rpc_pubsub) = rpc_pubsub {
        services.add(rpc_pubsub, || local.spawn(identity::PUBSUB, RpcPubSub::new(auth.clone())).boxed());
    }
    supervisor.take_over().await;
    // Nobody meets a platform without its services.
    let _ = front.control().admit_peers().await;
    tokio::task::block_in_place(|| instances::record(options));
    let mut platform = Platform { lock, front, supervisor, services };
    let reason = platform.live(options, &mut signals).await?;
    tracing::info!("stopping: {reason:?}");
    drop(metrics);
    platform.stop(options, &mut signals, reason).await
}

/// The place for metrics, if it can be had. A chosen one has to be.
fn bind_metrics(options: &Options) -> Result<Option<Endpoint>, PlatformError> {
    match Endpoint::bind(&options.metrics) {
        Ok(endpoint) => {
            if let Some(address) = endpoint.as_ref().and_then(Endpoint::local_addr) {
                tracing::info!("metrics: http://{address}/metrics");
            }
            Ok(endpoint)
        }
        Err(error) if options.metrics_by_default => {
            tracing::warn!("no metrics are served: {}: {error}", options.metrics);
            Ok(None)
        }
        Err(source) => Err(PlatformError::Metrics { address: options.metrics.to_string(), source }),
    }
}

/// Starts the part that starts agents.
fn supervisor(options: &Options, keys: Option<&KeyPair>) -> Result<Arc<Supervisor>, PlatformError> {
    let isolation = match &options.isolation_site {
        None => None,
        Some(site) => Some(Isolation::prepare(site, &options.home, &options.instance_name)?),
    };
    let groups = options.cgroup.as_deref().map(Groups::prepare).transpose().map_err(PlatformError::Cgroup)?;
    let facts = PlatformFacts {
        limits: options.limits,
        groups,
        isolation,
        sandbox: options.sandbox,
        vip_address: options.local_address.base(),
        server_key: keys.map(|k| k.public.to_string()),
        message_bus: "zmq".to_owned(),
        instance_name: options.instance_name.clone(),
        python: options.python.interpreter.clone(),
    };
    Supervisor::new(SupervisorOptions {
        home: options.home.clone(),
        facts,
        rules: Rules { delays: options.restart_delays.clone(), ..Rules::default() },
        shutdown_timeout: options.shutdown_timeout,
        keep_agents: options.keep_agents,
        agent_logs: options.agent_logs,
    })
    .map_err(|source| PlatformError::System { action: "start the supervisor", source })
}

/// Everything that runs.
struct Platform<'a> {
    lock: HomeLock,
    front: RunningFront,
    supervisor: Arc<Supervisor>,
    services: Services<'a>,
}

impl Platform<'_> {
    /// Starts the enabled agents, says that the platform is ready, and waits for a reason to stop. A signal during
    /// the start counts.
    async fn live(&mut self, options: &Options, signals: &mut Signals) -> Result<Reason, PlatformError> {
        let Self { lock, front, supervisor, services } = self;
        let ready = async {
            if options.autostart {
                supervisor.autostart().await;
            }
            lock.publish_pid()?;
            tracing::info!("platform {} is up", options.instance_name);
            std::future::pending().await
        };
        tokio::select! {
            failed = ready => failed,
            reason = signals.wait(front.control().state()) => Ok(reason),
            never = services.look_after() => match never {},
        }
    }

    /// Takes everything down. A successor on the same home and port may start at once (dropin.md, Timing): it finds
    /// the sockets free, and waits for the lock until our agents are gone. A second signal ends the agents at once.
    async fn stop(
        mut self,
        options: &Options,
        signals: &mut Signals,
        reason: Reason,
    ) -> Result<(), PlatformError> {
        self.lock.stopping();
        self.lock.withdraw_pid();
        let supervisor = self.supervisor.clone();
        let keeps = supervisor.keeps_agents(reason == Reason::Quit);
        let agents = async {
            if keeps {
                tracing::info!("agents live on; the next start takes them over");
                return supervisor.leave().await;
            }
            tokio::select! {
                () = supervisor.stop_all() => {}
                _ = signals.next() => {
                    tracing::warn!("asked twice: agents are ended without grace");
                    supervisor.kill_all();
                    let _ = tokio::time::timeout(KILLED_GOODBYE, supervisor.stop_all()).await;
                }
            }
        };
        tokio::pin!(agents);
        // As long as the sockets may stay, agents that stop can still say goodbye on the bus.
        let patience = if reason == Reason::Quit { options.shutdown_timeout } else { SOCKETS_AFTER_SIGNAL };
        let stopped = tokio::time::timeout(patience, &mut agents).await.is_ok();
        let goodbye = if reason == Reason::Quit { SERVICE_GOODBYE } else { SERVICE_GOODBYE_AFTER_SIGNAL };
        self.services.stop(goodbye).await;
        tokio::task::block_in_place(|| self.front.stop());
        if !stopped {
            agents.await;
        }
        self.supervisor.finish_logs().await;
        instances::forget(options);
        drop(self.lock);
        match reason {
            Reason::Signal(_) | Reason::Quit => Ok(()),
            Reason::BusEnded => Err(PlatformError::BusEnded),
        }
    }
}

/// Binds every address and starts the router thread.
fn bind(options: &Options, auth: &AuthState, keys: Option<&KeyPair>) -> Result<RunningFront, PlatformError> {
    let secret = keys.map(|k| &k.secret);
    let binds = std::iter::once(&options.local_address)
        .chain(&options.vip_addresses)
        .map(|address| Bind::new(address, secret))
        .collect::<Result<Vec<_>, _>>()?;
    let authenticator = options.auth.then(|| Box::new(auth.clone()) as Box<dyn Authenticator>);
    let front = Front::bind(FrontConfig::new(binds, authenticator))?;
    let facts = RouterFacts {
        router_id: front.identity().to_owned(),
        // The local endpoint was bound first.
        addresses: front.endpoints().iter().skip(1).cloned().collect(),
        local_address: options.local_address.base(),
        serverkey: keys.map(|k| k.public.to_string()),
        volttron_central_address: options.volttron_central_address.clone(),
        volttron_central_serverkey: options.volttron_central_serverkey.clone(),
        instance_name: options.instance_name.clone(),
        bind_web_address: options.bind_web_address.clone(),
        platform_version: VERSION.to_owned(),
        agent_monitor_frequency_s: u32::try_from(options.agent_monitor_period.as_secs()).unwrap_or(u32::MAX),
    };
    let mut router = Router::new(auth.clone(), Limits::default());
    router.handle(Instant::now(), Input::Control(Control::Info(Box::new(facts))), &mut Nobody);
    Ok(front.start_holding_peers(router)?)
}

/// Connects services to the bus of this process.
struct Local<'a> {
    options: &'a Options,
    auth: &'a AuthState,
    connector: LocalConnector,
}

impl Local<'_> {
    async fn spawn<A: Agent>(&self, identity: &'static str, agent: A) -> Result<AgentHandle, PlatformError> {
        AgentBuilder::new(agent)
            .identity(identity)
            .connector(self.connector.clone())
            .version(VERSION)
            .instance_name(&self.options.instance_name)
            .data_dir(self.options.home.path())
            .store(false)
            .auth(self.options.auth)
            .capabilities(Arc::new(self.auth.clone()))
            .spawn()
            .await
            .map_err(|error| PlatformError::Service { identity, why: error.to_string() })
    }

    /// The store again, from its files.
    async fn spawn_store(&self) -> Result<AgentHandle, PlatformError> {
        let home = self.options.home.clone();
        let store = match crate::blocking::run(move || ConfigStore::load(&home)).await {
            Ok(loaded) => loaded?,
            Err(panic) => {
                let why = panic.to_string();
                return Err(PlatformError::Service { identity: identity::CONFIG_STORE, why });
            }
        };
        self.spawn(identity::CONFIG_STORE, store).await
    }

    async fn spawn_rpc_pubsub(&self) -> Result<Option<AgentHandle>, PlatformError> {
        if !self.options.rpc_pubsub {
            return Ok(None);
        }
        self.spawn(identity::PUBSUB, RpcPubSub::new(self.auth.clone())).await.map(Some)
    }

    /// Without authentication there are no rules to serve, but agents that ask all the same.
    async fn spawn_auth(&self) -> Result<AgentHandle, PlatformError> {
        if !self.options.auth {
            return self.spawn(AuthService::IDENTITY, StandIn).await;
        }
        let service = AuthService::new(self.auth.clone(), &self.options.home);
        self.spawn(AuthService::IDENTITY, service).await
    }
}

/// Takes nothing: before the start nobody is connected.
struct Nobody;

impl Output<ZmqFrame> for Nobody {
    fn wire(&mut self, frames: Frames<ZmqFrame>) -> Result<(), Unsent<ZmqFrame>> {
        Err(Unsent { why: Why::NoRoute, frames })
    }

    fn local(&mut self, _: ServiceId, frames: Frames<ZmqFrame>) -> Result<(), Unsent<ZmqFrame>> {
        Err(Unsent { why: Why::NoRoute, frames })
    }

    fn share(&mut self, frame: &ZmqFrame) -> ZmqFrame {
        volttron_utils::vip::Frame::from_slice(frame.as_ref())
    }

    fn event(&mut self, _: RouterEvent<'_>) {}
}
