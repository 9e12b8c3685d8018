//! `volttron --check-config`: reads everything that a start would read and reports all that is wrong with it at once.
//!
//! Nothing is written, nothing is bound, and a platform that runs in the home is not spoken to.

mod agents;
mod files;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};
use volttron_utils::home::Home;

use crate::options::check::{Checked, Fault, check, check_text};

/// Checks what this command line of `volttron` would start with; exit code 0 if it would start as it is meant.
pub fn main(line: &[OsString], json: bool) -> ExitCode {
    let Checked { mut faults, files, home, options } = check(line);
    let mut read = files;
    if let Some(home) = &home {
        let more = files::check(home, options.as_ref());
        faults.extend(more.faults);
        read.extend(more.files);
        let more = agents::check(home);
        faults.extend(more.faults);
        read.extend(more.files);
    }
    let serious = faults.iter().filter(|fault| fault.serious).count();
    let text = if json {
        let value = json!({
            "ok": serious == 0,
            "home": home.as_ref().map(Home::path),
            "problems": faults.iter().map(as_json).collect::<Vec<_>>(),
            "files": read,
        });
        serde_json::to_string_pretty(&value).unwrap_or_else(|_| Value::Null.to_string())
    } else {
        let mut text = String::new();
        for fault in &faults {
            let _ = writeln!(text, "{}", as_text(fault));
        }
        let warnings = faults.len() - serious;
        let place = home.map_or_else(String::new, |home| format!(" in {}", home.path().display()));
        let _ = match (serious, warnings) {
            (0, 0) => write!(text, "{} files{place} are fine", read.len()),
            _ => write!(text, "{serious} errors, {warnings} warnings; {} files{place} were read", read.len()),
        };
        text
    };
    let _ = writeln!(std::io::stdout(), "{text}");
    ExitCode::from(u8::from(serious > 0))
}

/// Why a platform would not start in this home if its configuration file had this text.
pub(crate) fn settings(home: &Home, text: &str) -> Vec<String> {
    check_text(home, text).faults.iter().filter(|fault| fault.serious).map(as_text).collect()
}

/// `FILE:LINE:COLUMN: error: WHAT`, as editors and people know it.
fn as_text(fault: &Fault) -> String {
    let mut text = String::new();
    if let Some(file) = &fault.file {
        let _ = write!(text, "{}:", file.display());
        for number in [fault.line, fault.column].into_iter().flatten() {
            let _ = write!(text, "{number}:");
        }
        text.push(' ');
    }
    let kind = if fault.serious { "error" } else { "warning" };
    let _ = write!(text, "{kind}: {}", fault.what.trim_end());
    if let Some(hint) = &fault.hint {
        let _ = write!(text, "\n    {hint}");
    }
    text
}

fn as_json(fault: &Fault) -> Value {
    json!({
        "severity": if fault.serious { "error" } else { "warning" },
        "file": fault.file,
        "line": fault.line,
        "column": fault.column,
        "what": fault.what.trim_end(),
        "try": fault.hint,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn problems_are_told_as_compilers_tell_them() {
        let fault =
            Fault::new("unknown option: a").at(Path::new("/h/config")).place(3, 1).hint("did you mean b?");
        assert_eq!(as_text(&fault), "/h/config:3:1: error: unknown option: a\n    did you mean b?");
        assert_eq!(as_text(&Fault::new("x").at(Path::new("/f")).warning()), "/f: warning: x");
        assert_eq!(as_json(&Fault::new("x"))["line"], Value::Null);
    }
}
