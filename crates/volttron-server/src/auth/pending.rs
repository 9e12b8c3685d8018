//! Connections that were refused because nobody knows their key, kept until somebody decides about them; and how
//! often denied ones came back. In memory only, bounded.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};

use super::entry::{Entry, Filter, Mechanism};

/// Records kept in all.
pub const MAX_PENDING: usize = 1024;
/// Records kept per peer address, so that one address cannot push out the requests of the others.
pub const MAX_PENDING_PER_ADDRESS: usize = 32;

/// A refused connection, or an approved or denied one in the same shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// ZAP domain.
    pub domain: String,
    /// Peer address as ZAP states it.
    pub address: String,
    /// Mechanism.
    pub mechanism: Mechanism,
    /// Public key text; empty for NULL.
    pub credentials: String,
    /// Random UUID by which the request is approved or denied.
    pub user_id: String,
    /// How often it came.
    pub retries: u64,
}

impl Request {
    /// A first request.
    pub fn new(domain: &str, address: &str, mechanism: Mechanism, credentials: &str) -> Self {
        Self {
            domain: domain.to_owned(),
            address: address.to_owned(),
            mechanism,
            credentials: credentials.to_owned(),
            user_id: uuid::Uuid::new_v4().to_string(),
            retries: 1,
        }
    }

    /// The object of `get_pending_authorizations`.
    pub fn to_value(&self) -> Value {
        json!({
            "domain": self.domain,
            "address": self.address,
            "mechanism": self.mechanism.as_str(),
            "credentials": self.credentials,
            "user_id": self.user_id,
            "retries": self.retries,
        })
    }

    /// The entry that admits (or denies) exactly this request.
    pub fn to_entry(&self) -> Entry {
        let mut entry = Entry::curve(&self.user_id, &self.credentials);
        entry.domain = Filter::from(self.domain.as_str());
        entry.address = Filter::from(self.address.as_str());
        entry.mechanism = self.mechanism;
        entry.identity = None;
        entry
    }
}

/// The list. Oldest first.
#[derive(Debug, Default)]
pub struct Pending {
    requests: VecDeque<Request>,
    denied_retries: HashMap<String, u64>,
    evicted: u64,
}

impl Pending {
    /// Counts a refused connection: the record of the same connection once more, or a new record. A full list
    /// forgets its oldest record, first of the same address. Gives the record if it is new.
    pub fn refused(
        &mut self,
        domain: &str,
        address: &str,
        mechanism: Mechanism,
        credentials: &str,
    ) -> Option<&Request> {
        let same = |r: &&mut Request| {
            r.credentials == credentials
                && r.address == address
                && r.domain == domain
                && r.mechanism == mechanism
        };
        if let Some(request) = self.requests.iter_mut().find(same) {
            request.retries += 1;
            return None;
        }
        let of_address = self.requests.iter().filter(|r| r.address == address).count();
        let oldest = if of_address >= MAX_PENDING_PER_ADDRESS {
            self.requests.iter().position(|r| r.address == address)
        } else {
            (self.requests.len() >= MAX_PENDING).then_some(0)
        };
        if let Some(i) = oldest {
            self.requests.remove(i);
            self.evicted += 1;
        }
        self.requests.push_back(Request::new(domain, address, mechanism, credentials));
        self.requests.back()
    }

    /// Counts a connection refused by the deny entry of `user_id`.
    pub fn denied(&mut self, user_id: &str) {
        *self.denied_retries.entry(user_id.to_owned()).or_default() += 1;
    }

    /// How often connections were refused by the deny entry of `user_id`.
    pub fn denied_retries(&self, user_id: &str) -> u64 {
        self.denied_retries.get(user_id).copied().unwrap_or_default()
    }

    /// Forgets counts of deny entries that are gone.
    pub fn keep_denied(&mut self, exists: impl Fn(&str) -> bool) {
        self.denied_retries.retain(|user_id, _| exists(user_id));
    }

    /// The records, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter()
    }

    /// The record of that user id.
    pub fn get(&self, user_id: &str) -> Option<&Request> {
        self.requests.iter().find(|r| r.user_id == user_id)
    }

    /// Removes the records `keep` refuses.
    pub fn retain(&mut self, keep: impl FnMut(&Request) -> bool) {
        self.requests.retain(keep);
    }

    /// Records forgotten because the list was full.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(p: &mut Pending, address: &str, key: &str) {
        p.refused("vip", address, Mechanism::Curve, key);
    }

    #[test]
    fn repeats_count_and_differences_make_records() {
        let mut p = Pending::default();
        refuse(&mut p, "1.1.1.1", "k");
        refuse(&mut p, "1.1.1.1", "k");
        refuse(&mut p, "1.1.1.2", "k");
        refuse(&mut p, "1.1.1.1", "l");
        assert_eq!(p.iter().map(|r| r.retries).collect::<Vec<_>>(), [2, 1, 1]);
        let first = p.iter().next().unwrap().clone();
        assert_eq!(p.get(&first.user_id), Some(&first));
        let keys: Vec<String> = first.to_value().as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["domain", "address", "mechanism", "credentials", "user_id", "retries"]);
    }

    #[test]
    fn one_address_cannot_push_out_the_others() {
        let mut p = Pending::default();
        refuse(&mut p, "honest", "h");
        for i in 0..5000 {
            refuse(&mut p, "flood", &i.to_string());
        }
        assert_eq!(p.iter().count(), MAX_PENDING_PER_ADDRESS + 1);
        assert!(p.iter().any(|r| r.address == "honest"));
        assert_eq!(p.evicted(), 5000 - MAX_PENDING_PER_ADDRESS as u64);
    }

    #[test]
    fn the_whole_is_bounded() {
        let mut p = Pending::default();
        for i in 0..2000 {
            refuse(&mut p, &format!("localhost:0:0:{i}"), "k");
        }
        assert_eq!(p.iter().count(), MAX_PENDING);
        assert_eq!(p.iter().next().unwrap().address, "localhost:0:0:976");
    }

    #[test]
    fn denied_counts_follow_the_entries() {
        let mut p = Pending::default();
        p.denied("a");
        p.denied("a");
        p.denied("b");
        assert_eq!((p.denied_retries("a"), p.denied_retries("c")), (2, 0));
        p.keep_denied(|id| id == "b");
        assert_eq!((p.denied_retries("a"), p.denied_retries("b")), (0, 1));
    }
}
