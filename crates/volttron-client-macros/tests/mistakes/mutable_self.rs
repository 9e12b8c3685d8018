use volttron_client_macros::agent;

struct Pump {
    count: u32,
}

#[agent]
impl Pump {
    #[rpc(open)]
    async fn count(&mut self) -> u32 {
        self.count += 1;
        self.count
    }
}

fn main() {}
