//! Calls that agents refused, as they report them, for the audit log.
//!
//! An agent speaks only about its own methods: who reports is who was called. Since any agent may report anything
//! about itself, there is a bound on what a minute's reports may write. Must never act on a report.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use volttron_client::{Registrar, Request, RpcError};

use super::{AuthService, open};
use crate::auth::audit::AuditLog;

const WINDOW: Duration = Duration::from_mins(1);
/// Refusals that one agent may put on record per [`WINDOW`], and all agents together.
const PER_AGENT: u32 = 64;
const TOGETHER: u32 = 512;
/// Longest text taken from a report.
const TEXT_CHARS: usize = 512;

#[derive(Deserialize)]
struct RefusedCall {
    caller: String,
    method: String,
    why: String,
    count: u64,
}

/// How much of the bounds is used.
#[derive(Debug)]
pub struct Reported(Mutex<Used>);

#[derive(Debug)]
struct Used {
    since: Instant,
    by_agent: HashMap<String, u32>,
    together: u32,
    left_out: u64,
}

impl Used {
    fn new(since: Instant) -> Self {
        Self { since, by_agent: HashMap::new(), together: 0, left_out: 0 }
    }

    /// Whether one more refusal of `agent` may be written.
    fn may(&mut self, agent: &str) -> bool {
        // The total also bounds the number of agents that are remembered.
        if self.together >= TOGETHER {
            return false;
        }
        let own = self.by_agent.entry(agent.to_owned()).or_default();
        let may = *own < PER_AGENT;
        if may {
            *own += 1;
            self.together += 1;
        }
        may
    }
}

impl Reported {
    pub fn new() -> Self {
        Self(Mutex::new(Used::new(Instant::now())))
    }

    fn take(&self, now: Instant, audit: &AuditLog, agent: &str, calls: Vec<RefusedCall>, left_out: u64) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(used.since) >= WINDOW {
            if used.left_out > 0 {
                let facts = json!({"count": used.left_out, "why": "agents reported more than is written"});
                audit.refusal("reported calls left out", "agents", facts);
            }
            *used = Used::new(now);
        }
        used.left_out = used.left_out.saturating_add(left_out);
        let cut = |text: &str| text.chars().take(TEXT_CHARS).collect::<String>();
        for call in calls {
            if !used.may(agent) {
                used.left_out = used.left_out.saturating_add(call.count);
                continue;
            }
            let facts = json!({"callee": agent, "method": cut(&call.method), "why": cut(&call.why), "reported_by": agent});
            audit.refusals("call", &cut(&call.caller), facts, call.count);
        }
    }
}

pub fn register(b: &mut Registrar<AuthService>) {
    b.rpc(
        open("report_refused_calls")
            .param("calls")
            .optional("left_out", 0)
            .doc("Takes calls of its own methods that an agent refused: [{caller, method, why, count}]."),
        |agent: Arc<AuthService>, req: Request| async move {
            let calls: Vec<RefusedCall> = req.arg("calls")?;
            let left_out: u64 = req.arg("left_out")?;
            agent.reported.take(Instant::now(), agent.state.audit(), &req.caller.user, calls, left_out);
            Ok::<(), RpcError>(())
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, count: u64) -> RefusedCall {
        RefusedCall { caller: "eve".into(), method: method.into(), why: "no".into(), count }
    }

    #[test]
    fn a_flood_of_reports_writes_no_more_than_its_share() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let audit = AuditLog::open(&path).unwrap();
        let reported = Reported::new();
        let now = Instant::now();
        for n in 0..100 {
            let calls = (0..100).map(|m| call(&format!("{n}.{m}"), 2)).collect();
            reported.take(now, &audit, "flood", calls, 1);
        }
        reported.take(now, &audit, "plant", vec![call("open_valve", 7)], 0);
        for n in 0..2000 {
            reported.take(now, &audit, &format!("many.{n}"), vec![call("m", 1)], 0);
        }
        reported.take(now + WINDOW, &audit, "plant", vec![], 0);
        drop(audit);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let first_times = |agent: &str| {
            lines.iter().filter(|l| l["reported_by"] == agent && l.get("repeated").is_none()).count()
        };
        assert_eq!(first_times("flood"), PER_AGENT as usize);
        assert_eq!(first_times("plant"), 1);
        let repeated = lines.iter().find(|l| l["reported_by"] == "plant" && l["repeated"] == 6).unwrap();
        assert_eq!((&repeated["by"], &repeated["callee"]), (&json!("eve"), &json!("plant")));
        let all =
            lines.iter().filter(|l| l.get("reported_by").is_some() && l.get("repeated").is_none()).count();
        assert_eq!(all, TOGETHER as usize);
        let left = lines.iter().find(|l| l["event"] == "reported calls left out").unwrap();
        let many = 2000 - u64::from(TOGETHER - PER_AGENT - 1);
        assert_eq!(left["count"], json!(100 + (10_000 - u64::from(PER_AGENT)) * 2 + many));
    }
}
