//! `vctl bench`: what this platform on this machine does per second, and how long one of it takes. Short, beside whatever
//! else the platform does, so that machines can be compared.

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::{Map, Value, json};
use volttron_client::utils::headers::Headers;
use volttron_utils::files;
use volttron_utils::home::Home;
use volttron_utils::identity::CONFIG_STORE;

use super::{OpError, Session};

/// Requests under way at a time, where it is about throughput.
const TOGETHER: usize = 64;
/// Size of messages and of files.
const PAYLOAD_BYTES: usize = 256;
/// Entries of the one large transaction.
const BULK: usize = 1000;
/// How long a message that was published may take to come back.
const BACK: Duration = Duration::from_secs(5);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Subject {
    /// Calls to a service and back
    Rpc,
    /// Publications and their delivery
    Pubsub,
    /// Writes of the configuration store
    Config,
    /// Small files written durably
    Fsync,
}

/// A figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Of what.
    pub name: &'static str,
    /// What it is.
    pub value: f64,
    /// In what.
    pub unit: &'static str,
}

fn figure(name: &'static str, value: f64, unit: &'static str) -> Figure {
    Figure { name, value, unit }
}

/// Durations as they came.
#[derive(Clone, Debug, Default)]
struct Times(Vec<Duration>);

impl Times {
    /// The value that this share of all does not exceed, in milliseconds.
    fn percentile_ms(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(at.saturating_sub(1)).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }

