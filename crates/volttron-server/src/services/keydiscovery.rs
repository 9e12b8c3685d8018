//! The key discovery service, `keydiscovery`: on a single platform it only is there and answers what every agent
//! answers (platform-internals.md section 3.5). Finding other platforms belongs to their connection.

use volttron_client::{Agent, Registrar};

/// The service.
#[derive(Debug)]
pub struct KeyDiscovery;

impl Agent for KeyDiscovery {
    const NAME: &'static str = "KeyDiscoveryAgent";

    fn register(_: &mut Registrar<Self>) {}
}
