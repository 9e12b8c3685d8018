use volttron_client_macros::interface;

#[interface]
trait Pumps {
    async fn reset(&self, unit: String);
}

fn main() {}
