//! `vctl watch`: every message that passes the bus, as it passes; `vctl metrics`: how much of everything.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use volttron_client::utils::jsonrpc::Params;

use super::Vctl;
use super::output::Output;
use crate::ops::OpError;

/// How long one question waits; well below the shortest sensible `--timeout`.
const WAIT_S: f64 = 2.0;

/// Arguments of `vctl watch`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    vctl watch                                 every message, until Ctrl-C\n  \
    vctl watch platform.driver                 what it sends and gets\n  \
    vctl watch --subsystem RPC --count 10      ten calls and answers\n  \
    vctl watch --topic devices/campus          publications and how many they reached\n  \
    vctl --json watch                          a JSON object per line, for scripts\n\n\
    Shown is what peers send, and what became of it. Frames that may carry a secret are left out.\n\
    To see only what is published, `vctl sub` is cheaper.")]
pub struct WatchArgs {
    /// Only from or to these identities
    #[arg(value_name = "IDENTITY")]
    pub peers: Vec<String>,
    /// Only of this subsystem: RPC, pubsub, hello, ping, peerlist, query, channel, ...
    #[arg(long, value_name = "NAME")]
    pub subsystem: Option<String>,
    /// Only publications on topics that begin so
    #[arg(long, value_name = "PREFIX")]
    pub topic: Option<String>,
    /// End after so many messages
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// End after so many seconds; exit code 75 if --count was not reached
    #[arg(long = "for", value_name = "SECS")]
    pub seconds: Option<f64>,
}

pub(super) async fn watch(vctl: &Vctl, args: &WatchArgs, out: &mut Output) -> Result<u8, OpError> {
    let until = match args.seconds.map(Duration::try_from_secs_f64).transpose() {
        Ok(limit) => limit.map(|limit| std::time::Instant::now() + limit),
        Err(e) => return Err(OpError::Usage(format!("--for: {e}"))),
    };
    let session = vctl.connect().await?;
    let filter = json!({
        "peers": args.peers, "subsystem": args.subsystem, "topic": args.topic, "exclude": session.cx().identity(),
    });
    let Value::Object(filter) = filter else { return Ok(1) };
    let id = session.control("watch.open").params(Params::new(Vec::new(), filter)).send_value().await?;
    let (mut seen, mut lost) = (0, 0);
    while args.count.is_none_or(|count| seen < count) {
        let left = until.map(|until| until.saturating_duration_since(std::time::Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            break;
        }
        let wait_s = left.map_or(WAIT_S, |left| left.as_secs_f64().min(WAIT_S));
        let params = Params::new(vec![id.clone(), wait_s.into()], serde_json::Map::new());
        let answer = session.control("watch.next").params(params).send_value().await?;
        lost += answer["lost"].as_u64().unwrap_or_default();
        for message in answer["messages"].as_array().into_iter().flatten() {
            if args.count.is_some_and(|count| seen >= count) {
                break;
            }
            seen += 1;
            out.line(&if vctl.json { message.to_string() } else { as_text(message) });
        }
    }
    let close = session.control("watch.close").params(Params::new(vec![id], serde_json::Map::new()));
    close.send_value().await?;
    if lost > 0 {
        out.complain(&format!("{lost} messages were not shown: they came faster than they could be taken"));
    }
    session.close().await;
    Ok(if args.count.is_some_and(|count| seen < count) { 75 } else { 0 })
}

pub(super) async fn metrics(vctl: &Vctl, out: &mut Output) -> Result<u8, OpError> {
    let session = vctl.connect().await?;
    let text = session.control("metrics").send_value().await?;
    session.close().await;
    out.print(text.as_str().unwrap_or_default());
    Ok(0)
}

/// `17:18:47.757522  pump -> platform.driver  RPC  {..}  forwarded`
fn as_text(message: &Value) -> String {
    let text = |key: &str| message[key].as_str().unwrap_or_default();
    let at = text("at");
    let clock = at.get(11..26).unwrap_or(at);
    let to = match text("to") {
        "" => "(router)",
        to => to,
    };
    let args: Vec<&str> =
        message["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    format!(
        "{clock}  {} -> {to}  {}  {}  [{}]",
        text("from"),
        text("subsystem"),
        args.join(" "),
        text("outcome")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_who_what_and_what_became_of_it() {
        let message = json!({
            "at": "2026-11-20T17:23:54.250000+00:00", "from": "pump", "to": "", "subsystem": "pubsub",
            "args": ["publish", "t", "{}"], "outcome": "delivered to 2",
        });
        assert_eq!(
            as_text(&message),
            "17:23:54.250000  pump -> (router)  pubsub  publish t {}  [delivered to 2]"
        );
    }
}
