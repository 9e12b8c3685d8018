//! What peers and operators do.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::model::Op;
use super::rules::{ADDRESS, Edit, KEYS, Rule, Verdict, key_bytes, key_text, protected_text};
use super::stores::{Change, Part, Write};
use super::wires::Said;
use super::world::{Checked, World};
use crate::auth::state::Reloaded;
use crate::front::zap::{Authenticator as _, Credentials, DOMAIN, ZapAnswer, ZapRequest};

const IDENTITIES: [&str; 11] = [
    "p0",
    "p1",
    "p2",
    "p3",
    "p4",
    "s0",
    "s1",
    "control.connection",
    "control.connection.7",
    "platform.auth",
    "config.store",
];
const TOPICS: [&str; 6] = ["a", "a/b", "ab", "prot/x", "b", "prot"];
const PREFIXES: [&str; 7] = ["", "a", "a/", "ab", "prot/", "b", "c"];
const STORES: [&str; 5] = ["p0", "p1", "p2", "s0", "x"];
const NAMES: [&str; 5] = ["config", "Config", "a", "A", "dev/b"];

/// The key that the first rules give to a name, if any.
fn usual_key(identity: &str) -> Option<usize> {
    match identity.strip_prefix('p').and_then(|n| n.parse::<usize>().ok()) {
        Some(n) => Some(n + 1),
        None => identity.starts_with("control.connection").then_some(0),
    }
}

impl World {
    /// A connection opens, if its key is let in, and says hello; sometimes under a name that is in use.
    pub(super) fn connect(&mut self) -> Checked {
        let identity = *self.rng.pick(&IDENTITIES);
        let any = self.rng.below(KEYS);
        let key = if self.rng.chance(80) { usual_key(identity).unwrap_or(any) } else { any };
        let raw = key_bytes(key);
        let request = ZapRequest { domain: DOMAIN, address: ADDRESS, credentials: Credentials::Curve(&raw) };
        let let_in = match self.platform.auth.decide(&request) {
            ZapAnswer::Allow { user_id } if user_id == key_text(key) => true,
            ZapAnswer::Allow { user_id } => return Err(format!("key {key} was let in as {user_id}")),
            ZapAnswer::Deny { .. } => false,
        };
        self.note(format!("{identity} connects with key {key}: {let_in}"));
        if let_in != self.model.rules.lets_in(key) {
            return Err(format!("key {key} was let in: {let_in}, by the rules {}", !let_in));
        }
        if !let_in {
            self.summary.refused += 1;
            return Ok(());
        }
        let at = self.wires.connect(identity, key, false);
        self.say(at, "", "hello", "hello", &[b"hello"]);
        let list = |world: &mut Self| {
            (0..world.rng.below(3)).map(|_| *world.rng.pick(&PREFIXES)).collect::<Vec<_>>()
        };
        let (internal, all) = (list(self), list(self));
        let wanted = json!({"subscriptions": {"internal": {"": internal}, "all": {"": all}}}).to_string();
        self.say(at, "", "", "pubsub", &[b"synchronize", b"connected", wanted.as_bytes()]);
        self.say(at, "", "peers", "peerlist", &[b"list"]);
        Ok(())
    }

    /// A connection breaks: what it heard is lost, of what it said a part; the notice follows in its own time.
    pub(super) fn disconnect(&mut self) {
        let Some(at) = self.any_open().filter(|at| !self.wires.conns[*at].service) else { return };
        let keep = self.rng.below(self.wires.conns[at].said.len() + 1);
        let conn = &mut self.wires.conns[at];
        let identity = conn.identity.clone();
        conn.open = false;
        conn.heard.clear();
        conn.expected.clear();
        conn.said.truncate(keep);
        if !conn.mute {
            conn.said.push_back(Said::Gone);
            self.wires.routes.remove(&identity);
        }
        self.note(format!("connection {at} of {identity} breaks"));
    }

    /// Puts a message on a connection.
    pub(super) fn say(&mut self, at: usize, to: &str, id: &str, subsystem: &str, args: &[&[u8]]) {
        let conn = &mut self.wires.conns[at];
        if conn.mute || !conn.open {
            return;
        }
        let head = [to.as_bytes(), b"VIP1", b"", id.as_bytes(), subsystem.as_bytes()];
        let frames = head.iter().chain(args).map(|frame| Bytes::copy_from_slice(frame)).collect();
        conn.said.push_back(Said::Frames(frames));
    }

