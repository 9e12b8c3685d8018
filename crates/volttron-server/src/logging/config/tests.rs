//! What configurations of Python's `logging` come to.

use super::*;
use crate::logging::rotation::When;

fn parse(form: Form, text: &str) -> LogConfig {
    LogConfig::parse(form, Path::new("/x/log.conf"), text)
        .unwrap_or_else(|(line, why)| panic!("{line:?}: {why}"))
}

fn refused(form: Form, text: &str) -> String {
    let (line, why) = LogConfig::parse(form, Path::new("/x/log.conf"), text).unwrap_err();
    LogConfigError::Bad { path: "/x/log.conf".into(), line, why }.to_string()
}

fn file(path: &str) -> LogTarget {
    LogTarget::File(path.into())
}

const INI: &str = "\
[DEFAULT]
dir = /var/log/volttron

[loggers]
keys = root, router

[handlers]
keys = console,
  disk

[formatters]
keys=line

[logger_root]
level=INFO
handlers=console,disk

[logger_router]
qualname=volttron.platform.vip
level=DEBUG
handlers=disk
propagate=0

[handler_console]
class=StreamHandler
args=(sys.stdout,)
level=WARNING
formatter=line

[handler_disk]
class=handlers.RotatingFileHandler
args=('%(dir)s/volttron.log', 'a', 10 * 1024 * 1024, 5)
kwargs={'encoding': 'utf-8'}
formatter=line

[formatter_line]
format=%(asctime)s %(name)s %(levelname)s: %(message)s
datefmt=%H:%M
";

#[test]
fn the_form_with_sections_is_read() {
    let config = parse(Form::Ini, INI);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let [console, disk] = &config.handlers[..] else { panic!("{:?}", config.handlers) };
    assert_eq!((&console.target, console.level), (&LogTarget::Stdout, 30));
    assert_eq!((&disk.target, disk.level), (&file("/var/log/volttron/volttron.log"), 0));
    assert_eq!(disk.rotation, Rotation { when: When::Size(10 << 20), keep: 5 });
    assert_eq!(config.root, Some(vec![0, 1]));
    let route = Route { name: "volttron.platform.vip".to_owned(), handlers: vec![1], propagate: false };
    assert_eq!(config.loggers, [route]);
    assert_eq!(config.levels, [(String::new(), 20), ("volttron.platform.vip".to_owned(), 10)]);
    assert_eq!(config.target(), Some((file("/var/log/volttron/volttron.log"), disk.rotation)));
}

/// As the original comes with one.
const DICT: &str = "\
# Rotates at midnight.
{
    'version': 1,
    'disable_existing_loggers': False,
    'formatters': {'agent': {'()': 'volttron.platform.agent.utils.AgentFormatter'}},
    'handlers': {
        'rotating': {
            'class': 'logging.handlers.TimedRotatingFileHandler',
            'level': 'INFO',
            'formatter': 'agent',
            'filename': '/var/log/volttron.log',
            'encoding': 'utf-8',
            'when': 'midnight',
            'backupCount': 7,
        },
    },
    'root': {'handlers': ['rotating'], 'level': 'INFO'},
}
";

#[test]
fn the_form_that_is_a_dict_is_read_in_three_spellings() {
    let json = DICT.replace('\'', "\"").replace("False", "false").replace(",\n        }", "\n        }");
    let json = json.replace("},\n    }", "}\n    }").replace("},\n}", "}\n}").replace("7,\n", "7\n");
    let yaml = "version: 1\nhandlers:\n  r:\n    class: logging.handlers.TimedRotatingFileHandler\n    \
                filename: /var/log/volttron.log\n    formatter: f\n    level: 20\n    when: D\n    backupCount: 7\n\
                formatters: {f: {class: volttron.utils.logs.AgentFormatter}}\nroot: {level: 20, handlers: [r]}\n";
    for (form, text) in [(Form::Python, DICT), (Form::Json, json.as_str()), (Form::Yaml, yaml)] {
        let config = parse(form, text);
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        let [handler] = &config.handlers[..] else { panic!("{form:?}: {:?}", config.handlers) };
        assert_eq!((&handler.target, handler.level), (&file("/var/log/volttron.log"), 20));
        assert_eq!(handler.rotation, Rotation { when: When::Daily, keep: 7 });
        assert_eq!(handler.format, super::super::format::Format::Platform);
        let setup = config.setup(Handler::plain(LogTarget::Stderr, Rotation::default()), 10, &[]);
        assert_eq!((setup.routes.of("a").collect::<Vec<_>>(), setup.handlers.len()), (vec![0], 1));
        assert!(setup.levels.allow("a", 20) && !setup.levels.allow("a", 10));
    }
}

