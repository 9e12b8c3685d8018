use volttron_client::{Caller, agent};

struct Pump;

#[agent]
impl Pump {
    #[rpc(open)]
    async fn reset(&self, caller: &Caller) {}
}

fn main() {}
