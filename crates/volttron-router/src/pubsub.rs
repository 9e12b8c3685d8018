//! `pubsub`: the operations and their answers (subsystems.md section 5).
//!
//! Publishing is the hot path and has its own file; what is here parses small JSON documents.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value};
use volttron_utils::json;
use volttron_utils::vip::{Frame, Frames, subsystem, typed};

use crate::peers::PeerId;
use crate::router::{ARGS, Router};
use crate::subscriptions::Subscriptions;
use crate::tree::Table;
use crate::{Output, Policy};

/// Identity of the auth service, the one service that may tell the router about capabilities.
pub(crate) const AUTH: &str = "platform.auth";

/// A request whose document is missing, unreadable or of the wrong shape.
pub(crate) struct BadRequest;

impl<F: Frame, P: Policy> Router<F, P> {
    pub(crate) fn on_subscribe(&mut self, sender: PeerId, frames: Frames<F>, out: &mut impl Output<F>) {
        let done = self.subscribe(sender, &frames);
        self.answer_bool(sender, frames, done, out);
    }

    pub(crate) fn on_unsubscribe(&mut self, sender: PeerId, frames: Frames<F>, out: &mut impl Output<F>) {
        let done = self.unsubscribe(sender, &frames).map(|()| true);
        self.answer_bool(sender, frames, done, out);
    }

    /// Never answered.
    pub(crate) fn on_synchronize(&mut self, sender: PeerId, frames: &Frames<F>) {
        if let Err(BadRequest) = self.synchronize(sender, frames) {
            self.meter.bad_requests += 1;
        }
    }

    /// The answer to a request that succeeds or not.
    pub(crate) fn answer_bool(
        &mut self,
        sender: PeerId,
        frames: Frames<F>,
        done: Result<bool, BadRequest>,
        out: &mut impl Output<F>,
    ) {
        if done.is_err() {
            self.meter.bad_requests += 1;
        }
        let value: &'static [u8] = if done.unwrap_or(false) { &[1] } else { &[0] };
        self.answer(sender, frames, [F::from_static(b"request_response"), F::from_static(value)], out);
    }

    /// The JSON object in argument `n`.
    pub(crate) fn document(&self, frames: &Frames<F>, n: usize) -> Result<Map<String, Value>, BadRequest> {
        let bytes = frames.get(ARGS + n).ok_or(BadRequest)?.as_ref();
        if bytes.len() > self.limits.control_bytes {
            return Err(BadRequest);
        }
        match json::from_latin1(bytes) {
            Ok(Value::Object(members)) => Ok(members),
            _ => Err(BadRequest),
        }
    }

    fn subscribe(&mut self, sender: PeerId, frames: &Frames<F>) -> Result<bool, BadRequest> {
        let document = self.document(frames, 1)?;
        let prefixes = prefixes(document.get("prefix").ok_or(BadRequest)?)?;
        let bus = bus_name(document.get("bus").ok_or(BadRequest)?)?;
        let table = if is_true(document.get("all_platforms")) { Table::All } else { Table::Internal };
        Ok(self.add_subscriptions(sender, table, &bus, prefixes.iter().map(|prefix| &**prefix)))
    }

