//! The thread that owns the store. It does what the writer asks, in order, and reports every result.
//!
//! A store that panics or refuses a record never ends the thread: a panic counts as a refusal, and a refused batch is
//! halved until the record that is to blame is alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::record::Record;
use super::store::{Handled, Limits, Store, StoreError};

/// How long one slice of applying limits may take before writing gets its turn again.
const LIMITS_BUDGET: Duration = Duration::from_millis(250);

/// What the writer asks for.
pub(super) enum Job {
    Setup,
    Write(Arc<Vec<Record>>),
    Limits(Limits),
    Replace(Box<dyn Store>),
}

/// What came of it. Writes are reported in the order they were asked for.
#[derive(Debug)]
pub(super) enum Report {
    SetUp(Result<(), String>),
    Written(Outcome),
    Limits(Result<bool, String>),
}

/// Result of one batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub handled: Vec<i64>,
    pub rejected: Vec<(i64, String)>,
    /// Why the rest of the batch was not handled; the store needs to be set up again.
    pub failed: Option<String>,
}

/// Starts the thread. It ends when the returned sender is dropped.
pub(super) fn spawn(
    store: Box<dyn Store>,
    report: impl Fn(Report) + Send + 'static,
) -> std::io::Result<(SyncSender<Job>, JoinHandle<()>)> {
    // The writer never has more than a few jobs outstanding; the bound only guards against a slip there.
    let (tx, rx) = sync_channel(16);
    let thread =
        std::thread::Builder::new().name("historian-store".into()).spawn(move || run(store, &rx, &report))?;
    Ok((tx, thread))
}

fn run(mut store: Box<dyn Store>, jobs: &Receiver<Job>, report: &(impl Fn(Report) + Send)) {
    for job in jobs {
        match job {
            Job::Setup => {
                let done = guarded(|| store.setup());
                report(Report::SetUp(done.map_err(|e| e.to_string())));
            }
            Job::Write(batch) => {
                let mut out = Outcome::default();
                write(&mut *store, &batch, &mut out);
                report(Report::Written(out));
            }
            Job::Limits(limits) => {
                let done = guarded(|| store.apply_limits(&limits, LIMITS_BUDGET));
                report(Report::Limits(done.map_err(|e| e.to_string())));
            }
            Job::Replace(new) => {
                let _ = catch_unwind(AssertUnwindSafe(|| store.close()));
                store = new;
            }
        }
    }
    let _ = catch_unwind(AssertUnwindSafe(|| store.close()));
}

fn guarded<R>(f: impl FnOnce() -> Result<R, StoreError>) -> Result<R, StoreError> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "unknown".into());
        Err(StoreError::Refused(format!("the store failed on it: {what}")))
    })
}

/// Writes a batch; on a refusal its halves, so that one bad record costs about 2·log2(n) writes, not the batch.
fn write(store: &mut dyn Store, batch: &[Record], out: &mut Outcome) {
    if batch.is_empty() || out.failed.is_some() {
        return;
    }
    match guarded(|| store.write(batch)) {
        Ok(Handled::All) => out.handled.extend(batch.iter().map(|r| r.id)),
        Ok(Handled::Ids(ids)) => out.handled.extend(ids),
        Err(StoreError::Unavailable(why)) => out.failed = Some(why),
        Err(StoreError::Refused(why)) => {
            if let [one] = batch {
                out.rejected.push((one.id, why));
                return;
            }
            let (left, right) = batch.split_at(batch.len() / 2);
            write(store, left, out);
            write(store, right, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Refuses ids divisible by `bad`, panics on `panics`, gives up at `gone`.
    struct Picky {
        bad: i64,
        panics: i64,
        gone: i64,
        writes: usize,
    }

    impl Store for Picky {
        fn setup(&mut self) -> Result<(), StoreError> {
            Ok(())
        }
        fn write(&mut self, batch: &[Record]) -> Result<Handled, StoreError> {
            self.writes += 1;
            if batch.iter().any(|r| r.id == self.gone) {
                return Err(StoreError::Unavailable("gone".into()));
            }
            assert!(!batch.iter().any(|r| r.id == self.panics), "cannot bear it");
            if batch.iter().any(|r| r.id % self.bad == 0) {
                return Err(StoreError::Refused("bad".into()));
            }
            Ok(Handled::All)
        }
    }

    fn batch(n: i64) -> Vec<Record> {
        let record = |id| Record {
            id,
            ts: String::new(),
            source: "record".into(),
            topic: "t".into(),
            value: "1".into(),
            headers: "{}".into(),
            meta: Arc::default(),
        };
        (1..=n).map(record).collect()
    }

    #[test]
    fn one_bad_record_is_found_and_the_rest_stored() {
        let mut store = Picky { bad: 700, panics: -1, gone: -1, writes: 0 };
        let mut out = Outcome::default();
        write(&mut store, &batch(1000), &mut out);
        assert_eq!(out.handled.len(), 999);
        assert_eq!(out.rejected, [(700, "bad".to_owned())]);
        assert_eq!(out.failed, None);
        assert!(store.writes <= 21, "{}", store.writes);
    }

    #[test]
    fn a_panic_counts_as_a_refusal_of_that_record() {
        let mut store = Picky { bad: 10_000, panics: 3, gone: -1, writes: 0 };
        let mut out = Outcome::default();
        write(&mut store, &batch(8), &mut out);
        assert_eq!(out.handled, [1, 2, 4, 5, 6, 7, 8]);
        assert_eq!(out.rejected.len(), 1);
        assert!(out.rejected[0].1.contains("cannot bear it"));
    }

    #[test]
    fn an_unreachable_store_rejects_nothing() {
        let mut store = Picky { bad: 1, panics: -1, gone: 6, writes: 0 };
        let mut out = Outcome::default();
        write(&mut store, &batch(8), &mut out);
        assert_eq!(out, Outcome { failed: Some("gone".into()), ..Outcome::default() });
        let mut store = Picky { bad: 2, panics: -1, gone: 100, writes: 0 };
        let mut out = Outcome::default();
        write(&mut store, &batch(4), &mut out);
        assert_eq!(out.handled, [1, 3]);
        assert_eq!(out.rejected.len(), 2);
    }
}
