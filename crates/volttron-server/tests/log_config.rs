//! Logging configurations mean to the platform what they mean to Python's `logging.config`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use volttron_server::logging::config::LogConfig;
use volttron_server::logging::rotation::{Rotation, When};
use volttron_server::logging::{Handler, Setup};
use volttron_server::options::LogTarget;

/// Reads a configuration as 9.x does and tells which loggers, levels and files come of it.
const LOOK: &str = r#"
import json, logging, logging.config, logging.handlers, sys

form, path, names = sys.argv[1], sys.argv[2], sys.argv[3:]
if form == "ini":
    logging.config.fileConfig(path)
else:
    with open(path) as file:
        logging.config.dictConfig(json.load(file))

def place(handler):
    if isinstance(handler, logging.FileHandler):
        return handler.baseFilename
    if isinstance(handler, logging.NullHandler):
        return "nowhere"
    return "standard output" if handler.stream is sys.stdout else "standard error"

def rotation(handler):
    if isinstance(handler, logging.handlers.TimedRotatingFileHandler):
        return [handler.when, handler.backupCount]
    if isinstance(handler, logging.handlers.RotatingFileHandler):
        return [handler.maxBytes, handler.backupCount]
    return None

def takes(name, level):
    """The places where a record of this logger goes."""
    logger, places = logging.getLogger(name), []
    if not logger.isEnabledFor(level):
        return places
    while logger:
        places += [place(h) for h in logger.handlers if level >= h.level]
        logger = logger.parent if logger.propagate else None
    return sorted(places)

records = {f"{name} {level}": takes(name, level) for name in names for level in (10, 20, 30, 40, 50)}
handlers = [h() for h in logging._handlerList]
kept = {place(h): rotation(h) for h in handlers if h is not None and isinstance(h, logging.FileHandler)}
print(json.dumps({"records": records, "files": kept}))
"#;

#[expect(clippy::print_stderr, reason = "what is left out shall be seen")]
fn python(form: &str, path: &Path, names: &[&str]) -> Option<Value> {
    let Some(python) = std::env::var_os("VOLTTRON_TEST_PYTHON") else {
        assert!(std::env::var_os("VOLTTRON_TEST_REQUIRE_PEERS").is_none(), "VOLTTRON_TEST_PYTHON is not set");
        eprintln!("LEFT OUT: this test needs Python; run it through `cargo xtask test`");
        return None;
    };
    let output =
        Command::new(python).args(["-c", LOOK, form]).arg(path).args(names).output().expect("run Python");
    assert!(output.status.success(), "{output:?}");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// The same of ours.
fn ours(form: &str, path: &Path, names: &[&str]) -> Value {
    let config =
        LogConfig::read(&format!("{form}:{}", path.display()), |path| path.into()).expect("a configuration");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let setup = config.setup(Handler::plain(LogTarget::Stderr, Rotation::default()), 30, &[]);
    let mut records = BTreeMap::new();
    for name in names {
        for level in [10, 20, 30, 40, 50] {
            let mut places: Vec<String> = takers(&setup, name, level).map(|h| h.target.to_string()).collect();
            places.sort();
            records.insert(format!("{name} {level}"), places);
        }
    }
    let files = setup.handlers.iter().filter(|h| matches!(h.target, LogTarget::File(_)));
    let rotation = |handler: &Handler| match handler.rotation {
        Rotation { when: When::Size(bytes), keep } => json!([bytes, keep]),
        Rotation { when: When::Daily, keep } => json!(["MIDNIGHT", keep]),
        Rotation { when: When::Never, .. } => Value::Null,
    };
    let files: BTreeMap<String, Value> = files.map(|h| (h.target.to_string(), rotation(h))).collect();
    json!({"records": records, "files": files})
}

fn takers<'a>(setup: &'a Setup, name: &str, level: i64) -> impl Iterator<Item = &'a Handler> {
    let allowed = setup.levels.allow(name, level);
    let at = if allowed { setup.routes.of(name).collect() } else { Vec::new() };
    at.into_iter().map(|at| &setup.handlers[at]).filter(move |handler| level >= handler.level)
}

const NAMES: [&str; 6] = ["x", "a", "a.b", "a.b.c", "quiet", "quiet.more"];

#[test]
fn sections_come_to_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.conf");
    let text = "[DEFAULT]\ndir = DIR\n[loggers]\nkeys=root, ab, quiet\n[handlers]\nkeys=console,disk,days\n[formatters]\nkeys=f\n\
                [logger_root]\nlevel=INFO\nhandlers=console,disk\n\
                [logger_ab]\nlevel=DEBUG\nqualname=a.b\nhandlers=days\n\
                [logger_quiet]\nlevel=NOTSET\nqualname=quiet\nhandlers=days\npropagate=0\n\
                [handler_console]\nclass=StreamHandler\nlevel=ERROR\nargs=(sys.stdout,)\nformatter=f\n\
                [handler_disk]\nclass=handlers.RotatingFileHandler\nformatter=f\nlevel=WARNING\n\
                args=('%(dir)s/v.log', 'a',\n  10 * 1024, 3)\n\
                [handler_days]\nclass=handlers.TimedRotatingFileHandler\nformatter=f\n\
                args=('%(dir)s/days.log',)\nkwargs={'when': 'midnight', 'backupCount': 7}\n\
                [formatter_f]\nformat=%(asctime)s %(levelname)s %(message)s\n";
    fs::write(&path, text.replace("DIR", dir.path().to_str().unwrap())).unwrap();
    let ours = ours("ini", &path, &NAMES);
    assert_eq!(ours["records"]["a.b.c 10"].as_array().map(Vec::len), Some(1), "{ours:#}");
    if let Some(python) = python("ini", &path, &NAMES) {
        assert_eq!(ours, python);
    }
}

#[test]
fn dicts_come_to_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.json");
    let file = |name: &str| dir.path().join(name).display().to_string();
    let value = json!({
        "version": 1,
        "formatters": {"f": {"format": "%(asctime)s %(name)-12s %(message)s", "datefmt": "%H:%M:%S"}},
        "handlers": {
            "err": {"class": "logging.StreamHandler", "level": "ERROR", "formatter": "f"},
            "all": {"class": "logging.handlers.WatchedFileHandler", "filename": file("all.log"), "formatter": "f"},
            "big": {"class": "logging.handlers.RotatingFileHandler", "filename": file("big.log"), "level": 20,
                    "maxBytes": 1_000_000, "backupCount": 2},
            "none": {"class": "logging.NullHandler"},
        },
        "loggers": {
            "a": {"level": "ERROR", "handlers": ["big"]},
            "a.b": {"level": "DEBUG", "handlers": ["all"], "propagate": true},
            "quiet": {"handlers": ["none"], "propagate": false},
        },
        "root": {"level": "WARN", "handlers": ["err", "all"]},
    });
    fs::write(&path, value.to_string()).unwrap();
    let ours = ours("json", &path, &NAMES);
    if let Some(mut python) = python("json", &path, &NAMES) {
        assert_eq!(ours["records"], python["records"].take());
        assert_eq!(ours["files"], python["files"].take());
    }
}
