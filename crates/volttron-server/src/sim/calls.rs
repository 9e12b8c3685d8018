//! Calls of the services: what must come of them, crashes included.

use bytes::Bytes;
use serde_json::{Value, json};
use volttron_utils::vip::typed;

use super::model::{AUTH, Model, Op};
use super::rules::acts_as;
use super::stores::Change;
use super::world::{Checked, World};

/// Most calls of one batch whose outcome a crash may leave open.
const OPEN: usize = 12;
/// Most states that are held possible besides the likely one.
const MOST_OTHERS: usize = 64;

/// A call under way.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub op: Op,
    /// Who makes it, as the rules know them.
    pub user: String,
    /// Done, but its answer waits until the agent was told.
    pub waiting: bool,
}

/// How a call was answered.
#[derive(Clone, Debug)]
enum Reply {
    Done(Value),
    /// For want of rights.
    Refused,
    /// For any other reason, in the words of the service.
    Failed(String),
}

impl World {
    /// Makes a call from a connection.
    pub(super) fn call(&mut self, at: usize, op: Op) {
        self.serial += 1;
        let number = self.serial;
        let id = format!("r{number}");
        let (method, params) = op.call();
        let service = match (op.service(), self.rng.chance(20)) {
            (AUTH, _) => "platform.auth",
            (_, false) => "config.store",
            (_, true) => "platform.config_store",
        };
        let call = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let user = acts_as(&self.wires.conns[at].identity).to_owned();
        self.calls.insert(number, Call { op, user, waiting: false });
        self.say(at, service, &id, "RPC", &[call.to_string().as_bytes()]);
    }

    fn number(id: &[u8]) -> Option<u64> {
        std::str::from_utf8(id).ok()?.strip_prefix('r')?.parse().ok()
    }

    /// A message between peers has been through the router.
    pub(super) fn call_routed(&mut self, id: &Bytes, subsystem: &Bytes, arrived: bool) {
        let Some(number) = Self::number(id).filter(|_| subsystem == "RPC") else { return };
        let Some(call) = self.calls.get(&number) else { return };
        if call.waiting || self.ringed.contains(&number) {
            return;
        }
        if arrived {
            self.ringed.push(number);
        } else {
            self.calls.remove(&number);
        }
    }

    /// Lets the services work, and checks everything they did.
    pub(super) fn settle(&mut self) -> Checked {
        self.model.pending = self
            .platform
            .auth
            .with_pending(|p| {
                p.iter().map(|r| (r.user_id.clone(), r.credentials.clone())).collect::<Vec<_>>()
            })
            .into_iter()
            .filter_map(|(user, key)| {
                Some((user, (0..super::rules::KEYS).find(|k| super::rules::key_text(*k) == key)?))
            })
            .collect();
        let struck_before = self.disk.struck();
        let mut replies: Vec<(u64, Reply)> = Vec::new();
        loop {
            self.platform.settle();
            let mut moved = false;
            for ring in 0..self.service_out.len() {
                while let Ok(message) = self.platform.outgoing[ring].try_recv() {
                    moved = true;
                    replies.extend(message.args.iter().filter_map(reply));
                    self.service_out[ring].push_back(message.into_frames().into_iter().collect());
                }
            }
            if !moved {
                break;
            }
        }
        let struck = self.disk.struck() && !struck_before;
        for (number, reply) in &replies {
            if self.calls.get(number).is_some_and(|c| c.waiting) {
                self.require(matches!(reply, Reply::Done(_)), || {
                    format!("r{number} was done, but answered {reply:?}")
                })?;
                self.calls.remove(number);
            }
        }
        if self.ringed.is_empty() && !struck {
            return Ok(());
        }
        self.judge(&replies, struck)
    }

