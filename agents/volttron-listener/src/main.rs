//! The listener as a program.

use volttron_client::program::options_schema;
use volttron_client::{Start, StartError};
use volttron_listener::Listener;

#[volttron_client::main(identity = "listener-{n}", config_schema = options_schema(volttron_listener::options()))]
async fn main(start: Start) -> Result<Listener, StartError> {
    Ok(Listener::new(start.config()?))
}
