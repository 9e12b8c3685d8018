use volttron_client_macros::agent;

struct Pump;

#[agent]
impl Pump {
    #[every("30s")]
    fn poll(&self) {}
}

fn main() {}
