//! What peers of a simulated world ask for, and what must come of it.

use std::collections::BTreeSet;

use super::Failure;
use super::world::{BUSES, IDENTITIES, PREFIXES, SUBSCRIPTIONS, TOPICS, World, is_service, primary};
use crate::{Origin, Policy as _, ServiceId};

impl World {
    fn prefixes(&mut self) -> Vec<&'static str> {
        (0..=self.rng.below(3)).map(|_| *self.rng.pick(&PREFIXES)).collect()
    }

    /// Whether the sender of the last message was heard and is still there.
    fn heard(&self, identity: &str) -> bool {
        !self.wires.refused && self.wires.present.contains(primary(identity))
    }

    pub(super) fn subscribe(&mut self) -> Result<(), Failure> {
        let from = self.anyone();
        let (prefixes, bus, all) = (self.prefixes(), *self.rng.pick(&BUSES), self.rng.chance(30));
        let document = format!("{{\"prefix\": {prefixes:?}, \"bus\": {bus:?}, \"all_platforms\": {all}}}");
        self.send(
            "subscribe",
            from,
            &[b"", b"VIP1", b"", b"s", b"pubsub", b"subscribe", document.as_bytes()],
        )?;
        if self.heard(from.1) {
            let own = self.subscriptions.entry(primary(from.1).to_owned()).or_default();
            let mut fits = true;
            for prefix in prefixes {
                let room = own.len() < SUBSCRIPTIONS || own.contains(&(all, bus, prefix));
                if room {
                    own.insert((all, bus, prefix));
                }
                fits &= room;
            }
            let answer = self.wires.with_id("s").next().and_then(|attempt| attempt.frames.last().cloned());
            let expected = vec![u8::from(fits)];
            return self
                .require("subscribe", answer.as_ref() == Some(&expected), || format!("answered {answer:?}"));
        }
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self) -> Result<(), Failure> {
        let from = self.anyone();
        let (prefixes, bus, all) = (self.prefixes(), *self.rng.pick(&BUSES), self.rng.chance(30));
        let everything = self.rng.chance(30);
        let table = if all { "all" } else { "internal" };
        let list = if everything { "null".to_owned() } else { format!("{prefixes:?}") };
        let document = format!("{{\"{table}\": {{\"prefix\": {list}, \"bus\": {bus:?}}}}}");
        self.send(
            "unsubscribe",
            from,
            &[b"", b"VIP1", b"", b"u", b"pubsub", b"unsubscribe", document.as_bytes()],
        )?;
        if self.heard(from.1) {
            let own = self.subscriptions.entry(primary(from.1).to_owned()).or_default();
            own.retain(|&(in_all, on, prefix)| {
                in_all != all || on != bus || !(everything || prefixes.contains(&prefix))
            });
        }
        Ok(())
    }

    pub(super) fn synchronize(&mut self) -> Result<(), Failure> {
        let from = self.anyone();
        let (internal, all) = (self.prefixes(), self.prefixes());
        let document = format!(
            "{{\"subscriptions\": {{\"internal\": {{\"\": {internal:?}}}, \"all\": {{\"b2\": {all:?}}}}}}}"
        );
        let frames: [&[u8]; 8] =
            [b"", b"VIP1", b"", b"y", b"pubsub", b"synchronize", b"connected", document.as_bytes()];
        self.send("synchronize", from, &frames)?;
        if self.heard(from.1) {
            // Six at most, so the limit keeps none out.
            let wanted = internal.into_iter().map(|prefix| (false, "", prefix));
            let wanted = wanted.chain(all.into_iter().map(|prefix| (true, "b2", prefix))).collect();
            self.subscriptions.insert(primary(from.1).to_owned(), wanted);
        }
        Ok(())
    }

    pub(super) fn publish(&mut self) -> Result<(), Failure> {
        let from = self.anyone();
        let (topic, bus) = (*self.rng.pick(&TOPICS), *self.rng.pick(&BUSES));
        let id = format!("p{}", self.step);
        let body = format!("{{\"bus\": {bus:?}, \"headers\": {{}}, \"message\": {}}}", self.step);
        let before = self.subscriptions.clone();
        self.send(
            "publish",
            from,
            &[b"", b"VIP1", b"", id.as_bytes(), b"pubsub", b"publish", topic.as_bytes(), body.as_bytes()],
        )?;
        if self.wires.refused {
            return self.require("publish", self.wires.with_id(&id).count() == 0, || {
                "heard a refused peer".to_owned()
            });
        }
        let acts_as =
            if from.1.starts_with("control.connection.") { "control.connection" } else { primary(from.1) };
        let denied = self.router.policy().publish(acts_as, topic).is_err();
        let mut subscribers: BTreeSet<&str> = before
            .iter()
            .filter(|(_, own)| own.iter().any(|&(_, on, prefix)| on == bus && topic.starts_with(prefix)))
            .map(|(name, _)| name.as_str())
            .collect();
        if denied {
            subscribers.clear();
        }
        let delivery = format!(
            "{{\"sender\": \"{acts_as}\", \"bus\": {bus:?}, \"headers\": {{}}, \"message\": {}}}",
            self.step - 1
        );
        let frames: Vec<Vec<u8>> = ["", "VIP1", "", &id, "pubsub", "publish", topic, &delivery]
            .iter()
            .map(|frame| frame.as_bytes().to_vec())
            .collect();
        let mut tried: Vec<&str> = Vec::new();
        for attempt in self.wires.with_id(&id).filter(|attempt| attempt.frames[5] == b"publish") {
            self.require("publish", attempt.frames == frames, || format!("delivered {attempt:?}"))?;
            tried.push(&attempt.to);
        }
        let once: BTreeSet<&str> = tried.iter().copied().collect();
        // A subscriber may be found dead before its turn: by the announcement of a new publisher, or, if it is the
        // publisher, by a report that another one is slow.
        let gone = |name: &&str| self.wires.left.contains(*name);
        let complete = once.len() == tried.len()
            && once.is_subset(&subscribers)
            && subscribers.difference(&once).all(gone);
        self.require("publish", complete, || format!("went to {tried:?}, subscribed are {subscribers:?}"))?;
        self.check_publish_answer(&id, denied, once.len(), from.1)
    }

    fn check_publish_answer(
        &self,
        id: &str,
        denied: bool,
        count: usize,
        publisher: &str,
    ) -> Result<(), Failure> {
        let answers = |op: &[u8]| {
            self.wires.with_id(id).filter(move |attempt| attempt.frames[5] == op).collect::<Vec<_>>()
        };
        let counts = answers(b"request_response");
        if counts.is_empty() {
            // The publisher was found dead by its own delivery or by an error report.
            let left = self.wires.left.contains(primary(publisher));
            return self.require("publish", left, || "was not acknowledged".to_owned());
        }
        let expected = (count as u32).to_le_bytes().to_vec();
        let right = counts.len() == 1 && counts[0].frames.last() == Some(&expected);
        self.require("publish", right, || format!("acknowledged with {counts:?}, expected {expected:?}"))?;
        self.require("publish", answers(b"-32001").len() == usize::from(denied), || "refusal".to_owned())
    }

    /// A message from one peer to another.
    pub(super) fn direct(&mut self) -> Result<(), Failure> {
        let from = self.anyone();
        let to = if self.rng.chance(10) { "nobody" } else { *self.rng.pick(&IDENTITIES) };
        let id = format!("d{}", self.step);
        let payload = self.rng.bytes(40);
        let there = self.wires.present.contains(primary(to)) || primary(to) == primary(from.1);
        self.send("direct", from, &[to.as_bytes(), b"VIP1", b"liar", id.as_bytes(), b"RPC", &payload])?;
        if self.wires.refused {
            return self.require("direct", self.wires.with_id(&id).count() == 0, || {
                "heard a refused peer".to_owned()
            });
        }
        let tried: Vec<_> = self.wires.with_id(&id).collect();
        let (reports, delivered): (Vec<_>, Vec<_>) =
            tried.into_iter().partition(|attempt| attempt.frames[4] == b"error");
        let user = if from.1.starts_with("control.connection.") { "control.connection" } else { from.1 };
        let frames: Vec<Vec<u8>> =
            [from.1.as_bytes(), b"VIP1", user.as_bytes(), id.as_bytes(), b"RPC", &payload]
                .iter()
                .map(|f| f.to_vec())
                .collect();
        for attempt in &delivered {
            let right = attempt.to == primary(to) && attempt.frames == frames;
            self.require("direct", right, || format!("to {to}: {attempt:?}, expected {frames:?}"))?;
        }
        let arrived = delivered.iter().filter(|attempt| attempt.sent.is_ok()).count();
        let right = delivered.len() <= 1 && (there || delivered.is_empty());
        self.require("direct", right, || format!("to {to}, there: {there}, tried {delivered:?}"))?;
        let sender_left = self.wires.left.contains(primary(from.1));
        let reported = reports.len() == 1 - arrived || (sender_left && reports.is_empty());
        self.require("direct", reported, || format!("to {to}: arrived {arrived}, reports {reports:?}"))
    }

    pub(super) fn agentstop(&mut self) -> Result<(), Failure> {
        let from = self.anyone();
        let target = *self.rng.pick(&IDENTITIES);
        let allowed = matches!(from.0, Origin::Local(ServiceId(0))) || from.1 == target;
        let was_there = self.wires.present.contains(target) || from.1 == target;
        let dead_links: BTreeSet<&str> = self
            .wires
            .links
            .iter()
            .filter(|(_, link)| !link.connected || link.frozen)
            .map(|(name, _)| name.as_str())
            .collect();
        let may_die = dead_links.contains(target);
        self.send("agentstop", from, &[b"", b"VIP1", b"", b"", b"agentstop", target.as_bytes()])?;
        let left = self.wires.left.contains(target);
        let must_leave = allowed && was_there && !is_service(target) && !self.wires.refused;
        let right = left == must_leave || (left && may_die) || (left && self.wires.refused);
        self.require("agentstop", right, || format!("{target} left: {left}, expected: {must_leave}"))
    }

    /// Frames that are not a VIP message, or one nobody understands.
    pub(super) fn garbage(&mut self) -> Result<(), Failure> {
        let from = self.anyone();
        let mut frames: Vec<Vec<u8>> = match self.rng.below(3) {
            0 => Vec::new(),
            1 => [&b""[..], b"VIP1", b"", b"g"].iter().map(|frame| frame.to_vec()).collect(),
            _ => {
                let op = *self.rng.pick(&[
                    "pubsub",
                    "hello",
                    "peerlist",
                    "query",
                    "ping",
                    "quit",
                    "routing_table",
                    "x",
                ]);
                ["", "VIP1", "", "g", op].iter().map(|frame| frame.as_bytes().to_vec()).collect()
            }
        };
        let most = if self.rng.chance(5) { 80 } else { 8 };
        for _ in 0..self.rng.below(most) {
            let mut frame = self.rng.bytes(30);
            // Never a document, so that garbage subscribes to nothing.
            frame.insert(0, 1);
            if self.rng.chance(30) {
                let op = *self.rng.pick(&[
                    "subscribe",
                    "unsubscribe",
                    "publish",
                    "synchronize",
                    "list",
                    "connected",
                ]);
                frame = op.as_bytes().to_vec();
            }
            frames.push(frame);
        }
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        self.send("garbage", from, &frames)
    }
}
