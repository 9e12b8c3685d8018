//! The agents of the Rust client: methods to call and a record of what reached them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use volttron_client::link::zmq::ZmqConnector;
use volttron_client::{
    Access, Actions, Agent, AgentBuilder, AgentHandle, ConfigEvent, Cx, Method, Registrar, Request, RpcError,
};

use crate::world::World;

/// State of one agent.
#[derive(Default)]
pub struct Unit {
    /// Action, name and contents of each configuration event.
    pub configured: Mutex<Vec<Value>>,
    notes: Mutex<Vec<String>>,
    released: Notify,
}

impl Agent for Unit {
    const NAME: &'static str = "Unit";

    fn register(b: &mut Registrar<Self>) {
        let open = |name: &str| Method::new(name, Access::Open);
        b.rpc(open("echo").param("value"), |_, r: Request| async move { Ok(r.value("value").cloned()) })
            .rpc(open("add").param("a").optional("b", 10), |_, r: Request| async move {
                Ok(r.arg::<i64>("a")? + r.arg::<i64>("b")?)
            })
            .rpc(open("fail").param("text"), |_, r: Request| async move {
                Err::<(), _>(RpcError::value_error(r.arg::<String>("text")?))
            })
            .rpc(open("note").param("text"), |me: Arc<Self>, r: Request| async move {
                me.notes.lock().expect("sound").push(r.arg("text")?);
                Ok(())
            })
            .rpc(open("noted"), |me: Arc<Self>, _| async move { Ok(me.notes.lock().expect("sound").clone()) })
            .rpc(open("wait_for_release"), |me: Arc<Self>, _| async move {
                me.released.notified().await;
                Ok(true)
            })
            .rpc(open("release"), |me: Arc<Self>, _| async move {
                me.released.notify_one();
                Ok(())
            })
            .rpc(Method::new("guarded", Access::Capability("probe_secret")), |_, _| async { Ok("seen") })
            .rpc(
                Method::new("unit_only", Access::Capability("probe_unit")).param("unit"),
                |_, r: Request| async move { Ok(r.value("unit").cloned()) },
            )
            .on_setup(|_, cx: Cx| async move {
                cx.config().set_default("defaulted", json!({"d": 1}))?;
                Ok(())
            })
            .config("*", Actions::ALL, |me: Arc<Self>, _, e: ConfigEvent| async move {
                let event = json!([e.action.as_str(), e.name, e.contents]);
                me.configured.lock().expect("sound").push(event);
                Ok(())
            });
    }
}

/// Connects one of the agents.
pub async fn connect(world: &World<'_>, who: &str) -> (Arc<Unit>, AgentHandle) {
    let unit = Arc::new(Unit::default());
    let connector = ZmqConnector::new(world.address.parse().expect("an address")).expect("a connector");
    let connector =
        connector.keys(world.keys(who).clone()).serverkey(world.server_key.parse().expect("a key"));
    let handle = AgentBuilder::shared(unit.clone())
        .identity(world.name(who))
        .connector(connector)
        .connect_timeout(Duration::from_secs(20))
        .spawn()
        .await
        .expect("the agent connects");
    assert!(handle.started().await, "the agent starts");
    (unit, handle)
}
