//! The platform's bus as it is deployed: router thread, real authentication table, real policy.

use std::fs;

use serde_json::json;
use volttron_client::utils::{home::Home, keys::PublicKey};
use volttron_router::{Control, Input, Limits, Output, Router, RouterEvent, RouterFacts, ServiceId, Unsent};
use volttron_server::{
    auth::{AuthOptions, AuthState},
    front::{Bind, Front, FrontConfig, ZmqFrame, zap::Authenticator},
};

use super::setup::{Keys, Outcome};

/// Serves until killed.
pub fn serve(keys: Option<&Keys>) -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let home = Home::new(dir.path())?;
    home.create_dirs()?;
    if let Some(keys) = keys {
        let allow: Vec<_> = keys
            .peers
            .iter()
            .map(|(identity, pair)| {
                json!({"domain": "vip", "mechanism": "CURVE", "user_id": identity, "identity": identity,
                       "credentials": PublicKey::from_bytes(pair.public).to_string(), "enabled": true})
            })
            .collect();
        let file = json!({"allow": allow, "deny": [], "groups": {}, "roles": {}, "version": {"major": 1, "minor": 4}});
        fs::write(home.auth_file(), file.to_string())?;
    }
    let options = AuthOptions { enabled: keys.is_some(), ..AuthOptions::default() };
    let auth = AuthState::open(&home, options)?;
    let secret = keys.map(|k| k.server.key_pair().secret);
    let bind = Bind::new(&"tcp://127.0.0.1:*".parse()?, secret.as_ref())?;
    let authenticator = keys.map(|_| Box::new(auth.clone()) as Box<dyn Authenticator>);
    let front = Front::bind(FrontConfig::new(vec![bind], authenticator))?;
    let mut router = Router::new(auth, Limits::default());
    let facts = RouterFacts { router_id: front.identity().to_owned(), ..RouterFacts::default() };
    router.handle(std::time::Instant::now(), Input::Control(Control::Info(Box::new(facts))), &mut Nobody);
    let running = front.start(router)?;
    println!("{}", running.endpoints()[0]);
    loop {
        std::thread::park();
    }
}

/// Nobody is connected yet.
struct Nobody;

impl Output<ZmqFrame> for Nobody {
    fn wire(&mut self, _: Parts) -> Result<(), Unsent<ZmqFrame>> {
        Ok(())
    }
    fn local(&mut self, _: ServiceId, _: Parts) -> Result<(), Unsent<ZmqFrame>> {
        Ok(())
    }
    fn share(&mut self, frame: &ZmqFrame) -> ZmqFrame {
        ZmqFrame(frame.0.share())
    }
    fn event(&mut self, _: RouterEvent<'_>) {}
}

type Parts = volttron_client::utils::vip::Frames<ZmqFrame>;
