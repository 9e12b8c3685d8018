//! The pictures of terminals in the documentation: drawn from what the programs show. A picture with words that they no
//! longer say fails; `VOLTTRON_WRITE_DOCS=1` draws them anew. Figures, times and names of the machine may differ.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use tempfile::TempDir;
use volttron_tests::generated;
use volttron_tests::platform::Platform;
use volttron_tests::programs::program;
use volttron_tests::pump::{Does, Pump};
use volttron_tests::terminal::{Screen, picture};

use super::docs;

/// Columns and rows of all of them.
const SIZE: (u16, u16) = (100, 40);
/// What pictures show instead of the directories of a test.
const HOME: &str = "/home/ana/.volttron";
const WORK: &str = "/home/ana";

/// A platform with agents, and somebody's directory.
struct Site {
    platform: Platform,
    work: TempDir,
}

impl Site {
    fn start() -> Self {
        let work = tempfile::Builder::new().prefix("ana").tempdir().expect("a directory");
        generated::workshop_in(work.path());
        let mut platform = Platform::prepare();
        generated::build_with_what_is_built(platform.home());
        platform.launch();
        Self { platform, work }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.platform.command(words[0]);
        command
            .args(&words[1..])
            .current_dir(self.work.path())
            .env("LANG", "C.UTF-8")
            .env("CARGO_HOME", generated::of_the_user("CARGO_HOME", ".cargo"))
            .env("RUSTUP_HOME", generated::of_the_user("RUSTUP_HOME", ".rustup"))
            .env("CARGO_NET_OFFLINE", "true");
        command
    }

    /// What the terminal shows after the command, with the command above it.
    fn shown(&self, words: &[&str]) -> vt100::Screen {
        let (_, screen) = Screen::open(&mut self.command(words), SIZE).end();
        self.neutral(&screen, &format!("\x1b[1;32m$\x1b[0m {}\r\n", words.join(" ")))
    }

    /// The screen without names of this machine, below `before`.
    fn neutral(&self, screen: &vt100::Screen, before: &str) -> vt100::Screen {
        let mut parser = vt100::Parser::new(SIZE.1 + 2, SIZE.0, 0);
        parser.process(before.as_bytes());
        let last = screen.rows(0, SIZE.0).enumerate().filter(|(_, text)| !text.trim().is_empty()).last();
        let count = last.map_or(0, |(row, _)| row + 1);
        for (number, row) in screen.rows_formatted(0, SIZE.0).take(count).enumerate() {
            let row = String::from_utf8_lossy(&row)
                .replace(&self.platform.home().display().to_string(), HOME)
                .replace(&self.work.path().display().to_string(), WORK);
            parser.process(row.as_bytes());
            // A long line is wrapped anew: it may have another length now.
            let wraps = u16::try_from(number).is_ok_and(|number| screen.row_wrapped(number));
            parser.process(if wraps { b"\x1b[0m" } else { b"\x1b[0m\r\n" });
        }
        parser.screen().clone()
    }
}

/// The words of a picture that have to be there each time. A full line goes on in the next one: where it is wrapped
/// depends on the length of figures before.
fn words(lines: &[String]) -> BTreeSet<String> {
    let mut text = String::new();
    for line in lines {
        text.push_str(line);
        if line.chars().count() < usize::from(SIZE.0) {
            text.push('\n');
        }
    }
    let is_part = |c: char| !(c.is_alphabetic() || matches!(c, '\'' | '-' | '.' | '_'));
    text.split(is_part)
        .filter(|word| word.chars().filter(|c| c.is_alphabetic()).count() > 3)
        .map(str::to_owned)
        .collect()
}

#[test]
fn words_are_whole_wherever_a_line_is_wrapped() {
    let said = format!("{:>96} takes 2 ms", "a write with fsync");
    let (first, second) = said.split_at(usize::from(SIZE.0));
    assert_eq!(second, "es 2 ms");
    let of = |lines: &[&str]| words(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
    assert_eq!(of(&[first, second]), of(&[&said]));
    assert_ne!(of(&["a write with fsync tak", "es 2 ms"]), of(&[&said]), "a line that is not full has ended");
}

fn compare(name: &str, title: &str, screen: &vt100::Screen) {
    let path = docs().join("pictures").join(format!("{name}.svg"));
    let drawn = picture::svg(screen, title);
    if std::env::var_os("VOLTTRON_WRITE_DOCS").is_some() {
        fs::create_dir_all(path.parent().expect("a directory")).expect("the directory of pictures");
        fs::write(&path, &drawn).expect("write the picture");
    }
    let kept = fs::read_to_string(&path).expect("the picture; VOLTTRON_WRITE_DOCS=1 draws it");
    let now = words(&picture::text(&drawn));
    let gone: Vec<String> = words(&picture::text(&kept)).difference(&now).cloned().collect();
    assert!(
        gone.is_empty() && kept.contains(&format!("<title>{title}</title>")),
        "docs/pictures/{name}.svg shows {gone:?}, but now it is:\n{}",
        screen.contents()
    );
}

#[test]
fn the_pictures_show_what_the_programs_show() {
    let site = Site::start();
    let at = |name: &str| program(name).display().to_string();
    for (agent, identity) in [("volttron-platform-driver", "platform.driver"), ("volttron-listener", "ears")]
    {
        site.platform.vctl_ok(&["install", &at(agent), "--vip-identity", identity, "--start"]);
    }
    site.platform.vctl_ok(&[
        "install",
        &at("volttron-sql-historian"),
        "--vip-identity",
        "platform.historian",
    ]);
    let made = site.command(&["vctl", "new", "agent", "pump-watch", "--yes", "--author", "Ana"]).output();
    assert!(made.expect("run vctl").status.success());

    let install = ["vctl", "install", "./pump-watch", "--profile", "dev", "--tag", "pumps", "--start"];
    compare("install", "An agent is built from its sources, installed and started", &site.shown(&install));
    compare("status", "vctl status", &site.shown(&["vctl", "status"]));

    let screen = Screen::open(&mut site.command(&["vctl", "top", "--interval", "0.5"]), (SIZE.0, 16));
    let measured = |text: &str| {
        text.lines().any(|line| line.starts_with("(platform)") && line.split_whitespace().count() > 4)
    };
    screen.until("all agents", |text| text.matches("GOOD").count() >= 3 && measured(text));
    compare("top", "vctl top", &site.neutral(&screen.snapshot(), ""));
    drop(screen);

    let broken = "{\n  \"driver_type\": \"modbus\",\n  \"interval\": 5,,\n}\n";
    fs::write(site.work.path().join("fan.json"), broken).expect("write a file");
    let store = ["vctl", "config", "store", "platform.driver", "devices/fan", "fan.json"];
    compare("error-config", "A configuration that cannot be read", &site.shown(&store));
    let call = ["vctl", "call", "platform.drivr", "get_point", "campus/fan", "Speed"];
    compare("error-call", "A call to nobody", &site.shown(&call));
    let programs = tempfile::tempdir().expect("a directory");
    let path = Pump::write(programs.path(), "1.0.0", Does::Ends(3)).display().to_string();
    site.platform.vctl_ok(&["install", &path, "--vip-identity", "pump", "--tag", "pump"]);
    compare(
        "error-start",
        "An agent that does not come up",
        &site.shown(&["vctl", "start", "--tag", "pump"]),
    );

    site.platform.configure("vip-adress = tcp://127.0.0.1:22916");
    compare("doctor", "vctl doctor", &site.shown(&["vctl", "doctor"]));
}
