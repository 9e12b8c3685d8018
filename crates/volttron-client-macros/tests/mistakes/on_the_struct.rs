use volttron_client_macros::agent;

#[agent]
struct Pump;

fn main() {}
