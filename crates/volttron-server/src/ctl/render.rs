//! Tables and JSON of `vctl` (cli.md section 4.2). Pure: data in, text out. Headings and rows are separate texts,
//! because headings go to standard error.

use std::fmt::Write;

use serde_json::{Map, Value, json};
use volttron_utils::json as pyjson;

use crate::ops::agents::{AgentRow, StatusRow};
use crate::ops::select::short_length;

/// A table as text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The line of headings.
    pub heading: String,
    /// One line per agent.
    pub rows: String,
}

/// `list` and `auth publickey`: agents and one more column, right-aligned.
pub fn list(rows: &[(AgentRow, String)], last: &str, min_uuid: usize) -> Table {
    let agents = || rows.iter().map(|(agent, _)| agent);
    let n = short_length(agents().map(|a| a.uuid.as_str()), min_uuid);
    let name = width(agents().map(|a| &a.name), 5);
    let identity = width(agents().map(|a| &a.identity), 3);
    let tag = width(agents().map(|a| &a.tag), 3);
    let line = |uuid: &str, a: &str, b: &str, c: &str, d: &str| {
        format!("{uuid:n$} {a:name$} {b:identity$} {c:tag$} {d:>6}\n")
    };
    Table {
        heading: line("", "AGENT", "IDENTITY", "TAG", last),
        rows: rows
            .iter()
            .map(|(a, cell)| line(cut(&a.uuid, n), &a.name, &a.identity, &a.tag, cell))
            .collect(),
    }
}

/// `status`.
/// As the original prints it; `wide` adds what the agents use.
pub fn status(rows: &[StatusRow], min_uuid: usize, wide: bool) -> Table {
    let n = short_length(rows.iter().map(|r| r.agent.uuid.as_str()), min_uuid);
    let uuid_width = n.max("UUID".len());
    let name = width(rows.iter().map(|r| &r.agent.name), 5);
    let identity = width(rows.iter().map(|r| &r.agent.identity), "IDENTITY".len());
    let tag = width(rows.iter().map(|r| &r.agent.tag), 3);
    // Only where agents have users of their own, and only filled for those that run.
    let isolated = rows.iter().any(|r| r.user.is_some());
    let user = |r: &StatusRow| r.user.clone().filter(|_| r.is_running()).unwrap_or_default();
    let user_width = rows.iter().map(|r| user(r).len()).max().unwrap_or(0).max("AGENT_USER".len());
    let health_width =
        if wide { rows.iter().map(|r| r.health_word().len()).max().unwrap_or(0).max(6) } else { 0 };
    let line = |a: &AgentRow, uuid: &str, user: &str, status: &str, health: &str, uses: [&str; 3]| {
        let user = if isolated { format!("{user:user_width$} ") } else { String::new() };
        let AgentRow { name: n, identity: i, tag: t, .. } = a;
        format!(
            "{uuid:uuid_width$} {n:name$} {i:identity$} {t:tag$} {user}{status:<15} {health:<health_width$}"
        ) + &if wide { format!(" {:>8} {:>8} {:>6}\n", uses[0], uses[1], uses[2]) } else { "\n".to_owned() }
    };
    let row = |r: &StatusRow| {
        let uses = uses(r);
        let uses = uses.each_ref().map(String::as_str);
        line(&r.agent, cut(&r.agent.uuid, n), &user(r), &r.status(), &r.health_word(), uses)
    };
    let headings = AgentRow {
        name: "AGENT".to_owned(),
        identity: "IDENTITY".to_owned(),
        tag: "TAG".to_owned(),
        ..AgentRow::default()
    };
    Table {
        heading: line(&headings, "UUID", "AGENT_USER", "STATUS", "HEALTH", ["RESTARTS", "MEM", "CPU"]),
        rows: rows.iter().map(row).collect(),
    }
}

/// Restarts, memory and processor of an agent, as far as the platform tells.
fn uses(row: &StatusRow) -> [String; 3] {
    let Some(report) = &row.report else { return Default::default() };
    let usage = &report["usage"];
    let memory = usage["memory_bytes"].as_f64().map(|bytes| match bytes / f64::from(1 << 20) {
        mib if mib < 1024.0 => format!("{mib:.1}M"),
        mib => format!("{:.2}G", mib / 1024.0),
    });
    let cpu = usage["cpu_percent"].as_f64().map(|percent| format!("{percent:.1}%"));
    [report["restarts"].to_string(), memory.unwrap_or_default(), cpu.unwrap_or_default()]
}

