//! The answers that the router thread asks of [`AuthState`]: who may connect, under which identity, who may publish.
//! And the capabilities that services in the process look up. All from memory, never waiting for a file.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use volttron_client::access::CapabilitySource;
use volttron_router::{Denied, Policy, Refusal};
use volttron_utils::identity;
use volttron_utils::json::python;
use volttron_utils::keys::PublicKey;

use super::entry::Mechanism;
use super::pending::Request;
use super::state::AuthState;
use super::table::{CapabilityMap, IdentityRefused, Presented, Verdict};
use crate::front::zap::{Authenticator, Credentials, ZapAnswer, ZapRequest};

/// How a connection ends that setup mode would accept if its entries were written faster.
const BUSY_DELAY: Duration = Duration::from_secs(1);

impl Authenticator for AuthState {
    fn decide(&self, request: &ZapRequest<'_>) -> ZapAnswer {
        let key = match request.credentials {
            Credentials::Curve(raw) => PublicKey::from_bytes(*raw).to_string(),
            Credentials::Null | Credentials::Plain { .. } => String::new(),
        };
        if !self.options().enabled {
            return ZapAnswer::Allow { user_id: key };
        }
        let mechanism = match request.credentials {
            Credentials::Curve(_) => Mechanism::Curve,
            Credentials::Plain { .. } => Mechanism::Plain,
            Credentials::Null => Mechanism::Null,
        };
        let presented =
            Presented { domain: request.domain, address: request.address, mechanism, credentials: &key };
        let verdict = self.snapshot().table.authenticate(presented);
        match verdict {
            Verdict::Allowed { index, ref user_id } => {
                AuthState::count(&self.meter().allowed);
                self.audit().admission(
                    "connection",
                    &key,
                    json!({"address": presented.address, "user_id": user_id, "allow_entry": index}),
                );
                self.door().backoff.succeeded(request.address);
                ZapAnswer::Allow { user_id: key }
            }
            Verdict::Denied { ref user_id, .. } => {
                AuthState::count(&self.meter().denied);
                tracing::info!("connection from {} with key {key} refused: {verdict}", request.address);
                let why = verdict.to_string();
                self.audit().refusal("connection", &key, json!({"address": request.address, "why": why}));
                self.door().pending.denied(user_id);
                self.deny(request.address)
            }
            Verdict::Unknown if self.options().setup_mode && mechanism != Mechanism::Plain => {
                self.accept_in_setup_mode(presented)
            }
            Verdict::Unknown => {
                AuthState::count(&self.meter().unknown);
                let facts = json!({"address": presented.address, "why": verdict.to_string()});
                self.audit().refusal("connection", &key, facts);
                self.note_unknown(presented);
                self.deny(request.address)
            }
        }
    }

    fn generation(&self) -> u64 {
        AuthState::generation(self)
    }
}

impl AuthState {
    fn deny(&self, address: &str) -> ZapAnswer {
        let (dice, _) = uuid::Uuid::new_v4().as_u64_pair();
        ZapAnswer::Deny { delay: self.door().backoff.failed(address, Instant::now(), dice) }
    }

    fn note_unknown(&self, p: Presented<'_>) {
        let mut door = self.door();
        if let Some(new) = door.pending.refused(p.domain, p.address, p.mechanism, p.credentials) {
            tracing::warn!(
                "connection from {} refused: no auth entry for key {}. To let it in: vctl auth remote approve {}",
                p.address,
                p.credentials,
                new.user_id
            );
        }
    }

    fn accept_in_setup_mode(&self, p: Presented<'_>) -> ZapAnswer {
        let request = Request::new(p.domain, p.address, p.mechanism, p.credentials);
        if !self.accept(request) {
            return ZapAnswer::Deny { delay: BUSY_DELAY };
        }
        AuthState::count(&self.meter().setup_accepted);
        self.audit().admission("connection in setup mode", p.credentials, json!({"address": p.address}));
        tracing::warn!("SETUP MODE: accepted unknown key {} from {}", p.credentials, p.address);
        ZapAnswer::Allow { user_id: p.credentials.to_owned() }
    }

    /// Why `identity` may not publish on `topic`, or nothing if it may.
    fn publish_denied(&self, identity: &str, topic: &str) -> Option<Denied> {
        // Without authentication nobody has capabilities. The platform's own services need none: their names
        // cannot come from a socket.
        if !self.options().enabled || identity::is_service(identity) {
            return None;
        }
        let snapshot = self.snapshot();
        let required = snapshot.protected.required(topic)?;
        let provided = snapshot.table.capabilities_of(identity);
        if provided.is_some_and(|caps| required.iter().all(|r| caps.contains_key(r))) {
            return None;
        }
        let provided_repr =
            provided.map_or_else(|| "[]".to_owned(), |caps| python::repr(&Value::Object(caps.clone())));
        Some(Denied { required: required.to_vec(), provided_repr })
    }

    /// Whether `identity` may publish on `topic`.
    pub fn may_publish(&self, identity: &str, topic: &str) -> bool {
        self.publish_denied(identity, topic).is_none()
    }
}

impl Policy for AuthState {
    fn admit(&self, identity: &str, user: Option<&str>) -> Result<(), Refusal> {
        let refused = if self.options().enabled {
            let bind = self.options().bind_identity_to_key;
            self.snapshot().table.admit(identity, user.unwrap_or_default(), bind).err()
        } else {
            identity::belongs_to_process(identity).then(|| IdentityRefused::Service(identity.to_owned()))
        };
        let Some(refused) = refused else { return Ok(()) };
        AuthState::count(&self.meter().identities_refused);
        let facts = json!({"identity": identity, "why": refused.to_string()});
        self.audit().refusal("identity", user.unwrap_or_default(), facts);
        if self.door().reports(identity, user.unwrap_or_default()) {
            tracing::warn!("connection with key {} refused: {refused}", user.unwrap_or("(none)"));
        }
        Err(match refused {
            IdentityRefused::Service(_) => Refusal::ServiceIdentity,
            IdentityRefused::ControlConnection(_) | IdentityRefused::OtherKey { .. } => {
                Refusal::BoundToOtherKey
            }
        })
    }

    fn publish(&self, identity: &str, topic: &str) -> Result<(), Denied> {
        match self.publish_denied(identity, topic) {
            None => Ok(()),
            Some(denied) => {
                AuthState::count(&self.meter().publishes_denied);
                let facts = json!({"topic": topic, "required": denied.required});
                self.audit().refusal("publish", identity, facts);
                Err(denied)
            }
        }
    }

    fn open_methods(&self) -> bool {
        self.options().open_methods
    }

    fn refused(&self, identity: &str, operation: &str) {
        let facts =
            json!({"operation": operation, "why": "only a platform service may ask the router for it"});
        self.audit().refusal("router operation", identity, facts);
    }

    fn generation(&self) -> u64 {
        AuthState::generation(self)
    }
}

impl CapabilitySource for AuthState {
    fn capabilities(&self, user: &str) -> Option<CapabilityMap> {
        self.snapshot().table.capabilities_of(user).cloned()
    }

    fn enabled(&self) -> bool {
        self.options().enabled
    }

    fn open_methods(&self) -> bool {
        self.options().open_methods
    }

    fn refused(&self, callee: &str, caller: &str, method: &str, why: &str) {
        self.audit().refusal("call", caller, json!({"callee": callee, "method": method, "why": why}));
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
