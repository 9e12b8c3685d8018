//! `install_agent`: installing for clients that do not share our disk, or are of another make (lifecycle.md section 2).
//!
//! The package comes through a channel, or pip finds it by name. Building and pip run as programs of their own, followed
//! from a thread of their own: the service goes on meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use volttron_client::{Registrar, Request, RpcError};
use volttron_utils::keys::KeyPair;

use super::versions::refused;
use super::{Control, change, transfer};
use crate::install::python::Settings;
use crate::install::{self, Build, InstallError, Kind, Stage, StagedAgent, Wanted};

/// Installations that may run at a time.
const AT_ONCE: usize = 2;
/// Installations that may wait for their turn besides.
const WAITING: usize = 16;
/// Limit of building one package.
const LIMIT: Duration = Duration::from_mins(30);
/// Longest name of a package file.
const MAX_NAME_CHARS: usize = 200;

/// Whose turn it is.
#[derive(Debug)]
pub(super) struct Turns {
    entrance: Semaphore,
    running: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { entrance: Semaphore::new(AT_ONCE + WAITING), running: Semaphore::new(AT_ONCE) }
    }
}

/// What is to be installed, from any of the generations of arguments.
#[derive(Clone, Debug, Default, PartialEq)]
struct Order {
    package: String,
    channel: Option<String>,
    identity: Option<String>,
    keys: Option<(String, String)>,
    force: bool,
    pre_release: bool,
    config: Option<Value>,
    options: Map<String, Value>,
}

/// Names of the arguments after the first two; the seventh is missing in the oldest and another in early 10.x.
const NAMES: [&str; 7] =
    ["vip_identity", "publickey", "secretkey", "force", "pre_release", "agent_config", "options"];

impl Order {
    fn read(package: &str, rest: &[Value], extra: &Map<String, Value>) -> Result<Self, RpcError> {
        let mut given = Map::new();
        let mut rest = rest.iter();
        given.insert("channel_name".into(), rest.next().cloned().unwrap_or_default());
        let mut names = NAMES.to_vec();
        if rest.len() > 4 && !matches!(rest.as_slice()[4], Value::Bool(_)) && rest.len() < NAMES.len() {
            // Early 10.x has no `pre_release`: what stands in its place is the configuration.
            let early = rest.as_slice()[4].is_object() || rest.len() == 5;
            names.retain(|name| !early || *name != "pre_release");
        }
        if rest.len() > names.len() {
            return Err(RpcError::type_error("install_agent() takes at most 9 positional arguments"));
        }
        given.extend(names.iter().zip(rest).map(|(name, value)| ((*name).to_owned(), value.clone())));
        for (name, value) in extra {
            if !given.contains_key(name) && !NAMES.contains(&name.as_str()) {
                let why = format!("install_agent() got an unexpected keyword argument '{name}'");
                return Err(RpcError::type_error(why));
            }
            given.insert(name.clone(), value.clone());
        }
        let text = |name: &str| match given.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(RpcError::type_error(format!("{name} must be text, not {other}"))),
        };
        let flag = |name: &str| match given.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(RpcError::type_error(format!("{name} must be true or false, not {other}"))),
        };
        let options = match given.get("options") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(options)) => options.clone(),
            Some(other) => return Err(RpcError::type_error(format!("options must be a map, not {other}"))),
        };
        // An empty map is how clients say that there is none.
        let config = given.get("agent_config").cloned();
        let config = config.filter(|c| !c.is_null() && c.as_object().is_none_or(|map| !map.is_empty()));
        Ok(Self {
            package: package.to_owned(),
            channel: text("channel_name")?,
            identity: text("vip_identity")?,
            keys: text("publickey")?.zip(text("secretkey")?),
            force: flag("force")?,
            pre_release: flag("pre_release")?,
            config,
            options,
        })
    }

    fn key_pair(&self) -> Result<Option<KeyPair>, RpcError> {
        let bad = |e: &dyn std::fmt::Display| RpcError::value_error(format!("publickey or secretkey: {e}"));
        let Some((public, secret)) = &self.keys else { return Ok(None) };
        let public = public.parse().map_err(|e| bad(&e))?;
        let secret = secret.parse().map_err(|e| bad(&e))?;
        Ok(Some(KeyPair { public, secret }))
    }

    /// Name of the package's file, without any directory.
    fn file_name(&self) -> Result<&str, RpcError> {
        let name = Path::new(&self.package).file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let fits = |c: char| c.is_ascii_alphanumeric() || "._+!-".contains(c);
        if name.is_empty() || name.len() > MAX_NAME_CHARS || name.starts_with('.') || !name.chars().all(fits)
        {
            return Err(RpcError::value_error(format!("'{name}' cannot be the name of a package file")));
        }
        Ok(name)
    }
}

