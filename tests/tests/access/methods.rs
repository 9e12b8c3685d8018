//! Every method of every peer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use volttron_client::{CallError, Connection};

use crate::state::State;
use crate::{Intruder, World, eventually, settled};

/// What is open to everybody, one `peer method` a line; `*` stands for every peer that has agents' methods at all.
const OPEN: &str = include_str!("open.txt");

/// A method and what it declares.
struct Found {
    peer: String,
    method: String,
    params: Vec<String>,
    access: Value,
}

/// All methods of all peers that the platform or an agent of ours serves.
async fn discover(from: &Connection) -> Vec<Found> {
    let mut all = Vec::new();
    for peer in from.peerlist().await.expect("the platform answers") {
        if ["alice", "stranger", "victim.too"].contains(&peer.as_str())
            || peer.starts_with("control.connection")
        {
            continue;
        }
        let list = from.call(&peer, "inspect").send_value().await.expect("every peer can be inspected");
        for method in list["methods"].as_array().expect("a list") {
            let method = method.as_str().expect("a name").to_owned();
            let shown = from.call(&peer, &format!("{method}.inspect")).send_value().await.expect("inspected");
            let required = shown["params"].as_object().into_iter().flatten();
            let required = required
                .filter(|(_, p)| p.get("default").is_none() && !p["kind"].to_string().contains("VAR_"))
                .map(|(name, _)| name.clone());
            let params = required.collect();
            let access = shown["access"].clone();
            all.push(Found { peer: peer.clone(), method, params, access });
        }
    }
    all
}

/// An argument with which the call would do harm if it were let through.
fn harmful(world: &World, param: &str) -> Value {
    let listener = || world.platform.vctl_json(&["list"])["listener"]["agent_uuid"].clone();
    match param {
        "identity" => json!("victim"),
        "uuid" => listener(),
        "user_id" | "common_name" => json!("victim"),
        "index" => json!(0),
        "indices" => json!([0]),
        "config_name" => json!("config"),
        "raw_contents" => json!("changed"),
        "transaction" => json!({"victim": {"set": {}, "delete": ["config"], "prune": true}}),
        "groups" | "roles" => json!({"evil": ["evil"]}),
        "entry" | "auth_entry" => json!({
            "credentials": volttron_utils::keys::KeyPair::generate().public.to_string(), "user_id": "evil"
        }),
        "method" | "method_str" => json!("query"),
        "authorizations" | "denied_authorizations" | "capabilities" => json!(["evil"]),
        "rpc_methods" | "rpc_authorizations" => json!({"query": ["evil"], "get_point": ["evil"]}),
        // Everything there is, for those who try.
        "user_to_caps" => {
            let all = json!({
                "allow_auth_modifications": null, "modify_rpc_method_allowance": null,
                "sync_agent_config": null, "edit_config_store": null, "none_has_this": null
            });
            json!({"alice": all, "stranger": all})
        }
        "action" => json!("DELETE_ALL"),
        "changes" => json!([["DELETE", "config", null]]),
        "configs" | "records" | "point_names_values" => json!({}),
        "topics" | "point_names" => json!([]),
        "period" => json!(60),
        "status" => json!("GOOD"),
        "access" => json!("publish"),
        _ => json!("x"),
    }
}

/// The text of the refusal that the declaration promises, none for what is open.
fn refusal(found: &Found, who: &Intruder) -> Option<String> {
    let Found { peer, method, access, .. } = found;
    let user = who.name();
    let names = |key: &str| -> Vec<String> {
        let list = access[key].as_array().unwrap_or_else(|| panic!("{peer} {method}: no {key} in {access}"));
        list.iter().map(|name| format!("'{}'", name.as_str().expect("a name"))).collect()
    };
    let required = || {
        format!(
            "method '{method}' requires capabilities {{{}}}, but capability {} was provided for user {user}",
            names("capabilities").join(", "),
            who.provided
        )
    };
    match access["kind"].as_str() {
        Some("open") => None,
        Some("capabilities" | "callers_or" | "self_or") => Some(required()),
        Some("callers") => Some(format!(
            "method '{method}' is reserved to [{}], but was called by user {user}",
            names("callers").join(", ")
        )),
        _ => panic!("{peer} {method} does not declare who may call it: {access}"),
    }
}