    /// Compares what became of the calls in the rings with what had to.
    fn judge(&mut self, replies: &[(u64, Reply)], struck: bool) -> Checked {
        let crashed = self.disk.crashed();
        let before = self.model.clone();
        let mut states = vec![before.clone()];
        // What may hold as well: a change that a crash interrupted was answered as failed, yet may be on the disk, and
        // whatever is done after it then builds on it.
        let mut others: Vec<Model> = Vec::new();
        // Calls that changed something, or may have: whether that is certain.
        let mut changes: Vec<(Op, bool)> = Vec::new();
        let mut ringed = std::mem::take(&mut self.ringed);
        // Who may do what is decided while the rules change; afterwards the stores' calls are looked at.
        ringed.sort_by_key(|number| self.calls.get(number).map(|c| c.op.service()));
        let mut reads = Vec::new();
        for number in ringed {
            let Some(call) = self.calls.get(&number).cloned() else { continue };
            let reply = replies.iter().find(|(n, _)| *n == number).map(|(_, reply)| reply.clone());
            let may = |state: &Model| call.op.allowed(&state.rules, &call.user);
            let allowed: Vec<bool> = if call.op.service() == AUTH {
                others.iter().chain([&self.model]).map(may).collect()
            } else {
                states.iter().map(may).collect()
            };
            let wrong = |why: &str| {
                Err(format!("r{number} {:?} by {}: {why}; answered {reply:?}", call.op, call.user))
            };
            match &reply {
                Some(Reply::Refused) => {
                    if !allowed.contains(&false) {
                        return wrong("refused, though the rules allow it");
                    }
                    self.summary.refused += 1;
                }
                Some(Reply::Done(value)) => {
                    if !allowed.contains(&true) {
                        return wrong("done, though the rules forbid it");
                    }
                    if call.op.changes() {
                        // With nothing to change there is nothing to write, so the answer may be one that a crash kept
                        // from being sent: it says nothing about what is on the disk.
                        let idle = crashed && {
                            let mut after = self.model.clone();
                            after.apply(&call.op);
                            after == self.model
                        };
                        changes.push((call.op.clone(), !idle));
                        for other in &mut others {
                            other.apply(&call.op);
                        }
                        if !self.model.apply(&call.op) && !crashed {
                            return wrong("done, though it cannot be");
                        }
                    } else {
                        reads.push((number, call.clone(), value.clone()));
                    }
                    self.summary.calls += 1;
                }
                Some(Reply::Failed(why)) => {
                    if !allowed.contains(&true) {
                        return wrong("failed, and was not refused");
                    }
                    // A look may come before the changes that were asked for at the same time, and so may the look
                    // for what is to be deleted.
                    let early = !call.op.changes() || matches!(call.op, Op::Stores(Change::Delete(..)));
                    let looks = states.iter().filter(|_| early);
                    let impossible = looks.chain([&self.model]).any(|state| !state.clone().apply(&call.op));
                    if crashed {
                        changes.push((call.op.clone(), false));
                        let with = others.iter().chain([&self.model]).cloned().map(|mut other| {
                            other.apply(&call.op);
                            other
                        });
                        others =
                            with.collect::<Vec<_>>().into_iter().chain(others).take(MOST_OTHERS).collect();
                    } else if !impossible && !struck {
                        return wrong(&format!("failed without a reason: {why}"));
                    }
                }
                None => {
                    if !call.op.may_wait(&call.user) || !allowed.contains(&true) {
                        return wrong("not answered");
                    }
                    if call.op.changes() {
                        changes.push((call.op.clone(), true));
                        if !self.model.apply(&call.op) && !crashed {
                            return wrong("neither done nor refused");
                        }
                    }
                    if let Some(call) = self.calls.get_mut(&number) {
                        call.waiting = true;
                    }
                }
            }
            states.extend(others.iter().chain([&self.model]).cloned());
            if reply.is_some() {
                self.calls.remove(&number);
            }
        }
        if crashed {
            self.summary.crashes += 1;
            self.note("the platform crashed".to_owned());
            self.find_out(&before, &changes)?;
            return self.restart();
        }
        for (number, call, value) in reads {
            if !states.iter().any(|state| state.gives(&call.op, &value)) {
                return Err(format!(
                    "r{number} {:?} gave {value}; users are {:?}, stores {:?}",
                    call.op,
                    self.model.rules.users(),
                    self.model.stores
                ));
            }
        }
        self.check_state()
    }

