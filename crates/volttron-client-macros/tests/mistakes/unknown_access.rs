use volttron_client_macros::agent;

struct Pump;

#[agent]
impl Pump {
    #[rpc(public)]
    async fn reset(&self) {}
}

fn main() {}
