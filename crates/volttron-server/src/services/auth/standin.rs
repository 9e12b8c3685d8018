//! `platform.auth` of a platform without authentication, for agents that ask it whatever the platform's mode is.
//!
//! Agents of 10.x look up the capabilities of whoever calls a protected method of theirs, the config store among them,
//! and do not survive that nobody answers. Owns no rules and no file: it knows the platform's own services, and that
//! everything else is open. Must never write anything.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use volttron_client::{Agent, Registrar, Request};

use super::open;
use crate::auth::startup;

/// The agent. Connect it under the auth service's identity.
#[derive(Debug)]
pub struct StandIn;

impl Agent for StandIn {
    const NAME: &'static str = "AuthService";

    fn register(b: &mut Registrar<Self>) {
        b.rpc(
            open("get_user_to_capabilities").doc("Capabilities of the platform's own services."),
            |_: Arc<Self>, _: Request| async { Ok(startup::services()) },
        );
        b.rpc(open("get_capabilities").param("user_id"), |_: Arc<Self>, req: Request| async move {
            let user: String = req.arg("user_id")?;
            Ok(startup::services().remove(&user).unwrap_or_else(|| json!([])))
        });
        b.rpc(
            open("update_id_rpc_authorizations")
                .param("identity")
                .param("rpc_methods")
                .doc("Gives back what the agent requires: nobody adjusts it."),
            |_: Arc<Self>, req: Request| async move { req.arg::<Map<String, Value>>("rpc_methods") },
        );
        b.rpc(open("get_protected_rpcs").param("identity"), |_: Arc<Self>, _: Request| async {
            Ok(json!([]))
        });
        for (name, params) in [
            ("check_rpc_authorization", ["identity", "method_name", "method_args"]),
            ("check_pubsub_authorization", ["identity", "topic_pattern", "access"]),
        ] {
            let method =
                params.into_iter().fold(open(name), |method, param| method.optional(param, Value::Null));
            b.rpc(method, |_: Arc<Self>, _: Request| async { Ok(true) });
        }
    }
}