    /// After a crash: everything that was acknowledged is there, of the rest any part, each as a whole.
    fn find_out(&mut self, before: &Model, changes: &[(Op, bool)]) -> Checked {
        let open: Vec<usize> = (0..changes.len()).filter(|i| !changes[*i].1).take(OPEN).collect();
        let files = self.disk.files();
        let text =
            String::from_utf8_lossy(files.get("auth.json").map_or(&[][..], Vec::as_slice)).into_owned();
        let written = super::rules::Rules::read(&text);
        let stores = super::stores::read(&self.disk.within(super::platform::STORES).files());
        for mask in 0..1_usize << open.len() {
            let mut model = before.clone();
            for (i, (op, certain)) in changes.iter().enumerate() {
                let chosen = open.iter().position(|o| *o == i).is_some_and(|bit| mask & (1 << bit) != 0);
                if *certain || chosen {
                    model.apply(op);
                }
            }
            if Some(&model.written) == written.as_ref() && Some(&model.stores) == stores.as_ref() {
                self.model = model;
                return Ok(());
            }
        }
        Err(format!(
            "after a crash the disk holds {written:?} and {stores:?}; before it was {before:?}, asked for was {changes:?}"
        ))
    }

    /// A connection's owner reads something.
    pub(super) fn hear(&mut self, at: usize) -> Checked {
        if self.wires.conns[at].frozen {
            return Ok(());
        }
        for _ in 0..=self.rng.below(8) {
            let Some(frames) = self.wires.conns[at].heard.pop_front() else { break };
            self.take(at, &frames)?;
        }
        Ok(())
    }

    fn take(&mut self, at: usize, frames: &[Bytes]) -> Checked {
        let op = frames.get(5).map(Bytes::as_ref).unwrap_or_default();
        let older = &mut self.wires.conns[at].stale;
        let stale = *older > 0;
        *older = older.saturating_sub(1);
        match (frames[4].as_ref(), op) {
            (b"pubsub", b"publish") => {
                let body: Value = serde_json::from_slice(&frames[7]).unwrap_or_default();
                let number = body["message"].as_u64().unwrap_or(u64::MAX);
                self.heard_publication(at, number)
            }
            (b"peerlist", op) => {
                let names = frames[6..].iter().map(|name| typed::text(name).into_owned());
                let conn = &mut self.wires.conns[at];
                if stale {
                    return Ok(());
                }
                match (op, &mut conn.peers) {
                    (b"listing", _) => conn.peers = Some(names.collect()),
                    (b"add", Some(peers)) => peers.extend(names),
                    (b"drop", Some(peers)) => peers.retain(|peer| !names.clone().any(|name| name == *peer)),
                    _ => {}
                }
                Ok(())
            }
            (b"RPC", call) => {
                let call: Value = serde_json::from_slice(call).unwrap_or_default();
                if call["method"].is_string() && call["id"].is_string() && (self.quiet || self.rng.chance(70))
                {
                    let answer = json!({"jsonrpc": "2.0", "id": call["id"], "result": null}).to_string();
                    let (to, id) =
                        (typed::text(&frames[0]).into_owned(), typed::text(&frames[3]).into_owned());
                    self.say(at, &to, &id, "RPC", &[answer.as_bytes()]);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// An answer to a call of ours.
fn reply(arg: &Bytes) -> Option<(u64, Reply)> {
    let answer: Value = serde_json::from_slice(arg).ok()?;
    let number = World::number(answer["id"].as_str()?.as_bytes())?;
    let Some(error) = answer.get("error").filter(|e| !e.is_null()) else {
        return Some((number, Reply::Done(answer.get("result")?.clone())));
    };
    let text = error.to_string();
    let refused = text.contains("volttron.platform.jsonrpc.Error") && text.contains("-32001");
    Some((number, if refused { Reply::Refused } else { Reply::Failed(text) }))
}
