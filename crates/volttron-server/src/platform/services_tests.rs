use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use volttron_client::testing::TestPlatform;
use volttron_client::{Access, Agent, Method, Registrar, Request};

use super::*;

/// A service that ends when it is told to.
struct Mortal(Arc<AtomicU32>);

impl Agent for Mortal {
    const NAME: &'static str = "Mortal";

    fn register(b: &mut Registrar<Self>) {
        b.on_start(|me: Arc<Self>, _: Cx| async move {
            me.0.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        b.rpc(Method::new("end", Access::Open), |_: Arc<Self>, r: Request| async move {
            r.cx.stop();
            Ok(())
        });
    }
}

#[tokio::test]
async fn a_service_that_ends_by_itself_is_started_again_and_the_platform_goes_on() {
    let bus = TestPlatform::new().await;
    let starts = Arc::new(AtomicU32::new(0));
    let spawn = || -> BoxFuture<'_, Result<AgentHandle, PlatformError>> {
        let builder = bus.builder("mortal", Mortal(starts.clone()));
        async move {
            let failed = |e: volttron_client::SpawnError| PlatformError::Service {
                identity: "mortal",
                why: e.to_string(),
            };
            builder.spawn().await.map_err(failed)
        }
        .boxed()
    };
    let caller = bus.peer("caller").await;
    let mut services = Services::default();
    services.add(spawn().await.unwrap(), spawn);
    let life = async {
        for round in 1..=2 {
            while starts.load(Ordering::SeqCst) < round {
                tokio::task::yield_now().await;
            }
            // Its answer may be lost with it.
            let _ = caller.call("mortal", "end").timeout(Duration::from_secs(1)).send_value().await;
        }
        while starts.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = life => {}
        never = services.look_after() => match never {},
    }
    services.stop(Duration::from_secs(10)).await;
    assert!(services.news.is_empty(), "all have ended");
}
