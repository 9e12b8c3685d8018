//! Outputs without what differs from run to run.

/// Replaces what `wanted` accepts among the runs of `of` letters by `by`.
fn words(text: &str, of: impl Fn(char) -> bool, wanted: impl Fn(&str) -> bool, by: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(&of) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c| !of(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        out.push_str(before);
        out.push_str(if wanted(word) { by } else { word });
        rest = after;
    }
    out + rest
}

fn is_uuid(word: &str) -> bool {
    word.len() == 36 && word.chars().filter(|c| *c == '-').count() == 4
}

/// `2026-11-20T17:23:54.250000`
fn is_time(word: &str) -> bool {
    let bytes = word.as_bytes();
    word.len() >= 19 && bytes[4] == b'-' && bytes[10] == b'T' && bytes[13] == b':'
}

/// Uuids, times, keys, process ids, and the version of the agent.
pub fn volatile(text: &str) -> String {
    let text = words(text, |c| c.is_ascii_hexdigit() || c == '-', is_uuid, "UUID");
    let text = words(&text, |c| c.is_ascii_digit() || "-T:.+".contains(c), is_time, "TIME");
    let text = words(&text, |c| c.is_ascii_alphanumeric() || c == '_' || c == '-', |w| w.len() == 43, "KEY");
    let text = words(
        &text,
        |c| c.is_ascii_alphanumeric() || "-._".contains(c),
        |w| w.strip_prefix("volttron-listener-").is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit())),
        "AGENT-VERSION",
    );
    let text = number_after(&text, "running [", "PID");
    number_after(&text, "\"line_number\": ", "N")
}

/// Replaces the number that follows `mark`.
fn number_after(text: &str, mark: &str, by: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(mark) {
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        out = out + before + mark + by;
        rest = &after[digits..];
    }
    out + rest
}

/// Tables whose columns are as wide as a version: one blank between columns, and of the uuid no more than that it is there.
pub fn columns(text: &str) -> String {
    let line = |line: &str| {
        if !line.contains("AGENT") || line.starts_with(['{', ' ']) && !line.trim_start().starts_with("AGENT")
        {
            return line.to_owned();
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [first, rest @ ..] if first.len() <= 8 && !["UUID", "AGENT"].contains(first) => {
                format!("U {}", rest.join(" "))
            }
            words => words.join(" "),
        }
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_changes_is_masked_and_the_rest_stays() {
    let uuid = "a21ab2b2-7b9d-4cc6-aa3d-ae0e098cec6b";
    let text =
        format!("{uuid} at 2026-11-20T17:23:54.250000 volttron-listener-0.2.0rc0 running [12] x-y 0.1");
    assert_eq!(volatile(&text), "UUID at TIME AGENT-VERSION running [PID] x-y 0.1");
    assert_eq!(volatile(&"k".repeat(43)), "KEY");
    assert_eq!(columns("a1   AGENT-VERSION  x  \nother  text"), "U AGENT-VERSION x\nother  text");
}