    /// Somebody says something.
    pub(super) fn speak(&mut self) -> Checked {
        let Some(at) = self.any_open() else { return self.connect() };
        let service = self.wires.conns[at].service;
        match self.rng.below(100) {
            0..35 => {
                let (number, topic) = (self.publication(at), *self.rng.pick(&TOPICS));
                let body = json!({"bus": "", "headers": {}, "message": number}).to_string();
                let id = format!("n{number}");
                self.say(at, "", &id, "pubsub", &[b"publish", topic.as_bytes(), body.as_bytes()]);
            }
            35..43 => {
                let (prefix, all) = (*self.rng.pick(&PREFIXES), self.rng.chance(40));
                let wish = json!({"prefix": [prefix], "bus": "", "all_platforms": all}).to_string();
                self.say(at, "", "sub", "pubsub", &[b"subscribe", wish.as_bytes()]);
            }
            43..47 => {
                let prefix =
                    if self.rng.chance(30) { json!(null) } else { json!([self.rng.pick(&PREFIXES)]) };
                let table = if self.rng.chance(40) { "all" } else { "internal" };
                let wish = json!({table: {"prefix": prefix, "bus": ""}}).to_string();
                self.say(at, "", "uns", "pubsub", &[b"unsubscribe", wish.as_bytes()]);
            }
            47..52 => {
                let to = *self.rng.pick(&IDENTITIES[..9]);
                self.serial += 1;
                let id = format!("d{}", self.serial);
                self.say(at, to, &id, "channel", &[b"something"]);
            }
            52..55 => {
                let target = *self.rng.pick(&IDENTITIES);
                self.say(at, "", "", "agentstop", &[target.as_bytes()]);
            }
            55..57 if !service => self.say(at, "", "q", "quit", &[]),
            57..60 => {
                let op: &[u8] = if self.rng.chance(50) { b"auth_update" } else { b"protected_update" };
                let users = json!({"capabilities": {"s0": {"prot": null}}, "write-protect": []}).to_string();
                self.say(at, "", "", "pubsub", &[op, users.as_bytes()]);
            }
            60..63 => self.say(at, "", "peers", "peerlist", &[b"list"]),
            63..82 => {
                let op = self.store_op();
                self.call(at, op);
            }
            _ => {
                let op = self.auth_op();
                self.call(at, op);
            }
        }
        Ok(())
    }

    fn store_op(&mut self) -> Op {
        let (store, name) = ((*self.rng.pick(&STORES)).to_owned(), (*self.rng.pick(&NAMES)).to_owned());
        match self.rng.below(20) {
            0..8 => {
                let write = self.write(name);
                Op::Stores(Change::Set(store, write))
            }
            8..10 => Op::Stores(Change::Delete(store, name)),
            10 => Op::Stores(Change::Clear(store)),
            11..14 => {
                let mut parts = BTreeMap::new();
                for _ in 0..=self.rng.below(3) {
                    let store = *self.rng.pick(&STORES);
                    let set = if self.rng.chance(80) { vec![self.write(name.clone())] } else { Vec::new() };
                    let delete = if self.rng.chance(20) { vec!["dev/b".to_owned()] } else { Vec::new() };
                    parts.insert(store.to_owned(), Part { set, delete, prune: self.rng.chance(20) });
                }
                let only = if self.rng.chance(30) { store } else { String::new() };
                if !only.is_empty() && self.rng.chance(80) {
                    parts.retain(|store, _| *store == only);
                }
                Op::Stores(Change::Apply(only, parts))
            }
            14..17 => Op::Get(store, name),
            17..19 => Op::List(store),
            _ => Op::Initialize(store),
        }
    }

    fn write(&mut self, name: String) -> Write {
        let number = self.rng.below(3);
        match self.rng.below(10) {
            0 => (name, "json".to_owned(), "{".to_owned()),
            1..6 => (name, "raw".to_owned(), format!("text {number}")),
            _ => (name, "json".to_owned(), format!("{{\"n\": {number}}}")),
        }
    }

    fn auth_op(&mut self) -> Op {
        if self.rng.chance(35) { Op::ReadUsers } else { Op::Rules(self.edit()) }
    }