/// Why agents ended or do not start, a line for each that did.
pub fn reasons(rows: &[StatusRow]) -> String {
    let mut text = String::new();
    for (row, report) in rows.iter().filter_map(|row| Some((row, row.report.as_ref()?))) {
        let identity = &row.agent.identity;
        if let Some(why) = report["launch_error"].as_str() {
            let _ = writeln!(text, "{identity}: cannot be started: {why}");
        }
        let crash = &report["last_crash"];
        let Some(how) = crash["how"].as_str() else { continue };
        let _ = write!(text, "{identity}: crashed {} with {how}", crash["at"].as_str().unwrap_or_default());
        if let Some(error) = crash["last_error"].as_str() {
            let _ = write!(text, ": {error}");
        }
        let after = match report["state"].as_str() {
            Some("failed") => "; it is not restarted any more".to_owned(),
            Some("backoff") => "; it is restarted soon".to_owned(),
            _ => String::new(),
        };
        let _ = writeln!(text, "{after} (vctl logs {identity})");
    }
    text
}

/// A plain table: each column as wide as its widest cell, the last one as it is.
pub fn columns<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> Table {
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for (at, cell) in cells.into_iter().enumerate() {
            let wide = width(rows.iter().map(|row| &row[at]), headings[at].len());
            let pad = if at + 1 == N { 0 } else { wide + 1 };
            let _ = write!(line, "{cell:pad$}");
        }
        line + "\n"
    };
    Table {
        heading: line(headings),
        rows: rows.iter().map(|row| line(row.each_ref().map(String::as_str))).collect(),
    }
}

/// `list --json` and `auth publickey --json`.
pub fn list_json(rows: &[(AgentRow, String)], last: &str) -> String {
    let all: Map<String, Value> = rows
        .iter()
        .map(|(agent, cell)| {
            let mut object = base(agent);
            object.insert(last.to_owned(), cell.clone().into());
            (agent.identity.clone(), object.into())
        })
        .collect();
    pretty(&Value::Object(all))
}

/// `status --json`.
pub fn status_json(rows: &[StatusRow]) -> String {
    let all: Map<String, Value> = rows
        .iter()
        .map(|row| {
            let mut object = base(&row.agent);
            object.insert("status".to_owned(), row.status().into());
            if let Some(user) = row.user.as_ref().filter(|_| row.is_running()) {
                object.insert("agent_user".to_owned(), user.as_str().into());
            }
            object.insert("health".to_owned(), row.health.clone().unwrap_or_else(|| json!("")));
            if let Some(report) = &row.report {
                object.extend(told(report));
            }
            (row.agent.identity.clone(), object.into())
        })
        .collect();
    pretty(&Value::Object(all))
}

/// What lifecycle.md section 1 adds; and of an agent that is not up, why.
fn told(report: &Value) -> Map<String, Value> {
    let mut keys =
        vec!["state", "restarts", "since", "last_exit", "exit_unknown", "adopted", "last_crash", "log_file"];
    // A platform of an older version does not say.
    keys.extend(report.get("protection").map(|_| "protection"));
    if matches!(report["state"].as_str(), Some("failed" | "backoff" | "stopped")) && report["last_exit"] != 0
    {
        keys.extend(["launch_error", "last_log"]);
    }
    let usage = ["user", "memory_bytes", "cpu_s", "cpu_percent", "cpu_window_s", "processes"];
    let own = keys.into_iter().map(|key| (key, &report[key]));
    let usage = usage.into_iter().map(|key| (key, &report["usage"][key]));
    own.chain(usage).map(|(key, value)| (key.to_owned(), value.clone())).collect()
}

fn base(agent: &AgentRow) -> Map<String, Value> {
    [
        ("agent_uuid", &agent.uuid),
        ("name", &agent.name),
        ("identity", &agent.identity),
        ("agent_tag", &agent.tag),
    ]
    .into_iter()
    .map(|(key, text)| (key.to_owned(), text.clone().into()))
    .collect()
}

/// JSON with an indent of 2 and a line end.
pub fn pretty(value: &Value) -> String {
    indented(value, 2)
}