/// What may be asked for besides; only here.
#[derive(Clone, Debug, Default)]
struct Extras {
    source: Option<Kind>,
    env: BTreeMap<String, String>,
    bin: Option<String>,
}

impl Extras {
    fn read(options: &Map<String, Value>) -> Result<Self, RpcError> {
        let mut extras = Self::default();
        for (name, value) in options {
            let bad = || RpcError::value_error(format!("options: '{name}' cannot be {value}"));
            match name.as_str() {
                "source" => {
                    let text = value.as_str().ok_or_else(bad)?;
                    extras.source =
                        Some(<Kind as clap::ValueEnum>::from_str(text, false).map_err(|_| bad())?);
                }
                "env" => extras.env = serde_json::from_value(value.clone()).map_err(|_| bad())?,
                "bin" => extras.bin = Some(value.as_str().ok_or_else(bad)?.to_owned()),
                _ => return Err(RpcError::value_error(format!("options: '{name}' is not known"))),
            }
        }
        Ok(extras)
    }
}

/// The directory to work in. Environments have thousands of files: they do not go on a thread that serves calls.
struct Workplace(Option<Stage>);

impl Workplace {
    fn path(&self) -> &Path {
        self.0.as_ref().map_or(Path::new(""), Stage::path)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let stage = self.0.take();
        std::thread::spawn(move || drop(stage));
    }
}

impl Control {
    async fn install_agent(self: &Arc<Self>, request: &Request) -> Result<String, RpcError> {
        let order = Order::read(&request.arg::<String>("filename")?, request.rest(), request.extra())?;
        let extras = Extras::read(&order.options)?;
        let keys = order.key_pair()?;
        if let (Some(identity), false) = (&order.identity, order.force)
            && self.supervisor().agents().iter().any(|agent| agent.identity == *identity)
        {
            return Err(refused(InstallError::IdentityExists(identity.clone())));
        }
        let turns = &self.turns;
        let _ticket = turns.entrance.try_acquire().map_err(|_| {
            RpcError::runtime_error(format!(
                "{} installations are under way or waiting; try again when some are done",
                AT_ONCE + WAITING
            ))
        })?;
        let _turn = turns.running.acquire().await.map_err(|e| RpcError::internal(&e.to_string()))?;

        let home = self.supervisor().home().clone();
        let stage = Workplace(Some(Stage::open(&home).map_err(refused)?));
        let (text, kind) = match &order.channel {
            Some(channel) => {
                let path = stage.path().join(order.file_name()?);
                transfer::receive(&request.cx, &request.caller.peer, channel, &path).await?;
                // A program has to be executable to say what it is.
                let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o700));
                (path.display().to_string(), extras.source)
            }
            None => (order.package.clone(), Some(extras.source.unwrap_or(Kind::Pypi))),
        };
        let python = Settings {
            pre_release: order.pre_release,
            script: extras.bin.clone(),
            limit: Some(LIMIT),
            ..self.deps.python.clone()
        };
        let config = order.config.as_ref().map(|c| volttron_utils::json::to_indent(c, 2).unwrap_or_default());
        let wanted = Wanted {
            identity: order.identity.clone(),
            config: None,
            force: order.force,
            env: extras.env,
            python,
        };
        let job = Job { text, kind, bin: extras.bin, wanted, config, stage: stage.path().join("build") };
        let mut staged = job.run(home).await?;
        if order.channel.is_some() {
            staged.source = json!({"kind": "sent", "file": order.file_name()?});
        }
        staged.keys = keys;
        staged.installed_by.clone_from(&request.caller.user);
        // Clients of 9.x start it themselves.
        staged.then.stay_down = true;
        self.install(&request.cx, staged).await.map(|installed| installed.uuid)
    }
}

/// The part that builds.
struct Job {
    text: String,
    kind: Option<Kind>,
    bin: Option<String>,
    wanted: Wanted,
    config: Option<String>,
    stage: PathBuf,
}