    fn figures(&self, names: [&'static str; 3]) -> Vec<Figure> {
        let shares = [0.5, 0.99, 1.0];
        names.into_iter().zip(shares).map(|(name, s)| figure(name, self.percentile_ms(s), "ms")).collect()
    }
}

/// Does one thing again and again for a time, `together` at once.
async fn repeat<F: Future<Output = Result<(), OpError>>>(
    period: Duration,
    together: usize,
    mut once: impl FnMut() -> F,
) -> Result<(Times, f64), OpError> {
    let (begin, mut times) = (Instant::now(), Times::default());
    let mut timed = || {
        let (begin, one) = (Instant::now(), once());
        async move {
            one.await?;
            Ok::<_, OpError>(begin.elapsed())
        }
    };
    let mut open: FuturesUnordered<_> = (0..together).map(|_| timed()).collect();
    while let Some(done) = open.next().await {
        times.0.push(done?);
        if begin.elapsed() < period {
            open.push(timed());
        }
    }
    let per_s = times.0.len() as f64 / begin.elapsed().as_secs_f64();
    Ok((times, per_s))
}

/// Measures one subject for about `period`.
pub async fn measure(
    home: &Home,
    session: Option<&Session>,
    subject: Subject,
    period: Duration,
) -> Result<Vec<Figure>, OpError> {
    let online = || session.ok_or(OpError::NotRunning);
    match subject {
        Subject::Rpc => rpc(online()?, period / 2).await,
        Subject::Pubsub => pubsub(online()?, period / 2).await,
        Subject::Config => config(online()?, period).await,
        Subject::Fsync => fsync(&home.cache(), period),
    }
}

async fn rpc(session: &Session, period: Duration) -> Result<Vec<Figure>, OpError> {
    let call = || async {
        session.control("serverkey").send_value().await?;
        Ok(())
    };
    let (times, _) = repeat(period, 1, call).await?;
    let (_, per_s) = repeat(period, TOGETHER, call).await?;
    let mut figures = times.figures(["one call, half within", "one call, 99 % within", "one call, longest"]);
    figures.push(figure("calls, 64 at a time", per_s, "1/s"));
    Ok(figures)
}

async fn pubsub(session: &Session, period: Duration) -> Result<Vec<Figure>, OpError> {
    let topic = format!("bench/{:08x}", uuid::Uuid::new_v4().as_fields().0);
    let mut subscription = session.cx().subscribe(&topic).await?;
    let message = Value::from("x".repeat(PAYLOAD_BYTES));
    let publish = || async {
        let reached = session.cx().publish_with(&topic, Headers::default(), &message).await;
        reached.map(drop).map_err(|e| OpError::Refused(e.to_string()))
    };
    let (begin, mut times) = (Instant::now(), Times::default());
    while begin.elapsed() < period {
        let one = Instant::now();
        publish().await?;
        match tokio::time::timeout(BACK, subscription.next()).await {
            Ok(Some(_)) => times.0.push(one.elapsed()),
            _ => return Err(OpError::Refused("a message that was published did not come back".to_owned())),
        }
    }
    let (begin, mut came) = (Instant::now(), 0_u64);
    let (sent, _) = {
        let publishing = repeat(period, TOGETHER, publish);
        tokio::pin!(publishing);
        loop {
            tokio::select! {
                done = &mut publishing => break done?,
                Some(_) = subscription.next() => came += 1,
            }
        }
    };
    // Those that are still on their way.
    while came < sent.0.len() as u64 {
        match tokio::time::timeout(BACK, subscription.next()).await {
            Ok(Some(_)) => came += 1,
            _ => break,
        }
    }
    let per_s = came as f64 / begin.elapsed().as_secs_f64();
    let mut figures = times.figures([
        "one publication to its delivery, half within",
        "one publication to its delivery, 99 % within",
        "one publication to its delivery, longest",
    ]);
    figures.push(figure("publications delivered, 64 at a time", per_s, "1/s"));
    figures.push(figure("publications lost", sent.0.len() as f64 - came as f64, "messages"));
    Ok(figures)
}

/// In a store of its own, which goes again, also after Ctrl-C.
async fn config(session: &Session, period: Duration) -> Result<Vec<Figure>, OpError> {
    let identity = format!("bench.{:08x}", uuid::Uuid::new_v4().as_fields().0);
    let measured = tokio::select! {
        measured = config_in(session, &identity, period) => measured,
        _ = tokio::signal::ctrl_c() => Err(OpError::Refused("interrupted".to_owned())),
    };
    let cleared = session.call(CONFIG_STORE, "delete_store").arg(&identity).send_value().await;
    let figures = measured?;
    cleared?;
    Ok(figures)
}

async fn config_in(session: &Session, identity: &str, period: Duration) -> Result<Vec<Figure>, OpError> {
    let text = json!({"value": "x".repeat(PAYLOAD_BYTES)}).to_string();
    let mut number = 0_u32;
    let (times, per_s) = repeat(period, 1, || {
        number += 1;
        let call =
            session.call(CONFIG_STORE, "set_config").arg(identity).arg(format!("entry{}", number % 100));
        let call = call.arg(&text).named("config_type", "json");
        async move {
            call.send_value().await?;
            Ok(())
        }
    })
    .await?;
    let entries: Map<String, Value> =
        (0..BULK).map(|n| (format!("bulk{n}"), json!({"type": "json", "data": text}))).collect();
    let transaction = json!({identity: {"set": entries}});
    let begin = Instant::now();
    session.call(CONFIG_STORE, "apply_configs").arg(transaction).send_value().await?;
    let bulk_ms = begin.elapsed().as_secs_f64() * 1e3;
    let mut figures =
        times.figures(["one write, half within", "one write, 99 % within", "one write, longest"]);
    figures.push(figure("writes, one after another", per_s, "1/s"));
    figures.push(figure("1000 entries in one transaction", bulk_ms, "ms"));
    Ok(figures)
}

/// Files as the platform writes them: temporary sibling, fsync, rename, fsync of the directory.
fn fsync(parent: &Path, period: Duration) -> Result<Vec<Figure>, OpError> {
    let failed = |source| OpError::File { what: parent.display().to_string(), source };
    files::create_dir(parent, 0o755).map_err(failed)?;
    let dir = tempfile::Builder::new().prefix(".bench-").tempdir_in(parent).map_err(failed)?;
    let contents = vec![b'x'; PAYLOAD_BYTES];
    let (begin, mut times) = (Instant::now(), Times::default());
    while begin.elapsed() < period {
        let one = Instant::now();
        files::write_atomic(&dir.path().join("file"), &contents, 0o600).map_err(failed)?;
        times.0.push(one.elapsed());
    }
    let per_s = times.0.len() as f64 / begin.elapsed().as_secs_f64();
    let mut figures = times.figures([
        "one durable file, half within",
        "one durable file, 99 % within",
        "one durable file, longest",
    ]);
    figures.push(figure("durable files", per_s, "1/s"));
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let times = Times((1..=200).rev().map(Duration::from_millis).collect());
        let of = |share| times.percentile_ms(share).round() as u64;
        assert_eq!((of(0.5), of(0.99), of(1.0)), (100, 198, 200));
        assert_eq!(Times::default().percentile_ms(0.5) as u64, 0);
    }

    #[test]
    fn durable_files_are_measured_and_cleared_away() {
        let dir = tempfile::tempdir().unwrap();
        let figures = fsync(dir.path(), Duration::from_millis(20)).unwrap();
        assert!(figures.len() == 4 && figures.iter().all(|f| f.value > 0.0), "{figures:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
