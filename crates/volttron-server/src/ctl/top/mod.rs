//! `vctl top`: live what agents do. [`view`] is what is on the screen (pure), [`terminal`] the terminal and its return to
//! what it was.

mod terminal;
mod view;

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use crossterm::event::{Event, EventStream, KeyCode, KeyEventKind, KeyModifiers};
use futures_util::StreamExt;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::numbers::seconds_of;
use super::output::Output;
use super::{Vctl, render, seconds};
use crate::ops::top::{Row, Sample, rows, sample};
use crate::ops::{OpError, Session};
use terminal::Terminal;
use view::{Sort, View};

/// Shortest time between two looks.
const SHORTEST_S: f64 = 0.1;
/// Width of the table for scripts.
const WIDE: usize = 120;

/// Arguments of `vctl top`.
#[derive(Args, Debug)]
#[command(
    after_help = "Keys: s sorts by the next column, r the other way round, / filters by name, space pauses, arrows and page \
    keys scroll, q quits.\n\n\
    CPU% is the share of one processor. IN/S are messages sent to the agent, OUT/S those it sent, LOST those that were \
    meant for it and lost, because its queue was full. PING MS is how long it took to answer a ping; nothing there: it did \
    not within half a second.\n\n\
    Examples:\n  vctl top\n  vctl top --sort memory driver     only identities with `driver` in their name\n  \
    vctl --json top --once"
)]
pub struct TopArgs {
    /// Show only identities with this in their name
    pub filter: Option<String>,
    /// Time between two looks, in seconds
    #[arg(
        short,
        long,
        value_name = "SECS",
        default_value_t = 1.0,
        value_parser = seconds_of,
        allow_negative_numbers = true
    )]
    pub interval: f64,
    /// Sort by this first
    #[arg(long, value_enum, default_value_t = Sort::Cpu)]
    pub sort: Sort,
    /// Look twice, print the figures in between, and end; for scripts
    #[arg(long)]
    pub once: bool,
}

pub(super) async fn top(vctl: &Vctl, args: &TopArgs, out: &mut Output) -> Result<u8, OpError> {
    let interval = seconds(args.interval.max(SHORTEST_S));
    let session = vctl.connect().await?;
    let mut view =
        View::new(args.sort, args.filter.clone().unwrap_or_default(), session.address().to_owned());
    if args.once || vctl.json {
        let before = sample(vctl.home(), &session).await?;
        tokio::time::sleep(interval).await;
        view.rows = rows(&before, &sample(vctl.home(), &session).await?);
        if vctl.json {
            let all: Vec<_> = view.shown().into_iter().map(as_json).collect();
            out.print(&render::pretty(&json!(all)));
        } else {
            out.print(&view.table(WIDE, usize::MAX).join("\n"));
            out.line("");
        }
        session.close().await;
        return Ok(0);
    }
    if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        return Err(OpError::Usage(
            "this is no terminal; `vctl top --once` prints the figures once".to_owned(),
        ));
    }
    let code = live(vctl, &session, view, interval).await;
    session.close().await;
    code
}

/// Shows until somebody quits. The terminal is what it was when this ends, however it does.
async fn live(vctl: &Vctl, session: &Session, mut view: View, interval: Duration) -> Result<u8, OpError> {
    let failed = |source| OpError::File { what: "the terminal".to_owned(), source };
    let (mut terminate, mut hangup) =
        (signal(SignalKind::terminate()).map_err(failed)?, signal(SignalKind::hangup()).map_err(failed)?);
    let mut terminal = Terminal::open().map_err(failed)?;
    let mut events = EventStream::new();
    let mut last: Option<Sample> = None;
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        terminal.show(|width, height| view.screen(width, height)).map_err(failed)?;
        tokio::select! {
            _ = terminate.recv() => return Ok(143),
            _ = hangup.recv() => return Ok(129),
            _ = ticks.tick(), if !view.paused => {
                match sample(vctl.home(), session).await {
                    Ok(new) => {
                        view.trouble.clear();
                        view.rows = rows(last.as_ref().unwrap_or(&new), &new);
                        last = Some(new);
                    }
                    // It may come back; until then what is shown is old, and says so.
                    Err(error) => view.trouble = error.to_string(),
                }
            }
            event = events.next() => match event {
                Some(Ok(event)) => {
                    if !handle(&mut view, &event) {
                        return Ok(0);
                    }
                }
                // Nobody can press a key any more.
                Some(Err(_)) | None => return Ok(0),
            },
        }
    }
}

/// What a key does; false ends.
fn handle(view: &mut View, event: &Event) -> bool {
    let Event::Key(key) = event else { return true };
    if key.kind == KeyEventKind::Release {
        return true;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return !matches!(key.code, KeyCode::Char('c' | 'd'));
    }
    if view.typing {
        match key.code {
            KeyCode::Enter => view.typing = false,
            KeyCode::Esc => {
                view.typing = false;
                view.filter.clear();
            }
            KeyCode::Backspace => drop(view.filter.pop()),
            KeyCode::Char(c) => view.filter.push(c),
            _ => {}
        }
        return true;
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('s') => view.sort = view.sort.next(),
        KeyCode::Char('r') => view.reversed = !view.reversed,
        KeyCode::Char(' ' | 'p') => view.paused = !view.paused,
        KeyCode::Char('/') => {
            view.typing = true;
            view.filter.clear();
        }
        KeyCode::Up => view.scroll(-1),
        KeyCode::Down => view.scroll(1),
        KeyCode::PageUp => view.scroll(-10),
        KeyCode::PageDown => view.scroll(10),
        KeyCode::Home => view.scroll(isize::MIN),
        _ => {}
    }
    true
}

fn as_json(row: &Row) -> serde_json::Value {
    json!({
        "identity": row.identity, "state": row.now.state, "health": row.now.health, "pid": row.now.pid,
        "cpu_percent": row.cpu_percent, "memory_bytes": row.now.memory_bytes, "in_per_s": row.in_per_s,
        "out_per_s": row.out_per_s, "lost": row.now.lost, "restarts": row.now.restarts, "ping_ms": row.now.ping_ms,
    })
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn keys_do_what_the_help_says() {
        let mut view = View::new(Sort::Cpu, String::new(), String::new());
        let press =
            |view: &mut View, code| handle(view, &Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        for c in "s r/qx".chars() {
            assert!(press(&mut view, KeyCode::Char(c)), "{c}");
        }
        assert_eq!(
            (view.sort, view.reversed, view.paused, view.filter.as_str()),
            (Sort::Memory, true, true, "qx")
        );
        assert!(press(&mut view, KeyCode::Enter) && !view.typing);
        assert!(!press(&mut view, KeyCode::Char('q')));
        assert!(!handle(&mut view, &Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL))));
    }
}
