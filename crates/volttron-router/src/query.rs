//! `query`: facts about the platform (vip.md section 6.3).

use volttron_utils::json;
use volttron_utils::vip::{Frame, Frames, typed};

use crate::peers::PeerId;
use crate::router::{ARGS, Router};
use crate::{Output, Policy};

/// What the router tells about the platform. Everything defaults to unset, answered as an empty frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterFacts {
    /// The router's own identity: a new UUID at each start, told in every `hello` answer.
    pub router_id: String,
    /// Bound TCP endpoints without their parameters. If empty, `addresses` is answered with the local one.
    pub addresses: Vec<String>,
    /// The local IPC endpoint.
    pub local_address: String,
    /// Public key of the platform, 43 characters.
    pub serverkey: Option<String>,
    /// `volttron-central-address`.
    pub volttron_central_address: Option<String>,
    /// `volttron-central-serverkey`.
    pub volttron_central_serverkey: Option<String>,
    /// Name of this platform.
    pub instance_name: String,
    /// `bind-web-address`.
    pub bind_web_address: Option<String>,
    /// Version text of the platform.
    pub platform_version: String,
    /// Seconds between checks for crashed agents.
    pub agent_monitor_frequency_s: u32,
}

impl RouterFacts {
    /// The value of a `query` key; empty for unknown keys and unset values.
    pub fn value(&self, key: &str) -> Vec<u8> {
        let text = |value: &Option<String>| value.as_deref().map(typed::latin1_lossy).unwrap_or_default();
        match key {
            "addresses" if self.addresses.is_empty() => {
                json::to_vec(&[&self.local_address]).unwrap_or_default()
            }
            "addresses" => json::to_vec(&self.addresses).unwrap_or_default(),
            "local_address" => typed::latin1_lossy(&self.local_address),
            "serverkey" => text(&self.serverkey),
            "volttron-central-address" => text(&self.volttron_central_address),
            "volttron-central-serverkey" => text(&self.volttron_central_serverkey),
            "instance-name" => typed::latin1_lossy(&self.instance_name),
            "bind-web-address" => text(&self.bind_web_address),
            "platform-version" => typed::latin1_lossy(&self.platform_version),
            "message-bus" => b"zmq".to_vec(),
            // Digits, not Python's four raw bytes: Python decodes them to the integer it meant.
            "agent-monitor-frequency" => self.agent_monitor_frequency_s.to_string().into_bytes(),
            _ => Vec::new(),
        }
    }
}

impl<F: Frame, P: Policy> Router<F, P> {
    /// The empty first argument is how Python recognises an answer.
    pub(crate) fn on_query(&mut self, sender: PeerId, frames: Frames<F>, out: &mut impl Output<F>) {
        let key = frames.get(ARGS).map(|key| typed::text(key.as_ref())).unwrap_or_default();
        let value = F::from_vec(self.facts.value(&key));
        self.answer_without_user(sender, frames, [F::from_static(b""), value], out);
    }
}
