//! Verbs that talk on the bus as an agent does: call a method, publish, listen.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};
use volttron_client::utils::headers::Headers;
use volttron_client::utils::json as wire_json;
use volttron_client::utils::jsonrpc::Params;
use volttron_client::{CallError, Publication, PublishError};

use super::numbers::{seconds_of, whole};
use super::output::Output;
use super::{Vctl, render};
use crate::codes::Code;
use crate::ops::{OpError, Session, rpc};

/// How often a command that listens looks whether the platform is still there.
const LOOK: Duration = Duration::from_millis(200);

/// Arguments of `vctl call`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    vctl call platform.driver get_point campus/building/fan SupplyTemp\n  \
    vctl call platform.driver set_point campus/building/fan SupplyTemp 21.5\n  \
    vctl call platform.historian query --kwargs '{\"topic\": \"campus/building/fan/SupplyTemp\", \"count\": 3}'\n  \
    vctl call platform.driver inspect                      the methods of an agent")]
pub struct CallArgs {
    /// Identity of the agent
    pub peer: String,
    /// Method
    pub method: String,
    /// Positional arguments, each JSON or else a text
    #[arg(value_name = "ARG", allow_hyphen_values = true)]
    pub args: Vec<String>,
    /// Named arguments, a JSON object
    #[arg(long, value_name = "JSON")]
    pub kwargs: Option<String>,
}

/// Arguments of `vctl pub`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    vctl pub test/topic hello\n  \
    vctl pub devices/a/b/c/all '[{\"t\": 20.5}, {\"t\": {\"units\": \"C\"}}]' --headers '{\"Date\": \"2026-01-01T00:00:00\"}'")]
pub struct PublishArgs {
    /// Topic
    pub topic: String,
    /// Message: JSON, or else a text
    #[arg(allow_hyphen_values = true)]
    pub message: String,
    /// Headers, a JSON object
    #[arg(long, value_name = "JSON")]
    pub headers: Option<String>,
}

/// Arguments of `vctl sub`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    vctl sub                           everything, until Ctrl-C\n  \
    vctl sub devices/campus --count 5  five messages, then end\n  \
    vctl --json sub alerts             a JSON object per line, for scripts")]
pub struct SubscribeArgs {
    /// Prefix of the topics; everything without it
    #[arg(default_value = "")]
    pub prefix: String,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    pub count: Option<u64>,
    /// End after so many seconds; exit code 75 if --count was not reached
    #[arg(
        long = "for",
        value_name = "SECS",
        value_parser = seconds_of,
        allow_negative_numbers = true
    )]
    pub seconds: Option<f64>,
    /// Also what other platforms publish
    #[arg(long)]
    pub all_platforms: bool,
}

/// JSON, or else a text: nobody wants to quote texts twice.
fn value(text: &str) -> Value {
    wire_json::from_slice(text.as_bytes()).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn object(option: &str, text: Option<&str>) -> Result<Map<String, Value>, OpError> {
    let Some(text) = text else { return Ok(Map::new()) };
    match wire_json::from_slice(text.as_bytes()) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(OpError::Usage(format!("{option}: a JSON object is needed, as in '{{\"name\": 1}}'"))),
        Err(e) => Err(OpError::Usage(format!("{option}: not JSON: {e}"))),
    }
}

pub(super) async fn call(vctl: &Vctl, args: CallArgs, out: &mut Output) -> Result<u8, OpError> {
    let kwargs = object("--kwargs", args.kwargs.as_deref())?;
    let params = Params::new(args.args.iter().map(|a| value(a)).collect(), kwargs);
    let session = vctl.connect().await?;
    let call = session.cx().call(&args.peer, &args.method).params(params).timeout(session.timeout());
    let answer = match call.send_value().await {
        Ok(answer) => answer,
        Err(error) => return Err(rpc::misnamed(&session, error).await),
    };
    out.print(&render::pretty(&answer));
    session.close().await;
    Ok(0)
}