impl Job {
    /// Ends what it started when the call is dropped.
    async fn run(self, home: volttron_utils::home::Home) -> Result<StagedAgent, RpcError> {
        let cancel = CancellationToken::new();
        let _cancelled_when_dropped = cancel.clone().drop_guard();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|e| RpcError::runtime_error(e.to_string()))?;
            runtime.block_on(async {
                tokio::select! {
                    done = self.prepare(&home) => done.map_err(refused),
                    () = cancel.cancelled() => Err(RpcError::runtime_error("the platform stops")),
                }
            })
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(_) => Err(RpcError::internal("the installation was interrupted")),
        }
    }

    async fn prepare(&self, home: &volttron_utils::home::Home) -> Result<StagedAgent, InstallError> {
        let source = install::recognise(&self.text, self.kind, None)?;
        let build = Build {
            bin: self.bin.as_deref(),
            features: &[],
            no_default_features: false,
            offline: false,
            profile: None,
            limit: LIMIT,
            verbose: false,
        };
        install::prepare(home, &source, &build, &self.stage, self.wanted.clone(), self.config.clone()).await
    }
}

/// The method.
pub(super) fn register(b: &mut Registrar<Control>) {
    let install = change("install_agent")
        .param("filename")
        .var_args()
        .var_kwargs()
        .doc("Installs a package that the caller sends through a channel, or that pip finds by name.");
    b.rpc(install, |s: Arc<Control>, r: Request| async move { s.install_agent(&r).await });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rest: Value, extra: Value) -> Result<Order, RpcError> {
        let (Value::Array(rest), Value::Object(extra)) = (rest, extra) else { panic!("a list and a map") };
        Order::read("a.whl", &rest, &extra)
    }

    #[test]
    fn all_generations_of_arguments_are_understood() {
        let order = |identity: Option<&str>, force, pre_release, config: Option<Value>| Order {
            package: "a.whl".into(),
            channel: Some("c".into()),
            identity: identity.map(str::to_owned),
            force,
            pre_release,
            config,
            ..Order::default()
        };
        for (rest, expected) in [
            (json!(["c"]), order(None, false, false, None)),
            // 9.x
            (json!(["c", "i", null, null, true]), order(Some("i"), true, false, None)),
            // 10.x
            (
                json!(["c", "i", null, null, true, true, {"a": 1}]),
                order(Some("i"), true, true, Some(json!({"a": 1}))),
            ),
            (json!(["c", null, null, null, false, false, {}]), order(None, false, false, None)),
            (
                json!(["c", "", null, null, false, null, {"a": 1}]),
                order(None, false, false, Some(json!({"a": 1}))),
            ),
            // Early 10.x
            (
                json!(["c", "i", null, null, true, {"a": 1}]),
                order(Some("i"), true, false, Some(json!({"a": 1}))),
            ),
            (json!(["c", "i", null, null, true, null]), order(Some("i"), true, false, None)),
            (json!(["c", "i", null, null, true, "text"]), order(Some("i"), true, false, Some(json!("text")))),
        ] {
            assert_eq!(read(rest.clone(), json!({})).unwrap(), expected, "{rest}");
        }
        let with_options =
            read(json!(["c", "i", null, null, true, false, null, {"bin": "b"}]), json!({})).unwrap();
        assert_eq!(with_options.options["bin"], "b");
        let early = read(json!(["c", "i", null, null, true, {"a": 1}, {"bin": "b"}]), json!({})).unwrap();
        assert_eq!((&early.config, &early.options["bin"]), (&Some(json!({"a": 1})), &json!("b")));
        let named =
            read(json!([]), json!({"channel_name": "c", "force": true, "agent_config": [1]})).unwrap();
        assert_eq!(named, order(None, true, false, Some(json!([1]))));
    }

    #[test]
    fn arguments_that_do_not_fit_are_refused() {
        for (rest, extra) in [
            (json!(["c", 5]), json!({})),
            (json!(["c", "i", null, null, "yes"]), json!({})),
            (json!(["c", "i", null, null, true, true, null, null, null]), json!({})),
            (json!(["c"]), json!({"colour": 1})),
            (json!(["c"]), json!({"options": 1})),
        ] {
            assert!(read(rest.clone(), extra).is_err(), "{rest}");
        }
        let extras = |options: Value| Extras::read(options.as_object().expect("a map"));
        assert_eq!(extras(json!({"source": "wheel"})).unwrap().source, Some(Kind::Wheel));
        for bad in [json!({"source": "x"}), json!({"env": 1}), json!({"bin": 1}), json!({"more": 1})] {
            assert!(extras(bad.clone()).is_err(), "{bad}");
        }
        for (name, fits) in [
            ("a-1.0-py3-none-any.whl", true),
            ("/tmp/x/a.whl", true),
            ("../../a.whl", true),
            ("..", false),
            ("", false),
            (".hidden", false),
            ("a b.whl", false),
            ("-option", true),
        ] {
            let order = Order { package: name.into(), ..Order::default() };
            assert_eq!(order.file_name().is_ok(), fits, "{name}");
        }
    }
}
