use volttron_client::agent;

struct Level(u8);

struct Pump;

#[agent]
impl Pump {
    #[rpc(allow = "can_set_level")]
    async fn set_level(&self, level: Level) -> u8 {
        level.0
    }
}

fn main() {}
