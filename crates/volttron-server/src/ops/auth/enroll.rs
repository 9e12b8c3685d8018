//! `auth enroll`: an agent outside of the platform, on this machine or another (lifecycle.md section 10).

use std::fmt::Write;

use serde_json::{Map, Value, json};
use volttron_client::Cx;
use volttron_utils::identity::{self, CONTROL};
use volttron_utils::keys::KeyPair;

use super::args::EnrollArgs;
use super::{AuthOpError, Output, Rules};
use crate::auth::entry::Entry;

/// Makes a key pair, admits it as `identity`, and gives the environment of its program as lines `NAME=VALUE`. The secret
/// key is stored nowhere here.
pub async fn enroll(rules: &Rules<'_>, platform: &Cx, args: EnrollArgs) -> Result<Output, AuthOpError> {
    let name = args.identity;
    if !identity::is_valid(&name) || identity::reserved_for_install(&name) {
        return Err(AuthOpError::Usage(format!(
            "an agent cannot be called '{name}': letters, digits, _ . and - only, and none of the platform's own names"
        )));
    }
    let address = match args.address {
        Some(address) => address,
        None => reachable(platform).await?,
    };
    let server: String = platform.call(platform.service(CONTROL), "serverkey").send().await?;
    let keys = KeyPair::generate();
    let mut entry = Entry::curve(&name, &keys.public.to_string())
        .with_capability("edit_config_store", json!({"identity": name}))
        .with_comment("Enrolled with vctl auth enroll");
    for capability in args.capabilities {
        entry = entry.with_capability(&capability, Value::Null);
    }
    rules.add(entry).await?;
    let mut output = Output::default();
    let mut object = Map::new();
    for (variable, value) in [
        ("VOLTTRON_VIP_ADDR", address),
        ("VOLTTRON_SERVERKEY", server),
        ("AGENT_VIP_IDENTITY", name),
        ("AGENT_PUBLICKEY", keys.public.to_string()),
        ("AGENT_SECRETKEY", keys.secret.reveal().as_str().to_owned()),
    ] {
        let _ = writeln!(output.stdout, "{variable}={value}");
        object.insert(variable.to_owned(), value.into());
    }
    Ok(output.with_json(Value::Object(object)))
}

/// The first address that other machines can reach, else the first there is.
async fn reachable(platform: &Cx) -> Result<String, AuthOpError> {
    let known = platform.query("addresses").await?.unwrap_or_default();
    let addresses: Vec<String> = serde_json::from_str(&known).unwrap_or_default();
    let elsewhere =
        |a: &&String| a.starts_with("tcp://") && !a.contains("//127.") && !a.contains("//0.0.0.0");
    let found =
        addresses.iter().find(elsewhere).or_else(|| addresses.iter().find(|a| a.starts_with("tcp://")));
    match found.or(addresses.first()) {
        Some(address) => Ok(address.clone()),
        None => Err(AuthOpError::Usage("the platform names no address; give one with --address".to_owned())),
    }
}
