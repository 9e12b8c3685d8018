//! The three questions that agents of the 11.x line ask, answered from the same rules (auth.md section 10).

use serde_json::{Map, Value};
use volttron_client::{Access, Method, Registrar, Request, RpcError, access};

use super::{AuthService, open};
use crate::auth::AuthState;
use crate::auth::file::List;

/// Registers them.
pub fn register(b: &mut Registrar<AuthService>) {
    b.rpc(
        open("get_protected_rpcs").param("identity").doc("Methods of an agent that not everybody may call."),
        |agent, req: Request| async move { Ok(protected_methods(&agent.state, &req.arg::<String>("identity")?)) },
    );
    b.rpc(
        Method::new("check_rpc_authorization", Access::Open)
            .param("identity")
            .param("method_name")
            .optional("method_args", Value::Null)
            .doc("Whether an agent may call `<callee>.<method>` with these arguments."),
        |agent, req: Request| async move {
            let (caller, name): (String, String) = (req.arg("identity")?, req.arg("method_name")?);
            let args = match req.value("method_args") {
                Some(Value::Object(args)) => args.clone(),
                _ => Map::new(),
            };
            Ok(may_call(&agent.state, &caller, &name, &args))
        },
    );
    b.rpc(
        open("check_pubsub_authorization").param("identity").param("topic_pattern").param("access"),
        |agent, req: Request| async move {
            let (who, topic, access): (String, String, String) =
                (req.arg("identity")?, req.arg("topic_pattern")?, req.arg("access")?);
            match access.as_str() {
                "publish" | "pubsub" => Ok(agent.state.may_publish(&who, &topic)),
                // Reading is not protected on this bus.
                "subscribe" => Ok(true),
                _ => Err(RpcError::value_error(format!(
                    "access must be publish, subscribe or pubsub, not {access}"
                ))),
            }
        },
    );
}

/// A list of exactly `""` says that the method is explicitly unrestricted.
fn restricts(required: &[String]) -> bool {
    required.iter().any(|name| !name.is_empty())
}

fn protected_methods(state: &AuthState, identity: &str) -> Vec<String> {
    let snapshot = state.snapshot();
    let mut methods = Vec::new();
    for entry in snapshot.file.entries(List::Allow).filter(|e| e.identity.as_deref() == Some(identity)) {
        methods.extend(
            entry.rpc_method_authorizations.keys().filter(|m| restricts(&entry.required_for(m))).cloned(),
        );
    }
    methods
}

/// Both identities and method names contain dots, so the callee is any entry whose identity the name begins with.
fn may_call(state: &AuthState, caller: &str, name: &str, args: &Map<String, Value>) -> bool {
    if !state.options().enabled {
        return true;
    }
    let snapshot = state.snapshot();
    let held = snapshot.table.capabilities_of(caller);
    snapshot.file.entries(List::Allow).all(|entry| {
        let method = entry.identity.as_deref().and_then(|id| name.strip_prefix(id)?.strip_prefix('.'));
        let Some(method) = method else { return true };
        let required = entry.required_for(method);
        !restricts(&required) || access::check(&required, held, method, caller, args).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use volttron_utils::home::Home;

    use super::*;
    use crate::auth::AuthOptions;
    use crate::auth::entry::Entry;

    #[test]
    fn calls_are_checked_against_the_entry_of_the_callee() {
        let dir = tempfile::tempdir().unwrap();
        let state = AuthState::open(&Home::new(dir.path()).unwrap(), AuthOptions::default()).unwrap();
        let key = |n: u8| format!("{n:A<43}");
        let mut callee = Entry::curve("plant.driver", &key(1));
        callee.rpc_method_authorizations =
            serde_json::from_value(json!({"set": ["may_set"], "free": [""], "none": [], "sub.set": ["x"]}))
                .unwrap();
        let caller = Entry::curve("boss", &key(2)).with_capability("may_set", json!({"point": "/p.*/"}));
        state
            .change(|f| f.add(List::Allow, callee, false).and_then(|()| f.add(List::Allow, caller, false)))
            .unwrap();
        assert_eq!(protected_methods(&state, "plant.driver"), ["set", "sub.set"]);
        assert!(protected_methods(&state, "nobody").is_empty());
        let args = |point: &str| serde_json::from_value(json!({"point": point})).unwrap();
        let cases = [
            ("boss", "plant.driver.set", args("p1"), true),
            ("boss", "plant.driver.set", args("q1"), false),
            ("boss", "plant.driver.set", Map::new(), false),
            ("other", "plant.driver.set", args("p1"), false),
            ("other", "plant.driver.free", Map::new(), true),
            ("other", "plant.driver.none", Map::new(), true),
            ("other", "plant.driver.unknown", Map::new(), true),
            ("boss", "plant.driver.sub.set", Map::new(), false),
            ("other", "plant.drivers.set", Map::new(), true),
        ];
        for (who, name, args, want) in cases {
            assert_eq!(may_call(&state, who, name, &args), want, "{who} {name} {args:?}");
        }
    }
}
