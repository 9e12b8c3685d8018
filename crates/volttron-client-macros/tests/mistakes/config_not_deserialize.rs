use volttron_client::agent;

struct Settings {
    limit: u64,
}

struct Pump;

#[agent]
impl Pump {
    #[config("config")]
    async fn configure(&self, settings: Settings) {
        let _ = settings.limit;
    }
}

fn main() {}
