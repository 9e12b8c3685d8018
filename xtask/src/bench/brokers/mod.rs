//! The bus beside brokers that do nothing but publish and subscribe: mosquitto (MQTT, QoS 0) and nats-server, each as
//! Debian packages it, without and with TLS; ours without and with CURVE. Same topic, same 1.1 KB, same window.
//!
//! Their clients are as small as the protocols allow and write many publications at once, so the figures flatter them.
//! There are no gates: a broker without identities, rights, answers and errors is a different thing.

mod server;
mod wire;

use std::{sync::atomic::Ordering, thread, time::Duration};

use serde_json::Value;

use super::{
    contestant::{Contestant, Kind, measure},
    frames::{Fan, TOPIC, publish_body},
    load::Progress,
    options::Options,
    process::Role,
    report::median,
    setup::Outcome,
};
use server::Server;
use wire::Client;

/// Which broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broker {
    Mosquitto,
    Nats,
}

impl Broker {
    const ALL: [Self; 2] = [Self::Mosquitto, Self::Nats];

    /// Name of the program and of Debian's package.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mosquitto => "mosquitto",
            Self::Nats => "nats-server",
        }
    }
}

const FANS: [(&str, Fan); 3] = [
    ("brokers: publish 1 to 10", Fan { publishers: 1, subscribers: 10, idle: 0 }),
    ("brokers: publish 1 to 50", Fan { publishers: 1, subscribers: 50, idle: 0 }),
    ("brokers: publish 50 to 1", Fan { publishers: 50, subscribers: 1, idle: 0 }),
];

/// Measures and prints.
pub fn run(options: &Options) -> Outcome<()> {
    let wanted: Vec<_> = FANS.iter().filter(|(name, _)| options.wants(name)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let missing: Vec<&str> =
        Broker::ALL.iter().filter(|b| !server::is_installed(**b)).map(|b| b.name()).collect();
    if !missing.is_empty() {
        println!("\nbrokers: left out; install with: apt-get install {}", missing.join(" "));
        return Ok(());
    }
    println!(
        "\n{:<28} {:>10} {:>12} {:>12} {:>12}   publishes/s",
        "case", "security", "mosquitto", "nats-server", "ours"
    );
    for (name, fan) in wanted {
        for secured in [false, true] {
            eprintln!("== {name}, secured: {secured} ({} rounds)", options.rounds);
            let mut rounds: Vec<[f64; 3]> = Vec::new();
            for _ in 0..options.rounds {
                let ours = measure(Kind::Publish(*fan), Contestant::Ours, secured, options.effort)?.value;
                let theirs = |broker| one(broker, secured, *fan, options.effort.throughput_ms);
                rounds.push([theirs(Broker::Mosquitto)?, theirs(Broker::Nats)?, ours]);
            }
            let of = |n: usize| median(rounds.iter().map(|r| r[n]));
            let security = if secured { "TLS/CURVE" } else { "-" };
            println!("{name:<28} {security:>10} {:>12.0} {:>12.0} {:>12.0}", of(0), of(1), of(2));
        }
    }
    Ok(())
}

fn one(broker: Broker, secured: bool, fan: Fan, duration_ms: u64) -> Outcome<f64> {
    let server = Server::start(broker, secured)?;
    let args =
        [broker.name().to_owned(), server.place(), duration_ms.to_string(), serde_json::to_string(&fan)?];
    let result: Value = serde_json::from_str(&Role::start("load-broker", "-", &args)?.line()?)?;
    Ok(result["per_second"].as_f64().ok_or("the load printed no figure")?)
}

/// The load's process: `BROKER PORT[,CERTIFICATE] MS FAN`.
pub fn load(broker: &str, place: &str, duration_ms: u64, fan: Fan) -> Outcome<()> {
    let broker = *Broker::ALL.iter().find(|b| b.name() == broker).ok_or("no such broker")?;
    let progress = Progress::new(fan);
    for n in 0..fan.subscribers {
        let mut client = Client::connect(broker, place, &format!("subscriber{n}"))?;
        client.subscribe(broker)?;
        let deliveries = progress.deliveries.clone();
        thread::spawn(move || {
            while client.delivery(broker).is_ok() {
                deliveries.fetch_add(1, Ordering::Release);
            }
        });
    }
    let mut publishers = (0..fan.publishers)
        .map(|n| Client::connect(broker, place, &format!("publisher{n}")))
        .collect::<Outcome<Vec<_>>>()?;
    let publication = wire::publication(broker, TOPIC, publish_body().as_bytes());
    let publishers = std::cell::RefCell::new(&mut publishers);
    progress.measure(
        duration_ms,
        |n| {
            let mut publishers = publishers.borrow_mut();
            let from = n as usize % publishers.len();
            publishers[from].queue(&publication)
        },
        || {
            for publisher in publishers.borrow_mut().iter_mut() {
                publisher.flush()?;
            }
            thread::sleep(Duration::from_micros(50));
            Ok(())
        },
    )
}
