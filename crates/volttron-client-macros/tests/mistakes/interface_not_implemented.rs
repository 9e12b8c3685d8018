use volttron_client::{agent, interface};

#[interface]
trait Pumps {
    #[rpc(open)]
    async fn reset(&self, unit: String);
}

struct Pump;

#[agent(serves(Pumps))]
impl Pump {}

fn main() {}
