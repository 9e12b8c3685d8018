//! `vctl top` in a real terminal: what is on the screen, keys, sizes, and the terminal after it.

use rustix::process::{Signal, kill_process};
use volttron_tests::platform::Platform;
use volttron_tests::terminal::Screen;

/// A terminal with `vctl top` in it.
fn top(platform: &Platform, args: &[&str], size: (u16, u16)) -> Screen {
    Screen::open(platform.command("vctl").arg("top").args(args), size)
}

/// Figures, and how many blanks stand around them, differ each time.
fn stable(text: &str) -> Vec<String> {
    let word =
        |word: &str| if word.starts_with(|c: char| c.is_ascii_digit()) { "N" } else { word }.to_owned();
    text.lines().map(|line| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn the_screen_shows_agents_and_keys_work() {
    let platform = Platform::start();
    let listener = volttron_tests::programs::program("volttron-listener");
    platform.vctl_ok(&["install", listener.to_str().expect("text"), "--vip-identity", "pump.one", "--start"]);
    platform.vctl_ok(&["install", listener.to_str().expect("text"), "--vip-identity", "pump.two"]);
    let mut screen = top(&platform, &["--interval", "0.2", "--sort", "name"], (90, 14));
    let text = screen.until("the agents", |text| text.contains("pump.two") && text.contains("GOOD"));
    assert!(!screen.is_cooked());
    let lines = stable(&text);
    assert!(lines[0].starts_with("N of N by IDENTITY ipc://"), "{text}");
    assert_eq!(lines[1], "IDENTITY STATE HEALTH CPU% MEMORY IN/S OUT/S PING MS LOST RESTARTS");
    let row = |name: &str| lines.iter().find(|line| line.starts_with(name)).cloned().unwrap_or_default();
    assert!(row("pump.one").starts_with("pump.one running GOOD N N "), "{text}");
    assert_eq!(row("pump.two"), "pump.two stopped N", "{text}");
    assert!(row("(platform)").starts_with("(platform) running N N"), "{text}");
    assert_eq!(lines[13], "q quit s sort r reverse / filter space pause", "{text}");

    screen.press("/two\r");
    screen.until("the filter", |text| text.contains("pump.two") && !text.contains("pump.one"));
    screen.press("/\r");
    screen.until("no filter", |text| text.contains("pump.one"));
    screen.press("s ");
    screen.until("another order, and a pause", |text| text.contains("by CPU%") && text.contains("paused"));
    screen.press(" ");
    screen.resize((20, 6));
    let narrow = screen.until("a narrow screen", |text| text.contains("q s r / p"));
    assert!(narrow.lines().count() <= 6 && narrow.contains("CPU%") && !narrow.contains("STATE"), "{narrow}");
    screen.press("q");
    screen.ended(0);
}

#[test]
fn the_terminal_is_what_it_was_after_every_end() {
    let platform = Platform::start();
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 1)] {
        let screen = top(&platform, &[], (80, 24));
        screen.until("a screen", |text| text.contains("(platform)"));
        kill_process(screen.pid(), signal).expect("signal");
        screen.ended(code);
    }
    let mut screen = top(&platform, &[], (80, 24));
    screen.until("a screen", |text| text.contains("(platform)"));
    screen.press("\u{3}");
    screen.ended(0);
}

#[test]
fn scripts_get_the_figures_once() {
    let platform = Platform::start();
    let refused = platform.vctl(&["top"]);
    assert!(refused.status.code() == Some(2) && String::from_utf8_lossy(&refused.stderr).contains("--once"));
    let text = platform.vctl_ok(&["top", "--once", "--interval", "0.1"]);
    let lines = stable(&text);
    assert!(lines[0].starts_with("IDENTITY STATE HEALTH CPU% ") && lines.len() > 3, "{text}");
    assert!(lines.iter().any(|line| line.starts_with("(platform) running N N")), "{text}");
    let all = platform.vctl_json(&["top", "--once", "--interval", "0.1"]);
    let row =
        all.as_array().expect("a list").iter().find(|row| row["identity"] == "(platform)").expect("a row");
    assert_eq!(row["pid"], platform.pid());
    let service = all.as_array().expect("a list").iter().find(|row| row["identity"] == "control");
    assert!(service.expect("a row")["ping_ms"].as_f64() > Some(0.0), "{all}");
    assert!(row["memory_bytes"].as_u64() > Some(1 << 20) && row["cpu_percent"].is_number(), "{row}");
}
