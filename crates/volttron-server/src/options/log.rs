//! Options of the log: where it goes, how it rotates, and which loggers say how much.

use std::path::PathBuf;

use volttron_utils::home::Home;
use volttron_utils::logging::Level;

use super::args::Args;
use super::{OptionsError, strip_quotes};
use crate::logging::agent_files::Limits as AgentLogLimits;
use crate::logging::config::LogConfig;
use crate::logging::rotation::{Rotation, When};
use crate::logging::{Handler, Levels, Setup};

/// The logger that tells of connections and disconnections, for `--monitor`.
const CONNECTIONS: &str = "volttron_server.front.outlet";

/// Where the log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error, the default.
    Stderr,
    /// Standard output (`--log -`).
    Stdout,
    /// Nowhere (`--log ''`).
    Nowhere,
    /// A file, reopened when it was renamed.
    File(PathBuf),
}

impl std::fmt::Display for LogTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stderr => f.write_str("standard error"),
            Self::Stdout => f.write_str("standard output"),
            Self::Nowhere => f.write_str("nowhere"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What is asked of the log.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Where the log goes without a logging configuration.
    usual: LogTarget,
    /// How its file rotates; none if nobody has said so.
    rotation: Option<Rotation>,
    /// Lowest level number that is logged.
    pub level: i64,
    /// Level numbers of single loggers, by name prefix.
    pub logger_levels: Vec<(String, i64)>,
    /// A logging configuration.
    config: Option<LogConfig>,
}

impl LogOptions {
    pub(super) fn new(home: &Home, args: &Args) -> Result<Self, OptionsError> {
        let level = (args.verboseness + 10 * i64::from(args.quiet) - 10 * i64::from(args.verbose)).max(1);
        let mut logger_levels = logger_levels(&args.log_level)?;
        if args.monitor {
            logger_levels.push((CONNECTIONS.to_owned(), Level::Debug.number()));
        }
        let config = args.log_config.as_deref().map(strip_quotes).filter(|given| !given.is_empty());
        Ok(Self {
            usual: target(home, args.log.as_deref()),
            rotation: rotation(args.log_rotate.as_deref(), args.log_keep)?,
            level: if args.monitor { level.min(Level::Info.number()) } else { level },
            logger_levels,
            config: config
                .map(|given| LogConfig::read(given, |path| PathBuf::from(home.expand(path))))
                .transpose()?,
        })
    }

    /// What to set up.
    pub fn setup(&self) -> Setup {
        let rotation = self.rotation.unwrap_or_default();
        match &self.config {
            Some(config) => {
                let usual = Handler::plain(self.usual.clone(), rotation);
                config.setup(usual, self.level, &self.logger_levels)
            }
            None => Setup::simple(self.usual.clone(), rotation, Levels::new(self.level, &self.logger_levels)),
        }
    }

    /// Where `--log` lets it go; a logging configuration may say something else.
    pub fn usual(&self) -> &LogTarget {
        &self.usual
    }

    /// Where the log goes; the first file, if it goes to several places.
    pub fn target(&self) -> LogTarget {
        let configured = self.config.as_ref().and_then(LogConfig::target);
        configured.map_or_else(|| self.usual.clone(), |(target, _)| target)
    }

    /// How the file that it goes to rotates.
    pub fn rotation(&self) -> Rotation {
        let configured = self.config.as_ref().and_then(LogConfig::target);
        configured.map_or_else(|| self.rotation.unwrap_or_default(), |(_, rotation)| rotation)
    }

    /// Somebody has said whether and how the log rotates.
    pub fn is_rotation_chosen(&self) -> bool {
        self.rotation.is_some()
    }

    /// The logging configuration.
    pub fn config(&self) -> Option<&LogConfig> {
        self.config.as_ref()
    }
}

fn target(home: &Home, text: Option<&str>) -> LogTarget {
    match text {
        None => LogTarget::Stderr,
        Some("") => LogTarget::Nowhere,
        Some("-") => LogTarget::Stdout,
        Some(path) => {
            let path = PathBuf::from(home.expand(path));
            LogTarget::File(std::path::absolute(&path).unwrap_or(path))
        }
    }
}

fn logger_levels(items: &[String]) -> Result<Vec<(String, i64)>, OptionsError> {
    let bad =
        |item: &str| OptionsError::Value { name: "log-level", why: format!("{item:?} is not LOGGER:LEVEL") };
    let mut levels = Vec::new();
    for item in items.iter().flat_map(|i| i.split(',')).map(str::trim).filter(|i| !i.is_empty()) {
        let (logger, level) = item.rsplit_once(':').ok_or_else(|| bad(item))?;
        let level = level.trim().parse().ok().or_else(|| Level::parse(level).map(Level::number));
        levels.push((logger.trim().to_owned(), level.ok_or_else(|| bad(item))?));
    }
    Ok(levels)
}

