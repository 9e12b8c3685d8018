//! What can be asked of a bench run.

use super::{contestant::Effort, setup::Outcome};

/// Shared machines shift whole rounds by this much even in the median of five short ones; `--short` allows it, so that
/// CI fails on what got slower and not on its neighbours. The full run does not.
const SHORT_TOLERANCE: f64 = 0.12;

/// The options of `cargo xtask bench`.
pub struct Options {
    /// `--short`: fewer, shorter rounds and gates with room for noise, for CI.
    pub short: bool,
    /// `--rounds N`: how often each contestant is measured.
    pub rounds: usize,
    /// `--seconds S`: how long one throughput measurement takes.
    pub effort: Effort,
    /// `--only WORD`: the cases whose name contains it.
    only: Option<String>,
    /// How far a ratio may miss its gate.
    pub tolerance: f64,
    /// Without `--no-python` the Python platform is measured, too (once per case, with CURVE only).
    pub with_python: bool,
    /// Without `--no-gate` a missed goal is a failure.
    pub gated: bool,
}

impl Options {
    pub fn parse(args: &[String]) -> Outcome<Self> {
        let mut options = Self {
            short: false,
            rounds: 7,
            effort: Effort { throughput_ms: 3000, calls: 8000 },
            only: None,
            tolerance: 0.0,
            with_python: true,
            gated: true,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--short" => {
                    options.short = true;
                    options.rounds = 5;
                    options.effort = Effort { throughput_ms: 700, calls: 2000 };
                    options.tolerance = SHORT_TOLERANCE;
                }
                "--rounds" => options.rounds = value()?.parse()?,
                "--seconds" => options.effort.throughput_ms = (value()?.parse::<f64>()? * 1000.0) as u64,
                "--only" => options.only = Some(value()?.clone()),
                "--no-python" => options.with_python = false,
                "--no-gate" => options.gated = false,
                other => return Err(format!("unknown option {other}").into()),
            }
        }
        Ok(options)
    }

    /// Whether the case is to be measured.
    pub fn wants(&self, case: &str) -> bool {
        self.only.as_ref().is_none_or(|word| case.contains(word.as_str()))
    }
}
