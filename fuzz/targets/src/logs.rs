//! Bytes as what an agent writes to its pipes, and as the file that says how to launch it.

use volttron_server::supervisor::installed::Manifest;
use volttron_utils::logging::{Level, Record, raw_stderr};

/// The bytes as lines of an agent's output. A record that is recognised is written on one line that reads the same.
pub fn log_lines(data: &[u8]) {
    for line in String::from_utf8_lossy(data).lines() {
        let (_, text) = raw_stderr(line);
        assert!(line.ends_with(text));
        let _ = Level::parse(line);
        let Some(record) = Record::parse(line) else { continue };
        assert!(record.when().as_second() >= 0, "never before 1970");
        let written = record.to_line();
        assert!(written.is_ascii() && !written.contains('\n'), "{written}");
        assert_eq!(Record::parse(&written).as_ref(), Some(&record), "{written}");
        assert!(record.text().len() <= 8 * line.len() + 8, "{}", record.text());
        assert_eq!(Level::from_number(record.level().number()), record.level());
    }
}

/// The bytes as `agent.json`. What is accepted is written in a form that reads as the same.
pub fn agent_json(data: &[u8]) {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(data) else { return };
    let written = serde_json::to_value(&manifest).expect("manifests can be written");
    let again: Manifest = serde_json::from_value(written.clone()).expect("what is written can be read");
    assert_eq!(serde_json::to_value(&again).ok(), Some(written));
}
