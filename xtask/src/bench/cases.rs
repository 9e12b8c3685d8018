//! The cases with their gates, and the order in which they are measured.

use super::{
    contestant::{Contestant, Figure, Kind, Python, measure},
    frames::Fan,
    options::Options,
    report::{self, Line, median},
    setup::Outcome,
};
use crate::test_peers;

/// Ours divided by libzmq's, at least or at most; or shown only.
#[derive(Clone, Copy)]
enum Gate {
    AtLeast(f64),
    AtMost(f64),
    None,
}

struct Case {
    name: &'static str,
    kind: Kind,
    curve: bool,
    gate: Gate,
    /// Most processor time per message, as a multiple of libzmq's.
    cpu: Option<f64>,
}

const fn case(name: &'static str, kind: Kind, curve: bool, gate: Gate) -> Case {
    Case { name, kind, curve, gate, cpu: None }
}

const fn fan(publishers: usize, subscribers: usize, idle: usize) -> Kind {
    Kind::Publish(Fan { publishers, subscribers, idle })
}

use Gate::{AtLeast, AtMost};

const CASES: [Case; 20] = [
    Case { cpu: Some(1.2), ..case("relay 256 B", Kind::Relay(256), false, AtLeast(0.85)) },
    Case { cpu: Some(1.2), ..case("relay 256 B, CURVE", Kind::Relay(256), true, AtLeast(0.9)) },
    case("relay 100 B, CURVE", Kind::Relay(100), true, AtLeast(0.85)),
    case("relay 1 KB, CURVE", Kind::Relay(1024), true, AtLeast(0.85)),
    case("relay 16 KB, CURVE", Kind::Relay(16 * 1024), true, AtLeast(0.85)),
    case("relay 1 MB, CURVE", Kind::Relay(1024 * 1024), true, AtLeast(0.85)),
    case("publish 1 to 10", fan(1, 10, 0), false, AtLeast(0.85)),
    case("publish 1 to 10, CURVE", fan(1, 10, 0), true, AtLeast(0.85)),
    case("publish 1 to 50", fan(1, 50, 0), false, AtLeast(0.85)),
    case("publish 1 to 50, CURVE", fan(1, 50, 0), true, AtLeast(0.85)),
    // The bare loop does not answer for a subscription, nor does it look for one: no gate.
    case("publish 50 to 1", fan(50, 1, 0), false, Gate::None),
    case("publish 50 to 1, CURVE", fan(50, 1, 0), true, Gate::None),
    case("publish 1 to 3", fan(1, 3, 0), false, Gate::None),
    case("echo p50", Kind::Echo, false, AtMost(1.3)),
    case("echo p50, CURVE", Kind::Echo, true, AtMost(1.3)),
    case("call p50", Kind::Call, false, AtMost(1.3)),
    case("call p50, CURVE", Kind::Call, true, AtMost(1.3)),
    case("calls, 64 in flight, CURVE", Kind::Calls, true, Gate::None),
    // Last, because the Python platform does not recover from it.
    case("publish 1 to 3 of 10,003", fan(1, 3, 10_000), false, Gate::None),
    case("publish 1 to 3 of 10,003, CURVE", fan(1, 3, 10_000), true, Gate::None),
];

/// Measures and prints. `false` when a gate is missed.
pub fn run(options: &Options) -> Outcome<bool> {
    let cases: Vec<&Case> = CASES.iter().filter(|case| options.wants(case.name)).collect();
    if cases.is_empty() {
        return Ok(true);
    }
    let python = match options.with_python && cases.iter().any(|case| case.curve) {
        true => Some(Python::start(&test_peers::set_up()?.python)?),
        false => None,
    };
    let mut lines = Vec::new();
    for case in cases {
        eprintln!("== {} ({} rounds)", case.name, options.rounds);
        lines.push(case.run(options, python.as_ref())?);
    }
    report::print(&lines);
    Ok(lines.iter().all(|l| l.passed))
}

