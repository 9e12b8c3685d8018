use volttron_client_macros::agent;

struct Pump;

#[agent]
impl Pump {
    #[rpc]
    async fn reset(&self, unit: String) -> u32 {
        unit.len() as u32
    }
}

fn main() {}
