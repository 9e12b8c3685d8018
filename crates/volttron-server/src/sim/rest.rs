//! The end of a world: everybody reads and answers, nothing new begins, and what is left must be the truth.

use std::collections::BTreeSet;
use std::time::Duration;

use super::disk::Fault;
use super::wires::SERVICES;
use super::world::{Checked, From, World};

/// Rounds after which a world that still moves never comes to rest.
const ROUNDS: usize = 2000;
/// Longer than the platform waits for any one answer.
const PATIENCE: Duration = Duration::from_secs(31);

impl World {
    /// Lets everything end that was begun, then asks everybody who is there.
    pub(super) fn come_to_rest(&mut self) -> Checked {
        self.quiet = true;
        self.note("nothing new begins".to_owned());
        self.settle()?;
        self.disk.set_fault(Fault::Never);
        for conn in &mut self.wires.conns {
            conn.frozen = false;
        }
        self.look_at_files()?;
        self.finish()?;
        self.tick()?;
        // Who was dropped while its connection stayed is there again after this.
        self.all_say("hello", b"hello")?;
        let truth = self.truth();
        let told: Vec<_> =
            self.listeners().into_iter().map(|at| (at, self.wires.conns[at].peers.clone())).collect();
        for (at, peers) in told {
            self.check_peers(at, peers, &truth, "as it was told")?;
        }
        self.all_say("peerlist", b"list")?;
        for at in self.listeners() {
            let peers = self.wires.conns[at].peers.clone();
            self.check_peers(at, peers, &truth, "as listed")?;
        }
        for (at, conn) in self.wires.conns.iter().enumerate() {
            if conn.open && !conn.expected.is_empty() {
                return Err(format!("connection {at} of {} never heard {:?}", conn.identity, conn.expected));
            }
        }
        self.check_state()
    }

    fn check_peers(
        &self,
        at: usize,
        peers: Option<BTreeSet<String>>,
        truth: &BTreeSet<String>,
        how: &str,
    ) -> Checked {
        let Some(peers) = peers else { return Ok(()) };
        let who = &self.wires.conns[at].identity;
        self.require(peers == *truth, || {
            format!("to {who} (connection {at}) there are, {how}, {peers:?}; the truth is {truth:?}")
        })
    }

    /// Connections that are peers.
    fn listeners(&self) -> Vec<usize> {
        let may = |at: &usize| {
            let conn = &self.wires.conns[*at];
            conn.service || self.model.rules.admits(&conn.identity, conn.key)
        };
        self.wires.routes.values().copied().filter(may).collect()
    }

    fn truth(&self) -> BTreeSet<String> {
        let conns = self.listeners().into_iter().map(|at| self.wires.conns[at].identity.clone());
        let names = SERVICES.iter().flat_map(|(name, alias)| [*name, *alias]).filter(|name| !name.is_empty());
        conns.chain(names.map(str::to_owned)).collect()
    }

    fn all_say(&mut self, subsystem: &str, op: &[u8]) -> Checked {
        for at in self.wires.routes.values().copied().collect::<Vec<_>>() {
            self.say(at, "", "all", subsystem, &[op]);
            self.finish()?;
        }
        Ok(())
    }

    /// Moves everything until nothing moves.
    fn finish(&mut self) -> Checked {
        let mut still = 0;
        for _ in 0..ROUNDS {
            let mut moved = false;
            for at in 0..self.wires.conns.len() {
                while !self.wires.conns[at].said.is_empty() {
                    moved = true;
                    self.pump(From::Conn(at))?;
                    self.settle()?;
                }
                while !self.wires.conns[at].heard.is_empty() {
                    moved = true;
                    self.hear(at)?;
                }
            }
            self.settle()?;
            for ring in 0..self.service_out.len() {
                while !self.service_out[ring].is_empty() {
                    moved = true;
                    self.pump(From::Ring(ring))?;
                    for at in 0..self.wires.conns.len() {
                        self.hear(at)?;
                    }
                }
            }
            still = if moved { 0 } else { still + 1 };
            let waiting = self.calls.values().any(|call| call.waiting);
            if !waiting && still >= 2 {
                return Ok(());
            }
            if !moved {
                self.wait(PATIENCE)?;
            }
        }
        Err(format!("the world does not come to rest: {:?}", self.calls))
    }
}
