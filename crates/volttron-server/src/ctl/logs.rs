//! `vctl logs`: what agents, or the platform, wrote.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use volttron_utils::logging::{Level, ServerLine};
use volttron_utils::time::format_timestamp;

use super::Vctl;
use super::output::Output;
use super::selection::Selection;
use super::show::report_misses;
use crate::ops::logs::{self, Entry, Follow, Wanted};
use crate::ops::{OpError, agents, select};

/// Pause between two looks at files that are followed.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Entries shown where nothing else is asked for.
const SHOWN: usize = 50;

/// Arguments of `vctl logs`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    vctl logs pump                          the last 50 entries of what it wrote\n  \
    vctl logs pump -f                       and what it writes from now on, until Ctrl-C\n  \
    vctl logs pump --since 10m --level warning\n  \
    vctl logs --all -n 5                    the last of every agent\n  \
    vctl logs -f                            the platform's own log, if it has a file (volttron --log FILE)\n  \
    vctl --json logs pump                   a JSON object per entry: agent, time, level, pid, logger, line, message\n\n\
    Works without a running platform. The files are logs/IDENTITY.log in the home; agent-log-size and\n\
    agent-log-files in the platform's config say how much is kept.")]
pub struct LogsArgs {
    /// Which
    #[command(flatten)]
    pub selection: Selection,
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub follow: bool,
    /// Only from then on: 90s, 10m, 2h, or a time such as 2026-03-04T16:00 or 16:00
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only this level and those above: debug, info, warning, error, critical
    #[arg(long, value_name = "LEVEL")]
    pub level: Option<String>,
    /// Only the last entries of each; otherwise 50, or all with --since
    #[arg(short = 'n', long, value_name = "LINES", value_parser = super::numbers::whole::<usize>)]
    pub lines: Option<usize>,
}

/// A log that is shown.
struct Source {
    /// Identity; none for the platform.
    agent: Option<String>,
    path: PathBuf,
    follow: Follow,
}

pub(super) async fn logs(vctl: &Vctl, args: &LogsArgs, out: &mut Output) -> Result<u8, OpError> {
    let level = match &args.level {
        Some(text) => Some(Level::parse(text).ok_or_else(|| {
            OpError::Usage(format!("--level {text}: none of debug, info, warning, error, critical"))
        })?),
        None => None,
    };
    let since = args.since.as_deref().map(|text| logs::since(text, Timestamp::now())).transpose()?;
    let last = args.lines.or_else(|| since.is_none().then_some(SHOWN));
    let (chosen, missed) = chosen(vctl, args, out).await?;
    let (mut sources, mut entries) = (Vec::new(), Vec::new());
    for (agent, path) in chosen {
        let (read, follow) = logs::read(&path, Wanted { since, level, last })
            .map_err(|source| OpError::File { what: path.display().to_string(), source })?;
        if read.is_empty() && !path.exists() {
            let name = agent.as_deref().unwrap_or("the platform");
            out.complain(&format!("{name} has not written anything to {}", path.display()));
        }
        entries.extend(read.into_iter().map(|entry| (sources.len(), entry)));
        sources.push(Source { agent, path, follow });
    }
    entries.sort_by_key(|(_, entry)| entry.when);
    show(vctl, &sources, &entries, out);
    let wanted = Wanted { since: None, level, last: None };
    while args.follow && !sources.is_empty() && !out.is_gone() {
        tokio::time::sleep(LOOK_AGAIN).await;
        let mut entries = Vec::new();
        for (at, source) in sources.iter_mut().enumerate() {
            let next = source.follow.next(wanted);
            let next = next
                .map_err(|error| OpError::File { what: source.path.display().to_string(), source: error })?;
            entries.extend(next.into_iter().map(|entry| (at, entry)));
        }
        entries.sort_by_key(|(_, entry)| entry.when);
        show(vctl, &sources, &entries, out);
    }
    Ok(if missed && sources.is_empty() { 10 } else { 0 })
}

/// Identities and paths; and whether a pattern fitted nothing.
async fn chosen(
    vctl: &Vctl,
    args: &LogsArgs,
    out: &mut Output,
) -> Result<(Vec<(Option<String>, PathBuf)>, bool), OpError> {
    let home = vctl.home();
    let filters = select::Filters::from(args.selection.filters);
    if args.selection.patterns.is_empty() && !filters.stand_alone() {
        let link = home.platform_log();
        let path = std::fs::read_link(&link).map_err(|_| {
            OpError::Refused(format!(
                "the platform of {} has no log file that is known; start it with --log FILE, or name an agent: \
                 vctl logs AGENT",
                home.path().display()
            ))
        })?;
        return Ok((vec![(None, path)], false));
    }
    // The files tell as much as the platform, and are there without it.
    let all = agents::list(home, None).await?;
    let chosen = agents::choose(&all, &args.selection.patterns, filters);
    let missed = report_misses("logs", &chosen, out);
    let log = |agent: agents::AgentRow| {
        let path = home.agent_log(&agent.identity);
        (Some(agent.identity), path)
    };
    Ok((chosen.agents.into_iter().map(log).collect(), missed))
}

fn show(vctl: &Vctl, sources: &[Source], entries: &[(usize, Entry)], out: &mut Output) {
    let mut text = String::new();
    for (at, entry) in entries {
        let agent = sources[*at].agent.as_deref();
        if vctl.json {
            text.push_str(&as_json(agent, entry).to_string());
        } else {
            // The lines name the package, which several agents may share.
            if let (Some(agent), true) = (agent, sources.len() > 1) {
                text.push_str(agent);
                text.push_str(" | ");
            }
            text.push_str(&entry.text);
        }
        text.push('\n');
    }
    if !text.is_empty() {
        out.print(&text);
    }
}

fn as_json(agent: Option<&str>, entry: &Entry) -> serde_json::Value {
    let head = entry.text.lines().next().unwrap_or_default();
    let Some(line) = ServerLine::parse(head) else {
        return json!({"agent": agent, "message": entry.text});
    };
    // The head's message and everything below it.
    let message = &entry.text[head.len() - line.message.len()..];
    json!({
        "agent": agent, "time": format_timestamp(line.when), "level": line.level.as_str(),
        "pid": line.agent.map(|(_, pid)| pid), "logger": line.logger, "line": line.line, "message": message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_as_json_has_its_whole_message() {
        let text = "2026-03-04 16:00:00,123 (p-1 7 [41]) a.b ERROR: bad\nTraceback".to_owned();
        let entry = Entry { when: Timestamp::now(), level: Level::Error, text };
        let value = as_json(Some("pump"), &entry);
        assert_eq!(
            (&value["agent"], &value["level"], &value["pid"]),
            (&"pump".into(), &"ERROR".into(), &7.into())
        );
        assert_eq!((&value["message"], &value["line"]), (&"bad\nTraceback".into(), &41.into()));
        let raw = Entry { text: "no time".to_owned(), ..entry };
        assert_eq!(as_json(None, &raw), json!({"agent": null, "message": "no time"}));
    }
}
