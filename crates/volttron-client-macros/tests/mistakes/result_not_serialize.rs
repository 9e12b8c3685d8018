use volttron_client::{RpcError, agent};

struct Level(u8);

struct Pump;

#[agent]
impl Pump {
    #[rpc(open)]
    async fn level(&self) -> Result<Level, RpcError> {
        Ok(Level(1))
    }
}

fn main() {}