#[test]
fn without_handlers_of_the_root_the_log_stays_where_it_is() {
    for text in [
        "version: 1\nloggers: {a: {level: DEBUG}}\n",
        "version: 1\nroot: {}\nloggers: {a: {level: DEBUG}}\n",
        "version: 1\nincremental: true\nroot: {handlers: []}\nloggers: {a: {level: DEBUG, handlers: []}}\n",
    ] {
        let config = parse(Form::Yaml, text);
        assert_eq!(config.target(), None);
        let setup =
            config.setup(Handler::plain(LogTarget::Stdout, Rotation::default()), 30, &[("b".to_owned(), 10)]);
        assert_eq!((setup.target(), setup.routes.of("c").count()), (LogTarget::Stdout, 1));
        for (logger, expected) in [("a", true), ("b", true), ("c", false)] {
            assert_eq!(setup.levels.allow(logger, 10), expected, "{logger}");
        }
    }
}

#[test]
fn what_only_looks_different_is_a_warning() {
    let text = "version: 1\nformatters:\n  a: {format: '%(threadName)s'}\n  b: {format: '{message}', style: '{'}\n\
                handlers:\n  h: {class: StreamHandler, formatter: a, filters: [x]}\n\
                \x20 t: {class: TimedRotatingFileHandler, filename: /x, when: midnight, utc: true}\n\
                root: {handlers: [h]}\n";
    let warnings = parse(Form::Yaml, text).warnings;
    let expected = [
        "log-config (line 3): the formatter a cannot be followed (%(threadName)s)",
        "log-config (line 4): the formatter b cannot be followed (style {)",
        "log-config (line 6): filters are not followed",
        "log-config (line 7): utc is not followed",
    ];
    assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
    for (warning, part) in warnings.iter().zip(expected) {
        assert!(warning.starts_with(part), "{warning}");
    }
}

#[test]
fn parameters_mean_what_they_mean_to_python() {
    let one = |keys: &str| {
        let text = format!("version: 1\nhandlers: {{h: {{filename: /x, {keys}}}}}\n");
        parse(Form::Yaml, &text).handlers.remove(0)
    };
    for keys in ["class: RotatingFileHandler, maxBytes: 5", "class: RotatingFileHandler, backupCount: 5"] {
        assert_eq!(one(keys).rotation, Rotation::default(), "{keys}");
    }
    let all = one("class: logging.handlers.TimedRotatingFileHandler, when: midnight");
    assert_eq!(all.rotation, Rotation { when: When::Daily, keep: u32::MAX });
    assert!(one("class: logging.FileHandler, mode: w").begin_empty);
    assert!(!one("class: RotatingFileHandler, mode: w, maxBytes: 5, backupCount: 1").begin_empty);
    assert!(!one("class: logging.handlers.WatchedFileHandler").begin_empty);
    assert_eq!(one("class: FileHandler, level: NOTSET").level, 0);
}