/// `daily`, `off`, or a size.
fn rotation(text: Option<&str>, keep: u32) -> Result<Option<Rotation>, OptionsError> {
    let Some(text) = text.map(strip_quotes) else { return Ok(None) };
    let when = match (text.to_ascii_lowercase().as_str(), bytes(text)) {
        ("daily", _) => When::Daily,
        ("off", _) | (_, Some(0)) => When::Never,
        (_, Some(max_bytes)) => When::Size(max_bytes),
        _ => {
            return Err(OptionsError::Value {
                name: "log-rotate",
                why: format!("{text:?} is neither a size such as 500K, 10M or 1G, nor daily, nor off"),
            });
        }
    };
    Ok(Some(Rotation { when, keep }))
}

/// 10M, 500 K, 1000000; 0 is none.
pub(super) fn agent_logs(size: &str, files: u32) -> Result<Option<AgentLogLimits>, OptionsError> {
    let text = strip_quotes(size);
    match bytes(text) {
        Some(max_bytes) => Ok((max_bytes > 0).then_some(AgentLogLimits { max_bytes, files })),
        None => Err(OptionsError::Value {
            name: "agent-log-size",
            why: format!("{text:?} is no size such as 500K, 10M or 0"),
        }),
    }
}

/// The bytes of `10M`, `500 K`, `1G`, `1000000`.
fn bytes(text: &str) -> Option<u64> {
    let (number, shift) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    number.trim().parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift))
}

#[cfg(test)]
mod tests {
    use super::super::tests::options;
    use super::*;

    #[test]
    fn where_it_goes_and_how_much_it_says() {
        let o = options(&["-vv", "-q", "-l/tmp/x.log"]).unwrap();
        assert_eq!((o.log.level, o.log.target()), (20, LogTarget::File("/tmp/x.log".into())));
        assert!(!o.log.is_rotation_chosen());
        assert_eq!(options(&["--verboseness", "1", "-vvv"]).unwrap().log.level, 1);
        assert_eq!(options(&["--monitor"]).unwrap().log.level, 20);
        assert_eq!(
            options(&["--log-level", "a.b:DEBUG,c:35"]).unwrap().log.logger_levels,
            [("a.b".to_owned(), 10), ("c".to_owned(), 35)]
        );
        let in_home = options(&["-l", "$VOLTTRON_HOME/v.log"]).unwrap().log.target();
        assert_eq!(in_home, LogTarget::File("/srv/vh/v.log".into()));
        assert_eq!(options(&["--log", ""]).unwrap().log.target(), LogTarget::Nowhere);
        assert_eq!(options(&["-l", "-"]).unwrap().log.target(), LogTarget::Stdout);
    }

    #[test]
    fn how_it_rotates() {
        for (text, when) in [
            ("10M", When::Size(10 << 20)),
            ("500k", When::Size(500 << 10)),
            ("\"1G\"", When::Size(1 << 30)),
            ("Daily", When::Daily),
            ("off", When::Never),
            ("0", When::Never),
        ] {
            let log = options(&["--log-rotate", text]).unwrap().log;
            assert_eq!(log.rotation(), Rotation { when, keep: 7 }, "{text}");
            assert!(log.is_rotation_chosen());
        }
        assert_eq!(options(&["--log-rotate", "1M", "--log-keep", "3"]).unwrap().log.rotation().keep, 3);
        for (text, bytes) in
            [("0", None), ("1 k", Some(1024)), ("2000", Some(2000)), ("\"1G\"", Some(1 << 30))]
        {
            let logs = options(&["--agent-log-size", text]).unwrap().agent_logs;
            assert_eq!(logs.map(|l| l.max_bytes), bytes, "{text}");
        }
    }

    #[test]
    fn a_configuration_goes_before_the_other_options() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("log.yaml");
        let log = dir.path().join("own.log");
        let text = format!(
            "version: 1\nhandlers:\n  own: {{class: logging.handlers.TimedRotatingFileHandler, when: midnight, \
             backupCount: 3, filename: {}}}\nroot: {{level: ERROR, handlers: [own]}}\n",
            log.display()
        );
        std::fs::write(&file, text).unwrap();
        let line = ["-v", "-l", "/tmp/x.log", "--log-rotate", "1M", "-L", file.to_str().unwrap()];
        let options = options(&line).unwrap().log;
        assert_eq!(options.target(), LogTarget::File(log));
        assert_eq!(options.rotation(), Rotation { when: When::Daily, keep: 3 });
        assert!(!options.setup().levels.allow("a", 30) && options.setup().levels.allow("a", 40));
    }
}
