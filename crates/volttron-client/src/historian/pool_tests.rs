use super::*;
use crate::historian::store::{Found, Query, Store};
use serde_json::{Map, Value};

/// Names itself by the order it was opened in.
struct Numbered(u64);

impl Reader for Numbered {
    fn query(&mut self, _: &Query, _: &Cancel) -> Result<Found, QueryError> {
        Ok(Found::default())
    }
    fn topic_list(&mut self) -> Result<Vec<String>, QueryError> {
        Ok(vec![self.0.to_string()])
    }
    fn topics_by_pattern(&mut self, _: &str) -> Result<Vec<(String, i64)>, QueryError> {
        Ok(vec![])
    }
    fn topics_metadata(&mut self, _: &[String]) -> Result<Map<String, Value>, QueryError> {
        Ok(Map::new())
    }
    fn aggregate_topics(&mut self) -> Result<Vec<Value>, QueryError> {
        Ok(vec![])
    }
}

struct Factory(AtomicU64);

impl StoreFactory for Factory {
    fn store(&self) -> Box<dyn Store> {
        unreachable!("queries never write")
    }
    fn reader(&self) -> Result<Box<dyn Reader>, QueryError> {
        Ok(Box::new(Numbered(self.0.fetch_add(1, Ordering::SeqCst))))
    }
}

fn factory(first: u64) -> Arc<dyn StoreFactory> {
    Arc::new(Factory(AtomicU64::new(first)))
}

const LONG: Duration = Duration::from_secs(60);

async fn name(pool: &QueryPool) -> u64 {
    pool.run(LONG, |r, _| r.topic_list()).await.unwrap()[0].parse().unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn replacing_the_store_reopens_readers() {
    let pool = QueryPool::start(Some(factory(0))).unwrap();
    assert!(name(&pool).await < 2);
    pool.replace(Some(factory(100)));
    assert!(name(&pool).await >= 100);
    pool.replace(None);
    let e = pool.run(LONG, |r, _| r.topic_list()).await.unwrap_err();
    assert!(matches!(e, QueryError::Unavailable(_)), "{e}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_query_ends_when_nobody_waits_for_it() {
    let pool = QueryPool::start(Some(factory(0))).unwrap();
    let (ended_tx, ended) = oneshot::channel();
    let (started_tx, started) = oneshot::channel();
    let query = pool.run(LONG, move |_, cancel| {
        started_tx.send(()).ok();
        while !cancel.is_cancelled() {
            std::thread::yield_now();
        }
        ended_tx.send(()).ok();
        Ok(())
    });
    tokio::select! {
        biased;
        _ = query => panic!("it only ends when cancelled"),
        r = started => r.unwrap(),
    }
    ended.await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn time_is_up_even_before_a_thread_is_free() {
    let pool = QueryPool::start(Some(factory(0))).unwrap();
    let e = pool.run(Duration::ZERO, |_, _| Ok(())).await.unwrap_err();
    assert!(matches!(e, QueryError::Cancelled), "{e}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_panicking_query_is_an_error_and_the_thread_lives_on() {
    let pool = QueryPool::start(Some(factory(0))).unwrap();
    for _ in 0..2 * THREADS {
        let e = pool.run::<()>(LONG, |_, _| panic!("bad query")).await.unwrap_err();
        assert!(matches!(e, QueryError::Store(_)), "{e}");
    }
    pool.run(LONG, |r, _| r.topic_list()).await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn waiting_queries_are_bounded() {
    let pool = Arc::new(QueryPool::start(Some(factory(0))).unwrap());
    let hold = Arc::new(std::sync::Barrier::new(THREADS + 1));
    let mut busy = Vec::new();
    let mut begun = Vec::new();
    for _ in 0..THREADS {
        let (hold, pool) = (Arc::clone(&hold), Arc::clone(&pool));
        let (tx, rx) = oneshot::channel();
        begun.push(rx);
        busy.push(tokio::spawn(async move {
            pool.run(LONG, move |_, _| {
                tx.send(()).ok();
                hold.wait();
                Ok(())
            })
            .await
        }));
    }
    for b in begun {
        b.await.unwrap();
    }
    let waiting: Vec<_> = (0..WAITING)
        .map(|_| {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move { pool.run(LONG, |_, _| Ok(())).await })
        })
        .collect();
    while pool.work.capacity() > 0 {
        tokio::task::yield_now().await;
    }
    let e = pool.run(LONG, |_, _| Ok(())).await.unwrap_err();
    assert!(matches!(e, QueryError::Unavailable(_)), "{e}");
    hold.wait();
    for w in waiting.into_iter().chain(busy) {
        w.await.unwrap().unwrap();
    }
}