#[test]
fn what_cannot_be_is_told_with_its_line() {
    for (form, text, part) in [
        (Form::Json, "{", "/x/log.conf: is no JSON"),
        (Form::Json, "[1]", "the configuration has to be a dict"),
        (Form::Json, "{}", "\"version\": 1 is missing"),
        (Form::Yaml, "version: 1\na: [\n", "is no YAML"),
        (Form::Yaml, "version: 2", "(line 1): version 2"),
        (Form::Python, "import logging\n", "(line 1): is not just a dict"),
        (
            Form::Python,
            "{'version': 1,\n 'handlers': dict()}",
            "(line 2): is not just a dict, such as `{'version': 1, ...}`: dict is no",
        ),
        (
            Form::Yaml,
            "version: 1\nhandlers:\n  h:\n    class: logging.handlers.SysLogHandler\n",
            "(line 4): the handler h is a logging.handlers.SysLogHandler, which is not supported; supported are StreamHandler, F",
        ),
        (Form::Yaml, "version: 1\nhandlers:\n  h: {}\n", "(line 3): the handler h has no class"),
        (
            Form::Yaml,
            "version: 1\nhandlers:\n  h: {class: FileHandler}\n",
            "(line 3): the handler h has no filename",
        ),
        (
            Form::Yaml,
            "version: 1\nhandlers:\n  h: {class: FileHandler, filename: /x,\n      maxBytes: 3}\n",
            "(line 4): the handler h: FileHandler has no parameter maxBytes",
        ),
        (Form::Yaml, "version: 1\nroot:\n  handlers: [x]\n", "(line 3): there is no handler \"x\""),
        (Form::Yaml, "version: 1\nroot:\n  level: LOUD\n", "(line 3): \"LOUD\" is no level"),
        (
            Form::Yaml,
            "version: 1\nhandlers:\n  h: {class: StreamHandler, formatter: x}\n",
            "(line 3): there is no formatter \"x\"",
        ),
        (
            Form::Yaml,
            "version: 1\nhandlers:\n  h: {class: StreamHandler, stream: 'ext://sys.stdin'}\n",
            "neither ext://sys.stdout nor",
        ),
        (
            Form::Yaml,
            "version: 1\nhandlers:\n  h: {class: TimedRotatingFileHandler, filename: /x, when: H}\n",
            "(line 3): when \"H\" with interval 1 is not supported",
        ),
        (Form::Ini, "", "there is no section [formatters]"),
        (Form::Ini, "x=1\n", "(line 1): a setting stands before the first [section]"),
        (Form::Ini, "[a\n", "(line 1): the section name"),
        (Form::Ini, "[a]\nnonsense\n", "(line 2): \"nonsense\" is neither"),
    ] {
        let told = refused(form, text);
        assert!(told.contains(part), "{text}: {told}");
    }
    for (from, to, part) in [
        ("args=(sys.stdout,)", "args=(open('x'),)", "(line 26): \"(open('x'),)\": open is no literal"),
        ("args=(sys.stdout,)", "args=(sys.stdout, 1)", "(line 26): StreamHandler takes 1 arguments"),
        (
            "class=StreamHandler",
            "class=handlers.SMTPHandler",
            "(line 25): the handler console is a handlers.SMTPHandler",
        ),
        ("%(dir)s", "%(nope)s", "(line 32): %(nope)s has no value"),
        ("keys = root, router", "keys = router", "(line 5): [loggers] has to list root"),
        ("[handler_disk]", "[handler_disc]", "(line 8): there is no section [handler_disk]"),
        ("level=INFO", "level=LOUD", "(line 15): \"LOUD\" is no level"),
        ("propagate=0", "propagate=no", "(line 22): propagate is 0 or 1"),
        ("handlers=console,disk", "handlers=console,x", "(line 16): there is no handler \"x\""),
    ] {
        let text = INI.replacen(from, to, 1);
        assert_ne!(text, INI, "{from}");
        let told = refused(Form::Ini, &text);
        assert!(told.contains(part), "{to}: {told}");
    }
}

#[test]
fn the_form_is_told_by_prefix_and_else_by_extension() {
    for (given, form, path) in [
        ("a.json", Form::Json, "a.json"),
        ("a.py", Form::Python, "a.py"),
        ("a.yaml", Form::Yaml, "a.yaml"),
        ("a.conf", Form::Ini, "a.conf"),
        ("a", Form::Ini, "a"),
        ("json:a.conf", Form::Json, "a.conf"),
        ("ini:a.json", Form::Ini, "a.json"),
        ("py:a.txt", Form::Python, "a.txt"),
        ("yaml:$HOME/a", Form::Yaml, "$HOME/a"),
    ] {
        assert_eq!(Form::of(given), (form, path));
    }
}
