//! The names, units and meanings of all metrics, and their text (OpenMetrics 1.0).

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use serde_json::Value;
use volttron_utils::health::Status;

use super::gather::{AgentSample, Samples};
use super::process::Usage;
use crate::front::PeerMeter;
use crate::platform::VERSION;

/// What goes into the header.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics as text.
pub(super) fn encode(samples: &Samples) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("volttron");
    registry.register_collector(Box::new(samples.clone()));
    let mut text = String::with_capacity(16 * 1024);
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Samples {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut page = Page(encoder);
        self.platform(&mut page)?;
        self.messages(&mut page)?;
        self.connections(&mut page)?;
        self.peers(&mut page)?;
        self.agents(&mut page)?;
        self.config_store(&mut page)
    }
}

/// Writes metric families.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    #[expect(clippy::needless_pass_by_value, reason = "every value is a number")]
    fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }
}

fn label(name: &'static str, value: &str) -> [(&'static str, String); 1] {
    [(name, value.to_owned())]
}

impl Samples {
    fn platform(&self, page: &mut Page<'_>) -> fmt::Result {
        let about = [("version", VERSION.to_owned()), ("instance", self.instance_name.clone())];
        page.gauges("platform_info", "Version and name of the platform.", [(about, 1.0)])?;
        page.gauge("uptime_seconds", "Since the platform came up.", self.uptime.as_secs_f64())?;
        let Some(Usage { memory_bytes, cpu_s, open_files }) = self.process else { return Ok(()) };
        page.gauge(
            "process_resident_memory_bytes",
            "Memory of the platform's process.",
            memory_bytes as f64,
        )?;
        page.counter("process_cpu_seconds", "Processor time of the platform's process.", cpu_s)?;
        page.gauge("process_open_fds", "Open files and sockets of the platform's process.", open_files as f64)
    }

    fn messages(&self, page: &mut Page<'_>) -> fmt::Result {
        let m = &self.bus.router;
        let outcomes = [
            ("forwarded", m.forwarded),
            ("to_router", m.to_router),
            ("unreachable", m.unreachable),
            ("queue_full", m.queue_full_direct),
            ("refused", m.refused),
            ("malformed", m.malformed),
        ];
        page.counters(
            "bus_messages",
            "Messages that reached the router, by what became of them.",
            outcomes.map(|(outcome, n)| (label("outcome", outcome), n as f64)),
        )?;
        page.counter("bus_requests_bad", "Requests to the router that made no sense.", m.bad_requests)?;
        page.counter(
            "bus_requests_not_allowed",
            "Requests to the router that only services may make.",
            m.not_allowed,
        )?;
        page.counter("bus_replies", "Answers of the router.", m.replies)?;
        page.counter("bus_replies_lost", "Answers of the router that could not be sent.", m.replies_lost)?;
        page.counter("pubsub_published", "Publications accepted.", m.published)?;
        page.counter("pubsub_denied", "Publications refused: the topic is protected.", m.publish_denied)?;
        let deliveries =
            [("delivered", m.delivered), ("queue_full", m.delivery_full), ("gone", m.delivery_gone)];
        page.counters(
            "pubsub_deliveries",
            "Publications handed to subscribers, and those lost on the way.",
            deliveries.map(|(outcome, n)| (label("outcome", outcome), n as f64)),
        )?;
        page.counter(
            "bus_panics",
            "Messages dropped because handling them failed inside; please report.",
            self.bus.front.panics,
        )?;
        page.counter("bus_send_failures", "Messages that the socket refused.", self.bus.front.send_failures)
    }

    fn connections(&self, page: &mut Page<'_>) -> fmt::Result {
        let c = &self.bus.connections;
        let events = [
            ("accepted", c.accepted),
            ("accept_failed", c.accept_failed),
            ("handshake", c.handshakes),
            ("failed_auth", c.failed_auth),
            ("failed_protocol", c.failed_protocol),
            ("failed_other", c.failed_other),
            ("disconnected", c.disconnected),
        ];
        page.counters(
            "connections",
            "Connections to the bus, by what happened.",
            events.map(|(event, n)| (label("event", event), n as f64)),
        )?;
        page.counters(
            "auth_decisions",
            "What the platform's rules decided about connections, identities and publications.",
            self.auth.iter().map(|(decision, n)| (label("decision", decision), *n as f64)),
        )?;
        page.gauge(
            "auth_refusals_waiting",
            "Refusals held back to slow a guesser down.",
            self.bus.refusals_waiting as f64,
        )
    }

    fn peers(&self, page: &mut Page<'_>) -> fmt::Result {
        let peers = &self.bus.peers;
        page.gauge("peers", "Peers on the bus, services included.", peers.len() as f64)?;
        let mut counters = |name, help, of: fn(&PeerMeter) -> u64| {
            page.counters(name, help, peers.iter().map(|p| (label("peer", &p.identity), of(p) as f64)))
        };
        counters("peer_received_messages", "Messages from the peer.", |p| p.traffic.received)?;
        counters("peer_received_bytes", "Bytes from the peer.", |p| p.traffic.received_bytes)?;
        counters("peer_sent_messages", "Messages to the peer.", |p| p.traffic.sent)?;
        counters("peer_sent_bytes", "Bytes to the peer.", |p| p.traffic.sent_bytes)?;
        counters("peer_lost_messages", "Messages the peer lost because it does not read.", |p| p.lost)?;
        page.gauges(
            "peer_subscriptions",
            "Subscriptions of the peer.",
            peers.iter().map(|p| (label("peer", &p.identity), p.subscriptions as f64)),
        )
    }

    fn agents(&self, page: &mut Page<'_>) -> fmt::Result {
        let agents = &self.agents;
        page.gauges(
            "agent_running",
            "Whether the process of an installed agent runs.",
            agents.iter().map(|a| {
                let labels = [("agent", a.identity.clone()), ("state", a.state.to_owned())];
                (labels, f64::from(u8::from(a.usage.is_some())))
            }),
        )?;
        let named = |of: fn(&AgentSample) -> Option<f64>| {
            agents.iter().filter_map(move |a| Some((label("agent", &a.identity), of(a)?))).collect::<Vec<_>>()
        };
        page.counters(
            "agent_log_lines_lost",
            "Lines of agents that are not in their log files.",
            self.agent_lines_lost.iter().map(|(reason, n)| (label("reason", reason), *n as f64)),
        )?;
        page.counters(
            "agent_restarts",
            "Restarts after a crash, since the platform came up.",
            named(|a| Some(a.restarts as f64)),
        )?;
        page.gauges(
            "agent_resident_memory_bytes",
            "Memory of the agent's process.",
            named(|a| Some(a.usage?.memory_bytes as f64)),
        )?;
        page.counters(
            "agent_cpu_seconds",
            "Processor time of the agent's process.",
            named(|a| Some(a.usage?.cpu_s)),
        )?;
        page.gauges(
            "health_good",
            "1 if the peer's last heartbeat said GOOD, 0 if it said anything else.",
            self.health.iter().map(|(peer, word)| {
                let good = word == Status::Good.as_str();
                (label("peer", peer), f64::from(u8::from(good)))
            }),
        )
    }

    fn config_store(&self, page: &mut Page<'_>) -> fmt::Result {
        for (name, value) in &self.config_store {
            if let Some(count) = Value::as_u64(value) {
                page.counter(&format!("config_store_{name}"), "Counted by the configuration store.", count)?;
            }
        }
        Ok(())
    }
}
