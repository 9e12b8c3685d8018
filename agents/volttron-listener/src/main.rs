//! The listener as a program.

use volttron_client::{Start, StartError};
use volttron_listener::Listener;

#[volttron_client::main(identity = "listener-{n}")]
async fn main(start: Start) -> Result<Listener, StartError> {
    Ok(Listener::new(start.config()?))
}
