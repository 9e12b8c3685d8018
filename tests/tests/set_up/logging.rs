//! The log of a platform: how it rotates, and what a logging configuration makes of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use volttron_tests::wait::until;

use crate::site::{Site, stderr, stdout};

const PATIENCE: Duration = Duration::from_secs(60);

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("run the program")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Starts a platform in the background.
fn start(site: &Site, program: &str, args: &[&str]) {
    let address = format!("tcp://127.0.0.1:{}", site.port);
    let output = run(site.command_at_home(program).args(args).args(["--vip-address", &address]));
    assert!(output.status.success(), "{output:?}");
}

/// What the platform says about the file its standard error is.
fn stderr_of(site: &Site) -> PathBuf {
    fs::read_link(format!("/proc/{}/fd/2", site.pid())).expect("a standard error")
}

#[test]
fn a_log_rotates_by_size_while_the_platform_runs() {
    const MOST: u64 = 4096;
    let site = Site::new();
    let log = site.dir().join("own.log");
    let path = log.to_str().unwrap();
    let args = ["--daemon", "-vv", "-l", path, "--log-rotate", "4K", "--log-keep", "3"];
    start(&site, "volttron", &args);
    // Each command connects and goes again, which is told.
    until("the third file put aside", PATIENCE, || {
        assert!(site.vctl(&["status"]).status.success());
        beside(&log, ".3").exists().then_some(())
    });
    until("one more rotation", PATIENCE, || {
        let first = fs::read(beside(&log, ".3")).unwrap();
        assert!(site.vctl(&["status"]).status.success());
        (fs::read(beside(&log, ".3")).unwrap() != first).then_some(())
    });
    assert!(!beside(&log, ".4").exists());
    // What logrotate does at the same time is no trouble.
    let elsewhere = site.dir().join("taken-away");
    fs::rename(&log, &elsewhere).unwrap();
    until("a new file", PATIENCE, || {
        assert!(site.vctl(&["status"]).status.success());
        log.exists().then_some(())
    });
    // What native code would say goes to the file of that name, too.
    assert_eq!(stderr_of(&site), log);
    // All of it is shown, in order.
    let shown = stdout(&site.vctl(&["--json", "logs", "-n", "10000"]));
    let files = ["", ".1", ".2", ".3"].map(|suffix| fs::read_to_string(beside(&log, suffix)).unwrap());
    assert!(shown.lines().count() > files[1].lines().count() + files[2].lines().count(), "{shown}");
    for text in &files {
        assert!(text.len() as u64 <= MOST || text.lines().count() == 1, "{text}");
        assert!(text.ends_with('\n') && text.starts_with("20"), "only whole lines: {text}");
    }
    assert!(run(&mut site.command_at_home("stop-volttron")).status.success());
    assert!(!site.is_up());
}

#[test]
fn a_rotating_start_puts_the_log_aside_by_day() {
    let site = Site::new();
    let log = site.dir().join("volttron.log");
    fs::write(&log, "of an earlier day\n").unwrap();
    let day = SystemTime::now() - Duration::from_secs(3 * 24 * 3600);
    File::options().append(true).open(&log).unwrap().set_modified(day).unwrap();
    start(&site, "start-volttron", &["--rotating"]);
    let day = jiff::Timestamp::try_from(day).unwrap().to_zoned(jiff::tz::TimeZone::system()).date();
    assert_eq!(fs::read_to_string(beside(&log, &format!(".{day}"))).unwrap(), "of an earlier day\n");
    assert_eq!(stderr_of(&site), log);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains(" INFO: ") && !text.contains(" DEBUG: "), "{text}");
    let line = fs::read_to_string(format!("/proc/{}/cmdline", site.pid())).unwrap();
    assert!(line.contains("--log-rotate\0daily\0--log-keep\x007\0"), "{line}");
    assert!(run(&mut site.command_at_home("stop-volttron")).status.success());
}

