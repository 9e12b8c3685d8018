//! `vctl doctor`: limits in, findings out.

use std::time::Duration;

use clap::Args;

use super::numbers::{milliseconds_of, seconds_of};
use super::output::Output;
use super::{Vctl, render};
use crate::ops::OpError;
use crate::ops::doctor::{Diagnosis, Finding, Limits, run};

/// Options of `vctl doctor`.
#[derive(Args, Debug)]
#[command(
    after_help = "Works with the platform up or down, changes nothing, and takes about a second at most.\n\
    Exit code: 0 all well (hints do not count), 1 warnings, 2 faults.\n\n\
    Examples:\n  \
    vctl doctor\n  \
    vctl --json doctor                 for monitoring: level, findings with code and fix, figures\n  \
    vctl doctor --max-fsync-ms 10      warn of a disk that is slower\n  \
    vctl doctor --min-free 2G          warn when less room is left\n  \
    vctl explain VT2005                more about a finding"
)]
pub struct DoctorArgs {
    /// Warn when the disk of the home has less room than this, such as 500M or 2G; otherwise 5 % or 256 MiB, whichever is less
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    min_free: Option<u64>,
    /// Warn when the disk takes longer than this to keep a small write (median), in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 50.0, value_parser = milliseconds_of)]
    max_fsync_ms: f64,
    /// Warn of agents that have sent no heartbeat for so many seconds
    #[arg(
        long,
        value_name = "SECS",
        default_value_t = 180.0,
        value_parser = seconds_of,
        allow_negative_numbers = true
    )]
    heartbeat_age: f64,
}

/// Bytes, with K, M, G or T for powers of 1024.
fn parse_size(text: &str) -> Result<u64, String> {
    let upper = text.trim().to_ascii_uppercase();
    let upper = upper.strip_suffix("IB").or(upper.strip_suffix('B')).unwrap_or(&upper);
    let (digits, shift) = match upper.chars().last() {
        Some('K') => (&upper[..upper.len() - 1], 10),
        Some('M') => (&upper[..upper.len() - 1], 20),
        Some('G') => (&upper[..upper.len() - 1], 30),
        Some('T') => (&upper[..upper.len() - 1], 40),
        _ => (upper, 0),
    };
    let number: u64 = digits.trim().parse().map_err(|_| "a size such as 500M or 2G is needed".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "that is more than any disk has".to_owned())
}

pub(super) async fn doctor(vctl: &Vctl, args: &DoctorArgs, out: &mut Output) -> Result<u8, OpError> {
    let time = |name: &str, seconds: f64| {
        Duration::try_from_secs_f64(seconds).map_err(|e| OpError::Usage(format!("{name}: {e}")))
    };
    let limits = Limits {
        min_free_bytes: args.min_free,
        max_fsync: time("--max-fsync-ms", args.max_fsync_ms / 1000.0)?,
        heartbeat_age: time("--heartbeat-age", args.heartbeat_age)?,
    };
    let diagnosis = run(&vctl.target, limits).await;
    if vctl.json {
        out.print(&render::pretty(&diagnosis.to_json(vctl.home().path())));
    } else {
        for finding in &diagnosis.findings {
            out.print(&shown(finding));
        }
        out.line(&summary(&diagnosis));
    }
    Ok(diagnosis.exit_code())
}

fn shown(finding: &Finding) -> String {
    let Finding { code, level, what, why, fix, .. } = finding;
    format!("{:<8} {code}  {what}\n{:17}why: {why}\n{:17}fix: {fix}\n\n", level.word().to_uppercase(), "", "")
}

fn summary(diagnosis: &Diagnosis) -> String {
    use crate::ops::doctor::Level;
    let count = |level: Level, one: &str| {
        let n = diagnosis.findings.iter().filter(|f| f.level == level).count();
        format!("{n} {one}{}", if n == 1 { "" } else { "s" })
    };
    let platform = match diagnosis.running {
        Some(pid) => format!("the platform runs (pid {pid})"),
        None => "the platform does not run".to_owned(),
    };
    let fsync = match diagnosis.measured.get("fsync_ms").and_then(serde_json::Value::as_f64) {
        Some(ms) => format!("; a write with fsync takes {ms:.1} ms"),
        None => String::new(),
    };
    format!(
        "{}, {}, {}: {} checks in {} ms; {platform}{fsync}",
        count(Level::Fault, "fault"),
        count(Level::Warning, "warning"),
        count(Level::Hint, "hint"),
        diagnosis.checks,
        diagnosis.took.as_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, expected) in
            [("0", 0), ("500M", 500 << 20), ("2g", 2 << 30), ("1 KiB", 1024), ("3TB", 3 << 40)]
        {
            assert_eq!(parse_size(text), Ok(expected), "{text}");
        }
        for text in ["", "G", "-1", "1.5G", "99999999999999T"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
