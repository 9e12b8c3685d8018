//! `vctl watch`: every message that passes the bus, as it passes; `vctl metrics`: how much of everything.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use volttron_client::utils::jsonrpc::Params;

use super::numbers::{seconds_of, whole};
use super::output::Output;
use super::{Vctl, render};
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
}

pub(super) async fn watch(vctl: &Vctl, args: &WatchArgs, out: &mut Output) -> Result<u8, OpError> {
    // One that is too far away is none.
    let until = args.seconds.and_then(|number| std::time::Instant::now().checked_add(super::seconds(number)));
    let session = vctl.connect().await?;
    let filter = json!({
        "peers": args.peers, "subsystem": args.subsystem, "topic": args.topic, "exclude": session.cx().identity(),
    });
    let Value::Object(filter) = filter else { return Ok(1) };
    let id = session.control("watch.open").params(Params::new(Vec::new(), filter)).send_value().await?;
    let (mut seen, mut lost) = (0, 0);
    while args.count.is_none_or(|count| seen < count) && !out.reader_gone() {
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
    Ok(super::bus::missed(seen, args.count, args.seconds, out))
}

pub(super) async fn metrics(vctl: &Vctl, out: &mut Output) -> Result<u8, OpError> {
    let session = vctl.connect().await?;
    let text = session.control("metrics").send_value().await?;
    session.close().await;
    let text = text.as_str().unwrap_or_default();
    if vctl.json {
        out.print(&render::pretty(&families(text)));
    } else {
        out.print(text);
    }
    Ok(0)
}

/// The families of an OpenMetrics text, each with its samples.
fn families(text: &str) -> Value {
    let mut families: Vec<Value> = Vec::new();
    for line in text.lines() {
        if let Some(about) = line.strip_prefix("# ") {
            let mut words = about.splitn(3, ' ');
            let (Some(key @ ("HELP" | "TYPE" | "UNIT")), Some(name)) = (words.next(), words.next()) else {
                continue;
            };
            if families.last().is_none_or(|family| family["name"] != name) {
                families.push(json!({"name": name, "samples": []}));
            }
            if let Some(family) = families.last_mut() {
                family[key.to_ascii_lowercase()] = words.next().unwrap_or_default().into();
            }
        } else if let (Some(sample), Some(family)) = (sample(line), families.last_mut())
            && let Some(samples) = family["samples"].as_array_mut()
        {
            samples.push(sample);
        }
    }
    json!({"families": families})
}

/// `name{label="text"} value`
fn sample(line: &str) -> Option<Value> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, mut rest) = series.split_once('{').map_or((series, ""), |(name, rest)| (name, rest));
    let mut labels = serde_json::Map::new();
    while let Some((label, more)) = rest.split_once("=\"") {
        let mut text = String::new();
        let mut letters = more.chars();
        while let Some(letter) = letters.next().filter(|&letter| letter != '"') {
            let escaped = (letter == '\\').then(|| letters.next()).flatten();
            text.push(escaped.map_or(letter, |letter| if letter == 'n' { '\n' } else { letter }));
        }
        labels.insert(label.to_owned(), text.into());
        rest = letters.as_str().trim_start_matches(',');
    }
    // What JSON has no number for stays a text: NaN, +Inf.
    let value = value.parse::<serde_json::Number>().map_or_else(|_| Value::from(value), Value::Number);
    Some(json!({"name": name, "labels": labels, "value": value}))
}

/// What `vctl stats` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatsVerb {
    /// Say whether it counts
    Status,
    /// Begin to count, from nothing
    Enable,
    /// Count no more
    Disable,
    /// Show the counts in one line of JSON
    Dump,
    /// Show the counts over several lines
    Pprint,
}

pub(super) async fn stats(vctl: &Vctl, verb: StatsVerb, out: &mut Output) -> Result<u8, OpError> {
    let session = vctl.connect().await?;
    let method = match verb {
        StatsVerb::Enable => Some("stats.enable"),
        StatsVerb::Disable => Some("stats.disable"),
        _ => None,
    };
    if let Some(method) = method {
        session.control(method).send_value().await?;
    }
    if matches!(verb, StatsVerb::Dump | StatsVerb::Pprint) {
        let counts = session.control("stats.get").send_value().await?;
        if verb == StatsVerb::Dump && !vctl.json {
            out.line(&counts.to_string());
        } else {
            out.print(&render::pretty(&counts));
        }
    } else {
        let enabled: bool = session.control("stats.enabled").send().await?;
        if vctl.json {
            out.print(&render::pretty(&json!({"enabled": enabled})));
        } else {
            out.line(if enabled { "enabled" } else { "disabled" });
        }
    }
    session.close().await;
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
    fn samples_keep_names_labels_and_values() {
        let text = "# HELP a_total Of \"a\".\n# TYPE a counter\na_total{x=\"1\",y=\"q\\\"\\n,z=\"} 3\n# TYPE b gauge\nb NaN\n# EOF\n";
        let all = families(text);
        assert_eq!(all["families"].as_array().map(Vec::len), Some(3), "{all}");
        assert_eq!(
            all["families"][1]["samples"][0],
            json!({"name": "a_total", "labels": {"x": "1", "y": "q\"\n,z="}, "value": 3})
        );
        assert_eq!(all["families"][2]["samples"][0]["value"], "NaN");
    }

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