pub(super) async fn publish(vctl: &Vctl, args: &PublishArgs, out: &mut Output) -> Result<u8, OpError> {
    let headers = Headers::from(object("--headers", args.headers.as_deref())?);
    let session = vctl.connect().await?;
    let reached = session.cx().publish_with(&args.topic, headers, &value(&args.message)).await;
    let reached = reached.map_err(|e| match e {
        PublishError::Router(e) => OpError::Call(e),
        other => OpError::Refused(other.to_string()),
    })?;
    session.close().await;
    if vctl.json {
        out.print(&render::pretty(&serde_json::json!({"subscribers": reached})));
    } else {
        out.line(&format!("Published to {reached} subscriber{}", if reached == 1 { "" } else { "s" }));
    }
    Ok(0)
}

pub(super) async fn subscribe(vctl: &Vctl, args: &SubscribeArgs, out: &mut Output) -> Result<u8, OpError> {
    let session = vctl.connect().await?;
    let options =
        volttron_client::SubscribeOptions { all_platforms: args.all_platforms, ..Default::default() };
    let mut subscription = session.cx().subscribe_with(&args.prefix, options).await?;
    let mut seen = 0;
    let show = async {
        while args.count.is_none_or(|count| seen < count) {
            let next = tokio::select! {
                next = subscription.next() => next,
                () = lost(&session) => None,
            };
            let Some(publication) = next else { return };
            seen += 1;
            out.line(&if vctl.json { as_json(&publication) } else { as_text(&publication) });
            if out.reader_gone() {
                return;
            }
        }
    };
    match args.seconds {
        Some(seconds) => {
            // Its end is no error unless messages were counted on.
            let _ = tokio::time::timeout(super::seconds(seconds), show).await;
        }
        None => show.await,
    }
    if !session.cx().connected() {
        return Err(OpError::Call(CallError::Disconnected));
    }
    let lagged = subscription.lagged();
    if lagged > 0 {
        out.complain(&format!(
            "{lagged} messages were not shown: they came faster than they could be written"
        ));
    }
    session.close().await;
    Ok(missed(seen, args.count, args.seconds, out))
}

/// The exit code of a command that counts messages. That some are missing is said: a script shows it to a person.
pub(super) fn missed(seen: u64, wanted: Option<u64>, seconds: Option<f64>, out: &mut Output) -> u8 {
    let Some(wanted) = wanted.filter(|wanted| seen < *wanted && !out.reader_gone()) else { return 0 };
    let time = seconds.map(|seconds| format!(" in {seconds} s")).unwrap_or_default();
    let text = format!("{seen} of {wanted} messages came{time}");
    out.complain(&text);
    out.describe(&text, Code::CallTimeout, 75);
    75
}

/// Ends when the platform is gone: a command is not an agent that outlives it.
async fn lost(session: &Session) {
    let mut look = tokio::time::interval(LOOK);
    while session.cx().connected() {
        look.tick().await;
    }
}

fn message(publication: &Publication) -> Value {
    publication
        .json()
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&publication.message).into_owned()))
}

fn as_json(p: &Publication) -> String {
    let line = serde_json::json!({
        "topic": p.topic, "sender": p.sender, "bus": p.bus, "headers": p.headers, "message": message(p)
    });
    line.to_string()
}

fn as_text(p: &Publication) -> String {
    let text = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
    format!(
        "{}  from {}  {}  {}",
        p.topic,
        p.sender,
        text(wire_json::to_string(&p.headers)),
        text(wire_json::to_string(&message(p)))
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_json_or_texts() {
        for (text, want) in [
            ("21.5", json!(21.5)),
            ("true", json!(true)),
            ("SupplyTemp", json!("SupplyTemp")),
            ("\"21\"", json!("21")),
            ("[1, {\"a\": null}]", json!([1, {"a": null}])),
            ("", json!("")),
            ("a/b", json!("a/b")),
        ] {
            assert_eq!(value(text), want, "{text}");
        }
        assert!(object("--kwargs", Some("[1]")).is_err() && object("--kwargs", Some("{")).is_err());
        assert!(object("--kwargs", None).unwrap().is_empty());
    }
}
