use volttron_client_macros::agent;

struct Pump;

#[agent]
impl Pump {
    #[rpc(allow = "can_reset")]
    async fn reset(&self, unit: &str) {}
}

fn main() {}