    /// False if a limit kept some out.
    fn add_subscriptions<'a>(
        &mut self,
        sender: PeerId,
        table: Table,
        bus: &[u8],
        prefixes: impl Iterator<Item = &'a [u8]>,
    ) -> bool {
        let Some(peer) = self.peers.get_mut(sender) else { return false };
        let mut all = true;
        for prefix in prefixes {
            let own = &mut peer.subscriptions;
            if own.contains(table, bus, prefix) {
                continue;
            }
            let bytes = own.bytes() + Subscriptions::cost(bus, prefix);
            if own.len() >= self.limits.subscriptions_per_peer
                || bytes > self.limits.subscription_bytes_per_peer
            {
                self.meter.subscriptions_refused += 1;
                all = false;
                continue;
            }
            own.insert(table, bus, prefix);
            self.buses.insert(table, bus, prefix, sender);
        }
        all
    }

    fn remove_subscription(&mut self, sender: PeerId, table: Table, bus: &[u8], prefix: &[u8]) {
        let Some(peer) = self.peers.get_mut(sender) else { return };
        if peer.subscriptions.remove(table, bus, prefix) {
            self.buses.remove(table, bus, prefix, sender);
        }
    }

    /// `{"internal": {..}, "all": {..}}`, or the older flat form, which means `internal`.
    fn unsubscribe(&mut self, sender: PeerId, frames: &Frames<F>) -> Result<(), BadRequest> {
        let document = self.document(frames, 1)?;
        let nested = ["internal", "all"].iter().any(|&key| document.get(key).is_some_and(Value::is_object));
        if !nested {
            return self.unsubscribe_from(sender, Table::Internal, &document);
        }
        for (key, table) in [("internal", Table::Internal), ("all", Table::All)] {
            if let Some(Value::Object(document)) = document.get(key) {
                self.unsubscribe_from(sender, table, document)?;
            }
        }
        Ok(())
    }

    fn unsubscribe_from(
        &mut self,
        sender: PeerId,
        table: Table,
        document: &Map<String, Value>,
    ) -> Result<(), BadRequest> {
        let bus = bus_name(document.get("bus").ok_or(BadRequest)?)?;
        let prefixes = match document.get("prefix").ok_or(BadRequest)? {
            Value::Null => match self.peers.get(sender) {
                Some(peer) => peer.subscriptions.on_bus(table, &bus),
                None => return Ok(()),
            },
            given => prefixes(given)?,
        };
        for prefix in prefixes {
            self.remove_subscription(sender, table, &bus, &prefix);
        }
        Ok(())
    }

    /// Makes the sender's subscriptions equal to `{"subscriptions": {platform: {bus: [prefix..]}}}`. Clients send
    /// it after every connect, sometimes twice.
    fn synchronize(&mut self, sender: PeerId, frames: &Frames<F>) -> Result<(), BadRequest> {
        if frames.get(ARGS + 1).map(AsRef::as_ref) != Some(b"connected") {
            return Err(BadRequest);
        }
        let document = self.document(frames, 2)?;
        let Some(Value::Object(platforms)) = document.get("subscriptions") else { return Err(BadRequest) };
        let mut wanted = BTreeSet::new();
        for (platform, buses) in platforms {
            let table = match platform.as_str() {
                "internal" => Table::Internal,
                "all" => Table::All,
                _ => continue,
            };
            let Value::Object(buses) = buses else { return Err(BadRequest) };
            for (bus, list) in buses {
                let bus = typed::latin1(bus).ok_or(BadRequest)?;
                wanted.extend(prefixes(list)?.into_iter().map(|prefix| (table, bus.clone(), prefix)));
            }
        }
        let Some(peer) = self.peers.get(sender) else { return Ok(()) };
        let stale: Vec<(Table, Vec<u8>, Box<[u8]>)> = peer
            .subscriptions
            .iter()
            .map(|(table, bus, prefix)| (table, bus.to_vec(), Box::from(prefix)))
            .filter(|entry| !wanted.contains(entry))
            .collect();
        for (table, bus, prefix) in stale {
            self.remove_subscription(sender, table, &bus, &prefix);
        }
        for (table, bus, prefix) in &wanted {
            self.add_subscriptions(sender, *table, bus, std::iter::once(&**prefix));
        }
        Ok(())
    }
}

/// A prefix or a list of them, as the bytes that topics begin with.
fn prefixes(value: &Value) -> Result<Vec<Box<[u8]>>, BadRequest> {
    let one = |value: &Value| {
        let text = value.as_str().ok_or(BadRequest)?;
        typed::latin1(text).map(Vec::into_boxed_slice).ok_or(BadRequest)
    };
    match value {
        Value::Array(list) => list.iter().map(one).collect(),
        value => Ok(vec![one(value)?]),
    }
}

/// A bus name; null is the default bus.
pub(crate) fn bus_name(value: &Value) -> Result<Vec<u8>, BadRequest> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(name) => typed::latin1(name).ok_or(BadRequest),
        _ => Err(BadRequest),
    }
}

/// Truth as Python sees it.
pub(crate) fn is_true(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(value)) => *value,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
    }
}

/// The topic a Python peer would see in a frame, `None` if it would see something that is not text.
pub(crate) fn topic_bytes(frame: &[u8]) -> Option<Cow<'_, [u8]>> {
    let suspicious = matches!(
        frame.first(),
        Some(
            b'"' | b'{' | b'[' | b'-' | b'0'
                ..=b'9' | b't' | b'f' | b'n' | b'N' | b'I' | b' ' | b'\t' | b'\n' | b'\r'
        )
    );
    if !suspicious || !json::is_json(frame) {
        return Some(Cow::Borrowed(frame));
    }
    match typed::as_json(frame)? {
        Value::String(text) => typed::latin1(&text).map(Cow::Owned),
        _ => None,
    }
}

/// A count as both generations of Python clients read it: four raw bytes unless one of them is not ASCII
/// (subsystems.md section 5.2).
pub(crate) fn count_frame<F: Frame>(count: usize) -> F {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let raw = count.to_le_bytes();
    if raw.is_ascii() { F::from_slice(&raw) } else { F::from_vec(count.to_string().into_bytes()) }
}

/// The SUBSYSTEM frame of deliveries.
pub(crate) const PUBSUB: &[u8] = subsystem::PUBSUB.as_bytes();
