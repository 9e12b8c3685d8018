use volttron_client_macros::agent;

struct Pump;

#[agent]
impl Pump {
    #[subscribe("devices/")]
    async fn reading(&self) {}
}

fn main() {}
