//! `why`: the rule that decides whether somebody may connect, call or publish (`vctl auth why`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use volttron_client::{CallError, CallErrorKind, Cx, Registrar, Request, RpcError};

use super::{AuthService, admin};
use crate::auth::entry::strings;
use crate::auth::why::{self, Declared};
use crate::nearest::nearest;

/// How long the agent asked about may take to tell what it requires.
const CALLEE_TIMEOUT: Duration = Duration::from_secs(5);

pub fn register(b: &mut Registrar<AuthService>) {
    b.rpc(
        admin("why")
            .param("identity")
            .optional("what", Value::Null)
            .doc("The rule that decides: what = a topic, PEER.METHOD, or null for the connection itself."),
        |agent: Arc<AuthService>, req: Request| async move {
            let (identity, what): (String, Option<String>) = (req.arg("identity")?, req.arg("what")?);
            let Some(what) = what else {
                let bind = agent.state.options().bind_identity_to_key;
                return Ok(json!(why::connect(&agent.state.snapshot(), &identity, bind)));
            };
            let peers = req.cx.peerlist().await.map_err(|e| RpcError::runtime_error(e.to_string()))?;
            if let Some((callee, method)) = split(&what, &peers) {
                let says = ask(&req.cx, callee, method).await?;
                return Ok(json!(why::call(&agent.state.snapshot(), &identity, callee, method, &says)));
            }
            let snapshot = agent.state.snapshot();
            if is_method(&what) && snapshot.protected.required(&what).is_none() {
                return Err(RpcError::value_error(nobody(&what, &peers)));
            }
            Ok(json!(why::publish(&snapshot, &identity, &what)))
        },
    );
}

/// `PEER.METHOD` of a peer that is connected; identities and methods may both contain dots, so the longest identity
/// counts. Everything else is a topic.
fn split<'a>(what: &'a str, peers: &BTreeSet<String>) -> Option<(&'a str, &'a str)> {
    if what.contains('/') {
        return None;
    }
    let ends = what.match_indices('.').map(|(at, _)| at);
    ends.rev().map(|at| (&what[..at], &what[at + 1..])).find(|(peer, _)| peers.contains(*peer))
}

/// Whether somebody who writes this means a method: levels of topics have slashes between them.
fn is_method(what: &str) -> bool {
    what.contains('.') && !what.contains('/')
}

/// That nobody of this name is there to have the method, and who was probably meant.
fn nobody(what: &str, peers: &BTreeSet<String>) -> String {
    let mut splits = what.rmatch_indices('.').map(|(at, _)| (&what[..at], &what[at..]));
    let meant = splits.find_map(|(name, method)| {
        nearest(peers.iter().map(String::as_str), name).map(|near| format!("; did you mean {near}{method}?"))
    });
    let name = what.rsplit_once('.').map_or(what, |(name, _)| name);
    format!(
        "no agent {name} is connected that could say who may call its methods{}",
        meant.unwrap_or_else(|| " (a topic has a slash)".to_owned())
    )
}

async fn ask(cx: &Cx, callee: &str, method: &str) -> Result<Declared, RpcError> {
    let failed =
        |e: CallError| RpcError::runtime_error(format!("{callee} does not say what {method} requires: {e}"));
    let inspect = cx.call(callee, &format!("{method}.inspect")).timeout(CALLEE_TIMEOUT).send_value().await;
    let access = inspect.map_err(failed)?["access"].clone();
    let asked = cx.call(callee, "auth.get_rpc_authorizations").arg(method).timeout(CALLEE_TIMEOUT);
    let required = match asked.send_value().await {
        Ok(names) => strings(Some(&names)),
        // A service without adjustable requirements.
        Err(e) if e.kind() != CallErrorKind::Timeout && !access.is_null() => {
            strings(access.get("capabilities"))
        }
        Err(e) => return Err(failed(e)),
    };
    Ok(Declared { access, required })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_of_nobody_is_no_topic() {
        let peers = BTreeSet::from(["control", "platform.driver"].map(str::to_owned));
        for (what, part) in [
            ("contrl.stop_agent", "no agent contrl is connected"),
            ("contrl.stop_agent", "did you mean control.stop_agent?"),
            ("contrl.agent.version", "did you mean control.agent.version?"),
            ("platform.drivr.get_point", "did you mean platform.driver.get_point?"),
            (
                "weather.look",
                "no agent weather is connected that could say who may call its methods (a topic has a slash)",
            ),
        ] {
            assert!(
                is_method(what) && nobody(what, &peers).contains(part),
                "{what}: {}",
                nobody(what, &peers)
            );
        }
        assert!(!is_method("devices/a.b") && !is_method("alerts"));
    }

    #[test]
    fn peers_win_by_length_and_the_rest_are_topics() {
        let peers = BTreeSet::from(["config", "config.store", "driver"].map(str::to_owned));
        for (what, want) in [
            ("config.store.set_config", Some(("config.store", "set_config"))),
            ("config.x", Some(("config", "x"))),
            ("driver.auth.update", Some(("driver", "auth.update"))),
            ("devices.all", None),
            ("devices/driver.x", None),
            ("topic", None),
        ] {
            assert_eq!(split(what, &peers), want, "{what}");
        }
    }
}
