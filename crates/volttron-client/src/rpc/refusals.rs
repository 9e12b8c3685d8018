//! Refused calls of an agent outside the platform's process, told to the platform's auth service so that they are on
//! record there (its audit log).
//!
//! Collected for some seconds, then sent as one notification: a caller that hammers costs one message per period.
//! Platforms that do not know the method ignore a notification. Must never decide anything, or wait for the platform.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::Cx;
use crate::auth::AUTH;

/// The method of the auth service.
const METHOD: &str = "report_refused_calls";
/// How long refusals are collected before they are told.
const PERIOD: Duration = Duration::from_secs(5);
/// Different refusals that are told apart in one period; beyond it they are only counted.
const DIFFERENT: usize = 64;
/// Longest text of a refusal that is told.
const TEXT_CHARS: usize = 512;

/// What has not been told yet.
#[derive(Default)]
pub(crate) struct State(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// By caller and method.
    calls: BTreeMap<(String, String), Refused>,
    left_out: u64,
    /// Somebody is on the way to tell it.
    under_way: bool,
}

struct Refused {
    why: String,
    count: u64,
}

/// What the caller of [`State::note`] has to do.
#[derive(Debug, PartialEq, Eq)]
struct Noted {
    /// The first of its kind in this period.
    is_new: bool,
    /// Nobody is on the way to tell it.
    tell: bool,
}

impl State {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, caller: &str, method: &str, why: &str) -> Noted {
        let mut waiting = self.waiting();
        let key = (caller.to_owned(), method.to_owned());
        let full = waiting.calls.len() >= DIFFERENT;
        let mut is_new = false;
        if let Some(known) = waiting.calls.get_mut(&key) {
            known.count += 1;
        } else if full {
            waiting.left_out += 1;
        } else {
            is_new = true;
            waiting.calls.insert(key, Refused { why: why.chars().take(TEXT_CHARS).collect(), count: 1 });
        }
        Noted { is_new, tell: !std::mem::replace(&mut waiting.under_way, true) }
    }

    /// Everything noted so far: calls, and how many were left out.
    fn take(&self) -> (Vec<Value>, u64) {
        let waiting = std::mem::take(&mut *self.waiting());
        let told = waiting.calls.into_iter().map(|((caller, method), Refused { why, count })| {
            json!({"caller": caller, "method": method, "why": why, "count": count})
        });
        (told.collect(), waiting.left_out)
    }
}

impl Cx {
    /// Takes note of a refused call, to be told to the auth service within [`PERIOD`].
    pub(super) fn tell_refusal(&self, caller: &str, method: &str, why: &str) {
        let noted = self.0.refusals.note(caller, method, why);
        if noted.is_new {
            tracing::warn!("refused a call of '{method}' by '{caller}': {why}");
        }
        if !noted.tell {
            return;
        }
        let cx = self.clone();
        self.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                () = cx.shutting_down() => {}
            }
            let (calls, left_out) = cx.0.refusals.take();
            if let Err(error) = cx.call(AUTH, METHOD).arg(calls).arg(left_out).notify().await {
                // They are in the agent's own log; without the platform there is no other place.
                tracing::debug!("refused calls are not reported: {error}");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_caller_and_method_and_bounded() {
        let state = State::default();
        assert_eq!(state.note("a", "m", "no"), Noted { is_new: true, tell: true });
        assert_eq!(state.note("a", "m", "no"), Noted { is_new: false, tell: false });
        for n in 0..DIFFERENT + 9 {
            state.note("b", &n.to_string(), &"x".repeat(10_000));
        }
        let (calls, left_out) = state.take();
        assert_eq!((calls.len(), left_out), (DIFFERENT, 10));
        assert_eq!(calls[0], json!({"caller": "a", "method": "m", "why": "no", "count": 2}));
        assert_eq!(calls[1]["why"].as_str().map(str::len), Some(TEXT_CHARS));
        assert_eq!(state.take(), (Vec::new(), 0));
        assert!(state.note("a", "m", "no").tell, "the next one is told anew");
    }
}
