//! Verbs about keys.

use serde_json::json;
use volttron_client::Cx;
use volttron_utils::identity::CONTROL;
use volttron_utils::json;
use volttron_utils::keys::KeyPair;

use super::{AuthOpError, Output};

/// `auth keypair`: the one place where a secret is shown, because showing it is the purpose.
pub fn keypair() -> Output {
    let pair = KeyPair::generate();
    let value = json!({"public": pair.public.to_string(), "secret": pair.secret.reveal().as_str()});
    Output::line(json::to_indent(&value, 2).unwrap_or_default()).with_json(value)
}

/// `auth serverkey`.
pub async fn serverkey(platform: &Cx) -> Result<Output, AuthOpError> {
    let key: String = platform.call(platform.service(CONTROL), "serverkey").send().await?;
    let json = json!({"serverkey": key});
    Ok(Output::line(key).with_json(json))
}
