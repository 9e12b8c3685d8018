use volttron_client::AgentBuilder;

struct Pump;

fn main() {
    let _ = AgentBuilder::new(Pump);
}