/// Calls everything; what was not as declared.
async fn sweep(world: &World, all: &[Found], who: &Intruder) -> Vec<String> {
    let mut wrong = Vec::new();
    for found in all {
        let call = who.connection.call(&found.peer, &found.method);
        let call = found.params.iter().fold(call, |call, p| call.named(p.as_str(), harmful(world, p)));
        let outcome = call.send_value().await;
        let as_declared = match (&outcome, refusal(found, who)) {
            (Err(CallError::Denied(text)), Some(expected)) => *text == expected,
            (_, Some(_)) | (Err(CallError::Denied(_)), None) => false,
            (_, None) => true,
        };
        if !as_declared {
            wrong.push(format!(
                "{} called {} {} ({}): {outcome:?}",
                who.name(),
                found.peer,
                found.method,
                found.access
            ));
        }
    }
    wrong
}

async fn phase(world: &World, intruders: &[Intruder; 2], when: &str) -> usize {
    settled(world).await;
    let all = discover(&intruders[0].connection).await;
    let peers: BTreeSet<&str> = all.iter().map(|found| found.peer.as_str()).collect();
    for known in [
        "control",
        "platform.control",
        "config.store",
        "platform.config_store",
        "platform.auth",
        "platform.health",
        "keydiscovery",
        "listener",
        "platform.driver",
        "platform.historian",
    ] {
        assert!(peers.contains(known), "{when}: {known} is not among {peers:?}");
    }
    let before = State::of(world, &intruders[0].connection).await;
    for who in intruders {
        let wrong = sweep(world, &all, who).await;
        assert!(wrong.is_empty(), "{when}: {} calls went otherwise:\n{}", wrong.len(), wrong.join("\n"));
        before.assert_same(&State::of(world, &intruders[0].connection).await, when);
    }
    all.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_method_does_more_than_it_declares_for_those_who_may_nothing() {
    let mut world = World::start();
    let intruders = world.intruders().await;
    let fresh = phase(&world, &intruders, "fresh").await;
    assert_eq!(world.platform.terminate(), 0);
    world.platform.launch();
    for who in &intruders {
        eventually("the connection to be back", || async { who.connection.peerlist().await.is_ok() }).await;
    }
    let restarted = phase(&world, &intruders, "after a restart of the platform").await;
    for Intruder { connection, .. } in intruders {
        connection.close().await;
    }
    world.nobody_gets_in_with_an_unknown_key().await;
    let again = phase(&world, &world.intruders().await, "after new connections").await;
    assert_eq!((fresh, fresh), (restarted, again), "as many methods as before");
    println!("{fresh} methods, called by two peers in three situations");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_open_to_everybody_is_what_was_reviewed() {
    let world = World::start();
    let [alice, _stranger] = world.intruders().await;
    let all = discover(&alice.connection).await;
    let mut open: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for found in &all {
        let of = open.entry(&found.peer).or_default();
        if refusal(found, &alice).is_none() {
            of.insert(&found.method);
        }
    }
    let with_agents = || open.values().filter(|methods| methods.contains("health.get_status"));
    let shared: BTreeSet<&str> = with_agents()
        .fold(None, |common: Option<BTreeSet<&str>>, of| {
            Some(common.map_or_else(|| of.clone(), |common| &common & of))
        })
        .expect("there are agents");
    let mut lines: Vec<String> = shared.iter().map(|method| format!("* {method}")).collect();
    for (peer, methods) in &open {
        lines.extend((methods - &shared).iter().map(|method| format!("{peer} {method}")));
    }
    let reviewed: Vec<&str> =
        OPEN.lines().filter(|line| !line.starts_with('#') && !line.starts_with("router ")).collect();
    let now: Vec<&str> = lines.iter().map(String::as_str).collect();
    let appeared: Vec<&&str> = now.iter().filter(|line| !reviewed.contains(line)).collect();
    let vanished: Vec<&&str> = reviewed.iter().filter(|line| !now.contains(line)).collect();
    assert!(
        appeared.is_empty() && vanished.is_empty(),
        "tests/access/open.txt is not what is declared.\nnow open as well: {appeared:#?}\nno longer open: {vanished:#?}"
    );
}
