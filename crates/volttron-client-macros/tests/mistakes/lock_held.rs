use std::sync::Mutex;

use volttron_client::{AgentError, Cx, agent};

struct Pump {
    count: Mutex<u64>,
}

#[agent]
impl Pump {
    #[every("30s")]
    async fn report(&self, cx: &Cx) -> Result<(), AgentError> {
        let count = self.count.lock().expect("not poisoned");
        cx.publish("record/pump", &*count).await?;
        Ok(())
    }
}

fn main() {}