/// JSON with an indent and a line end.
pub fn indented(value: &Value, spaces: usize) -> String {
    // A `Value` always has a text.
    pyjson::to_indent(value, spaces).unwrap_or_default() + "\n"
}

fn width<'a>(texts: impl Iterator<Item = &'a String>, least: usize) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0).max(least)
}

fn cut(uuid: &str, n: usize) -> &str {
    uuid.get(..n).unwrap_or(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(uuid: &str, name: &str, identity: &str, tag: &str) -> AgentRow {
        AgentRow {
            uuid: uuid.into(),
            name: name.into(),
            identity: identity.into(),
            tag: tag.into(),
            priority: String::new(),
        }
    }

    #[test]
    fn list_is_laid_out_as_in_the_original() {
        let rows = [
            (agent("e1", "forwarder-5.1", "fwd", ""), String::new()),
            (agent("a2", "listeneragent-3.3", "listeneragent-3.3_2", "hallway"), "50".to_owned()),
            (agent("63", "weatheragent-2.0", "weather.noaa", ""), String::new()),
        ];
        let table = list(&rows, "PRI", 1);
        assert_eq!(table.heading, "  AGENT             IDENTITY            TAG        PRI\n");
        assert_eq!(
            table.rows,
            "e forwarder-5.1     fwd                               \n\
             a listeneragent-3.3 listeneragent-3.3_2 hallway     50\n\
             6 weatheragent-2.0  weather.noaa                      \n"
        );
        assert_eq!(list_json(&[], "PRI"), "{}\n");
        let value: Value = serde_json::from_str(&list_json(&rows, "PRI")).unwrap();
        assert_eq!(
            value["listeneragent-3.3_2"],
            json!({"agent_uuid": "a2", "name": "listeneragent-3.3", "identity": "listeneragent-3.3_2",
                   "agent_tag": "hallway", "PRI": "50"})
        );
    }

    #[test]
    fn status_columns_line_up_whatever_the_uuid_width() {
        let health = json!({"peer": "p", "message": "GOOD"});
        let rows = [
            StatusRow {
                agent: agent("a2", "p-1", "pump", "t"),
                pid: Some(12872),
                exit: None,
                health: Some(health.clone()),
                user: None,
                report: Some(json!({
                    "state": "backoff", "restarts": 2, "since": null, "last_exit": -9, "last_log": ["no"],
                    "last_crash": {
                        "how": "signal 9 (SIGKILL)", "at": "2026-03-04T16:00:00", "last_error": "no device",
                    },
                    "usage": {"user": "me", "memory_bytes": 2 << 20, "cpu_percent": 12.5},
                })),
            },
            StatusRow {
                agent: agent("e1", "q-1", "q", ""),
                pid: Some(1),
                exit: Some(-2),
                health: None,
                user: None,
                report: None,
            },
        ];
        for n in [1, 0] {
            let table = status(&rows, n, false);
            let at = table.heading.find("STATUS").unwrap();
            let lines: Vec<&str> = table.rows.lines().collect();
            assert!(lines[0][at..].starts_with("running [12872] GOOD"), "{lines:?}");
            assert!(lines[1][at..].starts_with("-2              "), "{lines:?}");
            assert_eq!(table.heading.find("HEALTH"), Some(at + 16));
        }
        let wide = status(&rows, 1, true);
        assert!(wide.heading.ends_with(" HEALTH RESTARTS      MEM    CPU\n"), "{}", wide.heading);
        assert!(
            wide.rows
                .starts_with("a    p-1   pump     t   running [12872] GOOD          2     2.0M  12.5%\n"),
            "{}",
            wide.rows
        );
        let expected = "pump: crashed 2026-03-04T16:00:00 with signal 9 (SIGKILL): no device; it is restarted soon \
                        (vctl logs pump)\n";
        assert_eq!(reasons(&rows), expected);
        let value: Value = serde_json::from_str(&status_json(&rows)).unwrap();
        assert_eq!((&value["pump"]["memory_bytes"], &value["pump"]["user"]), (&json!(2 << 20), &json!("me")));
        assert_eq!(
            (&value["pump"]["status"], &value["pump"]["health"]),
            (&json!("running [12872]"), &health)
        );
        assert_eq!((&value["pump"]["restarts"], &value["pump"]["last_log"]), (&json!(2), &json!(["no"])));
        assert_eq!(value["q"]["health"], "");
        assert!(value["q"].get("state").is_none());
    }
}
