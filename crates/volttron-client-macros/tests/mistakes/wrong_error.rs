use volttron_client::{AgentError, Publication, agent};

struct Pump;

#[agent]
impl Pump {
    #[rpc(open)]
    async fn level(&self) -> Result<u8, AgentError> {
        Err(AgentError::msg("none"))
    }

    #[subscribe("devices/")]
    async fn reading(&self, publication: Publication) -> Result<(), String> {
        Err(publication.topic)
    }
}

fn main() {}