    fn rule(&mut self) -> Rule {
        let name = *self.rng.pick(&["p0", "p1", "p2", "p4", "s0", "s1", "x"]);
        let any = self.rng.below(KEYS);
        let key = if self.rng.chance(50) { usual_key(name).unwrap_or(any) } else { any };
        let only = *self.rng.pick(&[None, Some("/.*/"), Some("/p[12]/"), Some("p0"), Some("s0")]);
        let mut rule = Rule::new(name, key, &[("edit_config_store", only)]);
        if self.rng.chance(30) {
            rule.caps.insert("prot".to_owned(), None);
        }
        if self.rng.chance(50) {
            rule.caps.insert("allow_auth_modifications".to_owned(), None);
        }
        if self.rng.chance(20) {
            rule.roles.push("publisher".to_owned());
        }
        rule.enabled = self.rng.chance(85);
        rule
    }

    fn edit(&mut self) -> Edit {
        match self.rng.below(12) {
            0..4 => Edit::Add(self.rule()),
            4 => Edit::RemoveKey(1 + self.rng.below(KEYS - 1)),
            5 => Edit::RemoveIndex(i64::from(self.rng.below(9) as u8)),
            6..8 => {
                let rule = self.rule();
                Edit::Update(2 + i64::from(self.rng.below(6) as u8), rule)
            }
            8 => {
                let caps = if self.rng.chance(50) { vec!["prot".to_owned()] } else { Vec::new() };
                Edit::Roles(BTreeMap::from([("publisher".to_owned(), caps)]))
            }
            _ => {
                let verdict = *self.rng.pick(&[Verdict::Approve, Verdict::Deny, Verdict::Delete]);
                let waiting: Vec<String> =
                    self.platform.auth.with_pending(|p| p.iter().map(|r| r.user_id.clone()).collect());
                let user = if !waiting.is_empty() && self.rng.chance(70) {
                    self.rng.pick(&waiting).clone()
                } else {
                    (*self.rng.pick(&IDENTITIES)).to_owned()
                };
                Edit::Decide(verdict, user)
            }
        }
    }

    /// Another program changes one of the files; the platform will look at it sooner or later.
    pub(super) fn edit_a_file(&mut self) -> Checked {
        // Calls that are under way look at the file as well; what they find is to be clear.
        self.settle()?;
        if self.rng.chance(40) {
            let choices = [
                vec![("prot/", vec!["prot"])],
                vec![("prot/", vec!["prot"]), ("a/b", vec!["nobody has"])],
                vec![("prot/x", vec![]), ("b", vec!["edit_config_store", "prot"])],
                Vec::new(),
            ];
            let own = |(topic, caps): &(&str, Vec<&str>)| {
                ((*topic).to_owned(), caps.iter().map(|c| (*c).to_owned()).collect())
            };
            self.model.protected_written = self.rng.pick(&choices).iter().map(own).collect();
            self.disk.edit("protected_topics.json", &protected_text(&self.model.protected_written));
            self.note(format!("protected_topics.json becomes {:?}", self.model.protected_written));
        } else {
            let edit = if self.rng.chance(25) {
                self.model.written = super::rules::Rules::initial();
                "all that was at first".to_owned()
            } else {
                let edit = self.edit();
                let pending = None;
                self.model.written.edit(&edit, pending);
                format!("{edit:?}")
            };
            self.disk.edit("auth.json", &self.model.written.to_text());
            self.note(format!("auth.json is edited: {edit}"));
        }
        Ok(())
    }

    /// The platform notices that its files were changed.
    pub(super) fn look_at_files(&mut self) -> Checked {
        self.settle()?;
        let auth = self.platform.auth.reload_auth(true).map_err(|e| e.to_string())?;
        let protected = self.platform.auth.reload_protected(true).map_err(|e| e.to_string())?;
        self.note(format!("looks at its files: {auth:?}, {protected:?}"));
        if auth == Reloaded::Incomplete || protected == Reloaded::Incomplete {
            return Err("a whole file counts as half of one".to_owned());
        }
        self.model.reload();
        self.model.protected = self.model.protected_written.clone();
        self.check_state()
    }

    /// Time passes. The services work meanwhile, so what they do is looked at before and after.
    pub(super) fn wait(&mut self, by: Duration) -> Checked {
        self.settle()?;
        self.now += by;
        self.platform.advance(by);
        self.settle()
    }
}