#[test]
fn what_runs_in_the_background_rotates_unless_told_otherwise() {
    for (program, args, rotates) in [
        ("volttron", &["up"][..], true),
        ("start-volttron", &[], true),
        ("volttron", &["--daemon", "--log-rotate", "off"], false),
    ] {
        let site = Site::new();
        site.write("config", &format!("[volttron]\nvip-address = tcp://127.0.0.1:{}\n", site.port));
        let dir = if program == "volttron" { site.home() } else { site.dir().to_owned() };
        let log = dir.join("volttron.log");
        File::create(&log).unwrap().set_len(11 << 20).unwrap();
        let output = run(site.command_at_home(program).args(args));
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
        assert_eq!(beside(&log, ".1").exists(), rotates, "{program} {args:?}");
        assert!(run(site.command_at_home("volttron").arg("down")).status.success());
    }
    // The reason is told also when it stands in a file that was put aside meanwhile.
    let site = Site::new();
    let held = std::net::TcpListener::bind(("127.0.0.1", site.port)).unwrap();
    site.write("config", &format!("[volttron]\nvip-address = tcp://127.0.0.1:{}\n", site.port));
    File::create(site.home().join("volttron.log")).unwrap().set_len(11 << 20).unwrap();
    let up = run(site.command_at_home("volttron").arg("up"));
    assert!(site.home().join("volttron.log.1").exists());
    assert!(stderr(&up).contains("it is in use"), "{up:?}");
    drop(held);
}

#[test]
fn a_logging_configuration_says_where_the_log_goes() {
    let site = Site::new();
    let (all, errors) = (site.dir().join("all.log"), site.dir().join("errors.log"));
    let config = format!(
        "{{\n    # As the original comes with one.\n    'version': 1,\n    'handlers': {{\n        'all': \
         {{'class': 'logging.handlers.TimedRotatingFileHandler', 'filename': '{}', 'when': 'midnight', \
         'backupCount': 7,\n                'formatter': 'short'}},\n        'errors': {{'class': 'logging.FileHandler', \
         'filename': '{}', 'level': 'ERROR'}},\n    }},\n    'formatters': {{'short': {{'format': \
         '%(levelname)s|%(name)s|%(message)s'}}}},\n    'root': {{'handlers': ['all', 'errors'], 'level': 'INFO'}},\n}}\n",
        all.display(),
        errors.display()
    );
    let path = site.write("log.py", &config);
    let path = path.to_str().unwrap();
    let checked = run(site.command_at_home("volttron").args(["--check-config", "-L", path]));
    assert!(checked.status.success(), "{checked:?}");
    start(&site, "volttron", &["--daemon", "-vv", "-L", path]);
    let text = fs::read_to_string(&all).unwrap();
    assert!(text.contains("\nINFO|volttron_server."), "{text}");
    assert!(text.contains("|    'version': 1,\n"), "the configuration is in the log: {text}");
    assert!(!text.contains("DEBUG|"), "{text}");
    assert_eq!(fs::read_to_string(&errors).unwrap(), "");
    // The log is found where the configuration says, and bad ones are refused.
    assert!(site.vctl(&["logs"]).status.success());
    assert_eq!(fs::read_link(site.home().join("logs/platform.log")).unwrap(), all);
    let bad = site.write("bad.conf", "[loggers]\nkeys=root\n[formatters]\nkeys=\n[handlers]\nkeys=mail\n[handler_mail]\nclass=handlers.SMTPHandler\nargs=()\n[logger_root]\nhandlers=mail\n");
    let bad = bad.to_str().unwrap();
    for program in [&["volttron", "-L", bad][..], &["vctl", "-L", bad, "status"]] {
        let output = run(site.command_at_home(program[0]).args(&program[1..]));
        assert!(!output.status.success(), "{output:?}");
        let told = stderr(&output);
        assert!(told.contains("bad.conf (line 8): the handler mail is a handlers.SMTPHandler"), "{told}");
        assert!(told.contains("handlers.TimedRotatingFileHandler"), "{told}");
    }
    let other = Site::new();
    let output = run(other.command_at_home("volttron").args(["-L", bad]));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let log = site.dir().join("vctl.log");
    let own = format!(
        "version: 1\nhandlers: {{f: {{class: FileHandler, filename: {}}}}}\nroot: {{level: DEBUG, handlers: [f]}}\n",
        log.display()
    );
    let own = site.write("own.yaml", &own);
    assert!(site.vctl(&["-L", own.to_str().unwrap(), "status"]).status.success());
    assert!(fs::metadata(&log).unwrap().len() > 0);
    assert!(run(site.command_at_home("volttron").arg("down")).status.success());
}
