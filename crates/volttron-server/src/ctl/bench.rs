//! `vctl bench`: figures of this platform on this machine.

use clap::Args;
use serde_json::{Map, Value, json};

use super::numbers::seconds_of;
use super::output::Output;
use super::{Vctl, render, seconds};
use crate::ops::OpError;
use crate::ops::bench::{Figure, Subject, measure};

/// Shortest and longest time for one subject, in seconds.
const PERIOD_S: (f64, f64) = (0.1, 60.0);

/// Arguments of `vctl bench`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  vctl bench                  everything, about ten seconds\n  vctl bench rpc fsync\n  \
    vctl --json bench --for 10 pubsub\n\n\
    It runs beside whatever the platform does and loads it while it lasts. What it writes to the configuration store is \
    taken out again. `fsync` measures the disk of the home and needs no running platform."
)]
pub struct BenchArgs {
    /// What is measured; everything if not given
    #[arg(value_enum, value_name = "SUBJECT")]
    pub subjects: Vec<Subject>,
    /// How long each is measured, in seconds
    #[arg(
        long = "for",
        value_name = "SECS",
        default_value_t = 2.0,
        value_parser = seconds_of,
        allow_negative_numbers = true
    )]
    pub seconds: f64,
}

pub(super) async fn bench(vctl: &Vctl, args: &BenchArgs, out: &mut Output) -> Result<u8, OpError> {
    let all = [Subject::Rpc, Subject::Pubsub, Subject::Config, Subject::Fsync];
    let subjects = if args.subjects.is_empty() { &all[..] } else { &args.subjects };
    let period = seconds(args.seconds.clamp(PERIOD_S.0, PERIOD_S.1));
    let needs_platform = subjects.iter().any(|subject| *subject != Subject::Fsync);
    let session = if needs_platform { Some(vctl.connect().await?) } else { None };
    let mut report = Map::new();
    for subject in subjects {
        let figures = tokio::select! {
            figures = measure(vctl.home(), session.as_ref(), *subject, period) => figures?,
            // What is stored meanwhile clears itself up.
            _ = tokio::signal::ctrl_c(), if *subject != Subject::Config => return Ok(1),
        };
        let name = word(*subject);
        if vctl.json {
            report.insert(name.to_owned(), as_json(&figures));
        } else {
            out.line(name);
            for Figure { name, value, unit } in figures {
                out.line(&format!("  {name:<46} {:>12} {unit}", number(value)));
            }
        }
    }
    if vctl.json {
        out.print(&render::pretty(&Value::Object(report)));
    }
    if let Some(session) = session {
        session.close().await;
    }
    Ok(0)
}

fn word(subject: Subject) -> &'static str {
    match subject {
        Subject::Rpc => "rpc",
        Subject::Pubsub => "pubsub",
        Subject::Config => "config",
        Subject::Fsync => "fsync",
    }
}

fn as_json(figures: &[Figure]) -> Value {
    figures.iter().map(|f| json!({"name": f.name, "value": f.value, "unit": f.unit})).collect()
}

/// Three figures that say something.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || v.fract() == 0.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        for (value, text) in [(12345.6, "12346"), (3.0, "3"), (2.345, "2.35"), (0.1234, "0.123"), (0.0, "0")]
        {
            assert_eq!(number(value), text);
        }
    }
}