impl Case {
    fn run(&self, options: &Options, python: Option<&Python>) -> Outcome<Line> {
        let mut rounds: Vec<(Figure, Figure)> = Vec::new();
        for round in 0..options.rounds {
            let measure = |who| measure(self.kind, who, self.curve, options.effort);
            // Whoever goes first meets a cooler machine.
            let pair = if first_is_raw(round) {
                let raw = measure(Contestant::Raw)?;
                (raw, measure(Contestant::Ours)?)
            } else {
                let ours = measure(Contestant::Ours)?;
                (measure(Contestant::Raw)?, ours)
            };
            eprintln!(
                "   libzmq {:>9.0}   ours {:>9.0}   {:.3}",
                pair.0.value,
                pair.1.value,
                pair.1.value / pair.0.value
            );
            rounds.push(pair);
        }
        // Once: it is not the one that has to be near.
        let theirs = python.filter(|_| self.curve).and_then(|python| {
            let figure = measure(self.kind, Contestant::Python(python), true, options.effort);
            figure.inspect_err(|e| eprintln!("   Python platform: {e}")).ok().map(|f| f.value)
        });
        let ratios: Vec<f64> = rounds.iter().map(|(raw, ours)| ours.value / raw.value).collect();
        let ratio = median(ratios.iter().copied());
        let of = |pick: fn(&(Figure, Figure)) -> f64| median(rounds.iter().map(pick));
        if let Some(p99) =
            rounds.iter().map(|(raw, ours)| Some((raw.p99_us?, ours.p99_us?))).collect::<Option<Vec<_>>>()
        {
            let (raw, ours) = (median(p99.iter().map(|p| p.0)), median(p99.iter().map(|p| p.1)));
            eprintln!("   p99: libzmq {raw:.0} us, ours {ours:.0} us");
        }
        let cpu_ratio = median(rounds.iter().map(|(raw, ours)| ours.router_cpu_us / raw.router_cpu_us));
        let (gate, passed) = self.judge(ratio, cpu_ratio, options.tolerance);
        Ok(Line {
            case: self.name.to_owned(),
            unit: if matches!(self.kind, Kind::Call | Kind::Echo) { "us" } else { "/s" },
            raw: of(|r| r.0.value),
            ours: of(|r| r.1.value),
            theirs,
            ratio,
            range: (
                ratios.iter().copied().fold(f64::INFINITY, f64::min),
                ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ),
            raw_cpu_us: of(|r| r.0.router_cpu_us),
            ours_cpu_us: of(|r| r.1.router_cpu_us),
            cpu_ratio,
            gate,
            passed,
        })
    }

    /// What is demanded, in words, and whether it is met.
    fn judge(&self, ratio: f64, cpu_ratio: f64, tolerance: f64) -> (String, bool) {
        let (mut gate, mut passed) = match self.gate {
            AtLeast(target) => (format!(">= {target:.2}"), ratio >= target - tolerance),
            AtMost(target) => (format!("<= {target:.2}"), ratio <= target + tolerance),
            Gate::None => ("-".to_owned(), true),
        };
        if let Some(most) = self.cpu {
            gate = format!("{gate}, cpu <= {most:.1}");
            // Ticks of 10 ms: short measurements are too coarse to be judged.
            passed &= tolerance > 0.0 || cpu_ratio <= most;
        }
        if tolerance > 0.0 && gate != "-" {
            gate = format!("{gate} +-{tolerance:.2}");
        }
        (gate, passed)
    }
}

/// A shuffled but balanced order: within two rounds each contestant goes first once, which one is drawn.
fn first_is_raw(round: usize) -> bool {
    use std::sync::OnceLock;
    static DRAW: OnceLock<u64> = OnceLock::new();
    let draw = *DRAW.get_or_init(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // The low bits of the clock are as good as dice here.
        now.map_or(0, |t| u64::from(t.subsec_nanos()) / 7)
    });
    ((draw >> (round / 2 % 32)) & 1 == 1) ^ (round % 2 == 1)
}
