//! The cases with their gates, and the order in which they are measured.

use super::{
    contestant::{Contestant, Figure, Kind, measure},
    options::Options,
    report::{self, Line, median},
    setup::Outcome,
};

/// Ours divided by libzmq's, at least or at most.
#[derive(Clone, Copy)]
enum Gate {
    AtLeast(f64),
    AtMost(f64),
}

struct Case {
    name: &'static str,
    kind: Kind,
    curve: bool,
    gate: Gate,
}

/// The targets of the first landing.
const CASES: [Case; 8] = [
    Case { name: "relay 256 B", kind: Kind::Relay, curve: false, gate: Gate::AtLeast(0.85) },
    Case { name: "relay 256 B, CURVE", kind: Kind::Relay, curve: true, gate: Gate::AtLeast(0.9) },
    Case { name: "publish 1 to 10", kind: Kind::Fanout, curve: false, gate: Gate::AtLeast(0.85) },
    Case { name: "publish 1 to 10, CURVE", kind: Kind::Fanout, curve: true, gate: Gate::AtLeast(0.85) },
    Case { name: "echo p50", kind: Kind::Echo, curve: false, gate: Gate::AtMost(1.3) },
    Case { name: "echo p50, CURVE", kind: Kind::Echo, curve: true, gate: Gate::AtMost(1.3) },
    Case { name: "call p50", kind: Kind::Call, curve: false, gate: Gate::AtMost(1.3) },
    Case { name: "call p50, CURVE", kind: Kind::Call, curve: true, gate: Gate::AtMost(1.3) },
];

/// Measures and prints. `false` when a gate is missed.
pub fn run(options: &Options) -> Outcome<bool> {
    let mut lines = Vec::new();
    for case in CASES.iter().filter(|case| options.wants(case.name)) {
        eprintln!("== {} ({} rounds)", case.name, options.rounds);
        lines.push(case.run(options)?);
    }
    if !lines.is_empty() {
        report::print(&lines);
    }
    Ok(lines.iter().all(|l| l.passed))
}

impl Case {
    fn run(&self, options: &Options) -> Outcome<Line> {
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
        let ratios: Vec<f64> = rounds.iter().map(|(raw, ours)| ours.value / raw.value).collect();
        let ratio = median(ratios.iter().copied());
        let (gate, passed) = match self.gate {
            Gate::AtLeast(target) => (format!(">= {target:.2}"), ratio >= target - options.tolerance),
            Gate::AtMost(target) => (format!("<= {target:.2}"), ratio <= target + options.tolerance),
        };
        let gate = if options.tolerance > 0.0 { format!("{gate} +-{:.2}", options.tolerance) } else { gate };
        let of = |pick: fn(&(Figure, Figure)) -> f64| median(rounds.iter().map(pick));
        if let Some(p99) =
            rounds.iter().map(|(raw, ours)| Some((raw.p99_us?, ours.p99_us?))).collect::<Option<Vec<_>>>()
        {
            let (raw, ours) = (median(p99.iter().map(|p| p.0)), median(p99.iter().map(|p| p.1)));
            eprintln!("   p99: libzmq {raw:.0} us, ours {ours:.0} us");
        }
        Ok(Line {
            case: self.name.to_owned(),
            unit: if matches!(self.kind, Kind::Call | Kind::Echo) { "us" } else { "/s" },
            raw: of(|r| r.0.value),
            ours: of(|r| r.1.value),
            ratio,
            range: (
                ratios.iter().copied().fold(f64::INFINITY, f64::min),
                ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ),
            raw_cpu_us: of(|r| r.0.router_cpu_us),
            ours_cpu_us: of(|r| r.1.router_cpu_us),
            gate,
            passed,
        })
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
