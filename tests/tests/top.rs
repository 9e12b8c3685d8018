//! `vctl top` in a real terminal: what is on the screen, keys, sizes, and the terminal after it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use volttron_tests::platform::Platform;
use volttron_tests::wait::until;

/// A terminal with `vctl top` in it.
struct Screen {
    keys: File,
    /// The side of the program, kept open to look at its modes.
    inside: OwnedFd,
    shown: Arc<Mutex<vt100::Parser>>,
    child: Child,
}

impl Screen {
    fn open(platform: &Platform, args: &[&str], (width, height): (u16, u16)) -> Self {
        let outside = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&outside).expect("its other side");
        unlockpt(&outside).expect("its other side");
        let name = ptsname(&outside, Vec::new()).expect("its name");
        let path = name.to_str().expect("text").to_owned();
        resize(&outside, width, height);
        let open = || File::options().read(true).write(true).open(&path).expect("open the terminal");
        let child = platform
            .command("vctl")
            .env("TERM", "xterm-256color")
            .arg("top")
            .args(args)
            .stdin(Stdio::from(open()))
            .stdout(Stdio::from(open()))
            .stderr(Stdio::from(open()))
            .spawn()
            .expect("start vctl top");
        let shown = Arc::new(Mutex::new(vt100::Parser::new(height, width, 0)));
        let (mut reader, sink) = (File::from(outside.try_clone().expect("a descriptor")), shown.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                sink.lock().expect("the screen").process(&buffer[..count]);
            }
        });
        Self { keys: File::from(outside), inside: open().into(), shown, child }
    }

    fn text(&self) -> String {
        self.shown.lock().expect("the screen").screen().contents()
    }

    /// Waits until the screen is as wanted.
    fn until(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        until(what, Duration::from_secs(30), || Some(self.text()).filter(|text| fits(text)))
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("press keys");
    }

    fn resize(&self, width: u16, height: u16) {
        self.shown.lock().expect("the screen").screen_mut().set_size(height, width);
        resize(&self.keys, width, height);
        // Without a controlling terminal nobody else tells the program.
        kill_process(Pid::from_child(&self.child), Signal::WINCH).expect("tell the program");
    }

    fn is_cooked(&self) -> bool {
        tcgetattr(&self.inside).expect("modes").local_modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Waits for the end; the terminal has to be what it was.
    fn ended(mut self, code: i32) {
        let status = self.child.wait().expect("wait");
        assert_eq!(status.code(), Some(code), "{}", self.text());
        until("the first screen to be back", Duration::from_secs(10), || {
            let parser = self.shown.lock().expect("the screen");
            let screen = parser.screen();
            (!screen.alternate_screen() && !screen.hide_cursor()).then_some(())
        });
        assert!(self.is_cooked());
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: impl std::os::fd::AsFd, width: u16, height: u16) {
    let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("set the size");
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
    let mut screen = Screen::open(&platform, &["--interval", "0.2", "--sort", "name"], (90, 14));
    let text = screen.until("the agents", |text| text.contains("pump.two") && text.contains("GOOD"));
    assert!(!screen.is_cooked());
    let lines = stable(&text);
    assert!(lines[0].starts_with("N of N by IDENTITY ipc://"), "{text}");
    assert_eq!(lines[1], "IDENTITY STATE HEALTH CPU% MEMORY IN/S OUT/S LOST RESTARTS");
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
    screen.resize(20, 6);
    let narrow = screen.until("a narrow screen", |text| text.contains("q s r / p"));
    assert!(narrow.lines().count() <= 6 && narrow.contains("CPU%") && !narrow.contains("STATE"), "{narrow}");
    screen.press("q");
    screen.ended(0);
}

#[test]
fn the_terminal_is_what_it_was_after_every_end() {
    let platform = Platform::start();
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 1)] {
        let screen = Screen::open(&platform, &[], (80, 24));
        screen.until("a screen", |text| text.contains("(platform)"));
        kill_process(Pid::from_child(&screen.child), signal).expect("signal");
        screen.ended(code);
    }
    let mut screen = Screen::open(&platform, &[], (80, 24));
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
    assert!(row["memory_bytes"].as_u64() > Some(1 << 20) && row["cpu_percent"].is_number(), "{row}");
}
