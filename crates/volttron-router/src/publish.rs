//! `pubsub publish`: the hot path (subsystems.md sections 5.2 to 5.6).
//!
//! The body is cut by scanning and wrapped once; the wrapped frames are shared by all subscribers, so a subscriber
//! costs nine frame handles and one send.

use std::borrow::Cow;

use serde_json::Value;
use volttron_utils::json;
use volttron_utils::vip::{Frame, Frames, PROTO};

use crate::peers::PeerId;
use crate::pubsub::{PUBSUB, bus_name, count_frame, topic_bytes};
use crate::router::{ARGS, ID, Router, USER};
use crate::{Output, Policy, Unsent, Why};

/// The three members of a publish body, each exactly as the publisher wrote it.
struct Body<'a> {
    bus: &'a [u8],
    headers: &'a [u8],
    message: &'a [u8],
}

impl<F: Frame, P: Policy> Router<F, P> {
    pub(crate) fn publish(&mut self, publisher: PeerId, frames: Frames<F>, out: &mut impl Output<F>) {
        let (Some(topic_frame), Some(body_frame)) = (frames.get(ARGS + 1), frames.get(ARGS + 2)) else {
            // Python answers nothing here.
            self.meter.publish_bad += 1;
            self.meter.bad_requests += 1;
            return;
        };
        let parsed = topic_bytes(topic_frame.as_ref())
            .and_then(|topic| Some((topic, body(body_frame.as_ref())?)))
            .and_then(|(topic, body)| Some((topic, bus_bytes(body.bus)?, body)));
        let Some((topic, bus, body)) = parsed else {
            self.meter.publish_bad += 1;
            self.meter.bad_requests += 1;
            return self.answer_count(publisher, frames, 0, out);
        };
        if let Some(text) = self.publish_denied(publisher, &bus, &topic, out) {
            self.publish_refused(publisher, &frames[ID], text, out);
            return self.answer_count(publisher, frames, 0, out);
        }
        self.meter.published += 1;
        let mut subscribers = std::mem::take(&mut self.subscribers);
        subscribers.clear();
        if let Some(bus) = self.buses.get_mut(&bus) {
            if bus.subscribers(&topic, self.limits.cached_topics, &mut subscribers) {
                self.meter.topic_cache_hits += 1;
            } else {
                self.meter.topic_cache_misses += 1;
            }
        }
        if let Some(body) = self.wrap(publisher, &body).filter(|_| !subscribers.is_empty()) {
            self.fan_out(publisher, &subscribers, &frames, &F::from_vec(body), out);
        }
        self.answer_count(publisher, frames, subscribers.len(), out);
        self.subscribers = subscribers;
    }

    /// `{"sender": .., "bus": .., "headers": .., "message": ..}`, the last three as the publisher wrote them.
    fn wrap(&self, publisher: PeerId, Body { bus, headers, message }: &Body<'_>) -> Option<Vec<u8>> {
        let sender = &self.peers.get(publisher)?.sender_json;
        Some(
            [
                b"{\"sender\": ",
                &**sender,
                b", \"bus\": ",
                bus,
                b", \"headers\": ",
                headers,
                b", \"message\": ",
                message,
                b"}",
            ]
            .concat(),
        )
    }

    fn fan_out(
        &mut self,
        publisher: PeerId,
        subscribers: &[PeerId],
        request: &Frames<F>,
        body: &F,
        out: &mut impl Output<F>,
    ) {
        // What the publisher put into USER leaks through in Python; here it can only be nothing or the truth.
        // Kept here because the publisher may be found gone half-way, by a report that one subscriber is slow.
        let user = match self.peers.get(publisher) {
            Some(from) if !request[USER].as_ref().is_empty() => out.share(&from.acts_as),
            _ => F::from_static(b""),
        };
        // Of all frames but the first.
        let fixed = [PROTO, PUBSUB, b"publish"].iter().map(|part| part.len()).sum::<usize>()
            + [&user, &request[ID], &request[ARGS + 1], body]
                .iter()
                .map(|part| part.as_ref().len())
                .sum::<usize>();
        for &id in subscribers {
            let Some(to) = self.peers.get(id) else { continue };
            let size = (fixed + to.identity.as_ref().len()) as u64;
            let mut frames = Frames::new();
            frames.push(out.share(&to.identity));
            frames.push(F::from_static(b""));
            frames.push(F::from_static(PROTO));
            frames.push(out.share(&user));
            frames.push(out.share(&request[ID]));
            frames.push(F::from_static(PUBSUB));
            frames.push(F::from_static(b"publish"));
            frames.push(out.share(&request[ARGS + 1]));
            frames.push(out.share(body));
            match self.deliver(id, frames, size, out) {
                Ok(()) => self.meter.delivered += 1,
                Err(Unsent { why: Why::NoRoute, .. }) => self.meter.delivery_gone += 1,
                Err(Unsent { why: Why::Full, .. }) => {
                    self.meter.delivery_full += 1;
                    self.delivery_failed(publisher, id, &request[ID], out);
                }
            }
        }
    }

    fn answer_count(&mut self, publisher: PeerId, frames: Frames<F>, count: usize, out: &mut impl Output<F>) {
        self.answer(publisher, frames, [F::from_static(b"request_response"), count_frame(count)], out);
    }
}

/// Cuts a publish body; `None` if it is not an object with all three members. Of repeated members the last
/// counts, further ones are left out.
fn body(bytes: &[u8]) -> Option<Body<'_>> {
    let (mut bus, mut headers, mut message) = (None, None, None);
    json::visit_object(bytes, |key, value| {
        if key.is("bus") {
            bus = Some(value);
        } else if key.is("headers") {
            headers = Some(value);
        } else if key.is("message") {
            message = Some(value);
        }
    })
    .ok()?;
    Some(Body { bus: bus?, headers: headers?, message: message? })
}

/// The name of the bus in a body.
fn bus_bytes(slice: &[u8]) -> Option<Cow<'static, [u8]>> {
    if slice == b"\"\"" {
        return Some(Cow::Borrowed(b""));
    }
    if !matches!(slice.first(), Some(b'"' | b'n')) {
        return None;
    }
    let name: Value = json::from_latin1(slice).ok()?;
    bus_name(&name).ok().map(Cow::Owned)
}
