//! The platform's services while it lives: one that ends by itself, which none does unless something is broken, is started
//! again after a while; the others, the bus and the agents go on meanwhile.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use volttron_client::{AgentHandle, Cx, ExitReason};

use super::PlatformError;

/// Waits before the first, second, ... new start; the last one for all later ones.
const DELAYS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(1),
];
/// A service that lived so long begins with the shortest wait again.
const LONG: Duration = Duration::from_mins(10);

/// Makes a service anew and connects it.
type Start<'a> = Box<dyn Fn() -> BoxFuture<'a, Result<AgentHandle, PlatformError>> + Send + Sync + 'a>;

struct Kept<'a> {
    identity: String,
    cx: Cx,
    start: Start<'a>,
    attempts: usize,
    since: Instant,
}

enum News {
    Ended(usize, ExitReason),
    Started(usize, Result<AgentHandle, PlatformError>),
}

/// The services.
#[derive(Default)]
pub(super) struct Services<'a> {
    kept: Vec<Kept<'a>>,
    news: FuturesUnordered<BoxFuture<'a, News>>,
}

impl<'a> Services<'a> {
    /// Looks after a service that runs; `start` makes another one of it.
    pub(super) fn add<F>(&mut self, handle: AgentHandle, start: F)
    where
        F: Fn() -> BoxFuture<'a, Result<AgentHandle, PlatformError>> + Send + Sync + 'a,
    {
        let cx = handle.cx().clone();
        let identity = cx.identity().to_owned();
        let at = self.kept.len();
        self.kept.push(Kept { identity, cx, start: Box::new(start), attempts: 0, since: Instant::now() });
        self.news.push(ended(at, handle));
    }

    /// Starts again what ends; never returns.
    pub(super) async fn look_after(&mut self) -> std::convert::Infallible {
        loop {
            match self.news.next().await {
                Some(News::Ended(at, why)) => {
                    tracing::error!("service {} ended: {why:?}", self.kept[at].identity);
                    if self.kept[at].since.elapsed() >= LONG {
                        self.kept[at].attempts = 0;
                    }
                    self.start_again(at);
                }
                Some(News::Started(at, Ok(handle))) => {
                    let kept = &mut self.kept[at];
                    tracing::warn!("service {} runs again", kept.identity);
                    (kept.cx, kept.since) = (handle.cx().clone(), Instant::now());
                    self.news.push(ended(at, handle));
                }
                Some(News::Started(at, Err(error))) => {
                    tracing::error!("service {} could not be started again: {error}", self.kept[at].identity);
                    self.start_again(at);
                }
                None => std::future::pending().await,
            }
        }
    }

    fn start_again(&mut self, at: usize) {
        let kept = &mut self.kept[at];
        let wait = DELAYS[kept.attempts.min(DELAYS.len() - 1)];
        kept.attempts += 1;
        tracing::warn!("service {} is started again in {} s", kept.identity, wait.as_secs());
        let start = (kept.start)();
        self.news.push(
            async move {
                tokio::time::sleep(wait).await;
                News::Started(at, start.await)
            }
            .boxed(),
        );
    }

    /// Ends them all and waits, at most `limit`.
    pub(super) async fn stop(&mut self, limit: Duration) {
        for kept in &self.kept {
            kept.cx.stop();
        }
        let all = async {
            while let Some(news) = self.news.next().await {
                // One that came up just now.
                if let News::Started(at, Ok(handle)) = news {
                    handle.cx().stop();
                    self.news.push(ended(at, handle));
                }
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!("not every service ended within {limit:?}");
        }
    }
}

fn ended<'a>(at: usize, handle: AgentHandle) -> BoxFuture<'a, News> {
    async move { News::Ended(at, handle.joined().await) }.boxed()
}

#[cfg(test)]
#[path = "services_tests.rs"]
mod tests;
