//! Shows device readings as they pass over the bus and, now and then, what the historian has of them.
//!
//! ```text
//! AGENT_VIP_IDENTITY=me AGENT_PUBLICKEY=... AGENT_SECRETKEY=... VOLTTRON_SERVERKEY=... \
//!     cargo run -p volttron-client --example watch -- devices/campus
//! ```
//! `cargo xtask demo` runs it. Ends with Ctrl-C, or after so many messages when a number follows the prefix.

#![allow(clippy::print_stdout)]

use serde_json::{Map, Value};
use volttron_client::link::zmq::ZmqConnector;
use volttron_client::utils::home::Home;
use volttron_client::utils::keys::KeyPair;
use volttron_client::{ConnectOptions, Connection, Cx, Publication};

/// The historian is asked after each so many messages.
const ASK_EVERY: u64 = 5;

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let prefix = arguments.next().unwrap_or_else(|| "devices/".into());
    let most: u64 = arguments.next().map_or(Ok(u64::MAX), |n| n.parse())?;
    let connection = connect().await?;
    let mut readings = connection.subscribe(&prefix).await?;
    println!("connected; waiting for {prefix}... (Ctrl-C ends)");
    let mut seen = 0;
    while seen < most {
        let publication = tokio::select! {
            next = readings.next() => next,
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(publication) = publication else { break };
        seen += 1;
        if let Some(values) = show(&publication)
            && seen % ASK_EVERY == 0
        {
            ask_historian(&connection, &publication.topic, &values).await;
        }
    }
    connection.close().await;
    Ok(())
}

async fn connect() -> Result<Connection, Failure> {
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let keys = KeyPair {
        public: variable("AGENT_PUBLICKEY")?.parse()?,
        secret: variable("AGENT_SECRETKEY")?.parse()?,
    };
    let address =
        std::env::var("VOLTTRON_VIP_ADDR").or_else(|_| Home::from_env().map(|h| h.default_vip_socket()))?;
    let connector =
        ZmqConnector::new(address.parse()?)?.keys(keys).serverkey(variable("VOLTTRON_SERVERKEY")?.parse()?);
    Ok(Connection::open(ConnectOptions::new(connector).identity(variable("AGENT_VIP_IDENTITY")?)).await?)
}

/// Prints one `all` message as a line; its values.
fn show(publication: &Publication) -> Option<Map<String, Value>> {
    let message: Vec<Map<String, Value>> = publication.json().ok()?;
    let [values, meta] = <[Map<String, Value>; 2]>::try_from(message).ok()?;
    let time = publication.headers.get("TimeStamp").and_then(Value::as_str).unwrap_or_default();
    println!("\n{}  {}", time.get(11..19).unwrap_or(time), publication.topic);
    for (point, value) in &values {
        let units = meta.get(point).and_then(|m| m["units"].as_str()).unwrap_or_default();
        println!("    {point:<32} {:>12} {units}", value.to_string());
    }
    Some(values)
}

/// Prints the last values that the historian has of the first point.
async fn ask_historian(cx: &Cx, topic: &str, values: &Map<String, Value>) {
    let Some(point) = values.keys().next() else { return };
    let device = topic.trim_start_matches("devices/").trim_end_matches("/all");
    let topic = format!("{device}/{point}");
    let call = cx.call("platform.historian", "query").named("topic", &topic);
    let answer = call.named("count", 5).named("order", "LAST_TO_FIRST").send::<Value>().await;
    match answer {
        Ok(answer) => {
            println!("\n    historian, last values of {topic}:");
            for row in answer["values"].as_array().into_iter().flatten() {
                println!("      {} {}", row[0].as_str().unwrap_or_default(), row[1]);
            }
        }
        Err(error) => println!("\n    historian: {error}"),
    }
}
