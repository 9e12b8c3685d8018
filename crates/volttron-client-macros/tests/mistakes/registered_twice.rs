use volttron_client_macros::agent;

struct Pump;

#[agent]
impl Pump {
    #[rpc(open)]
    async fn reset(&self) {}

    #[rpc(open, name = "reset")]
    async fn reset_all(&self) {}
}

fn main() {}
