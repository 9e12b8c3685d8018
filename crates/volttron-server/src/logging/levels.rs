//! Which loggers say how much.

/// The name of all loggers of the platform itself.
const PLATFORM: &str = "volttron";
const PLATFORM_CRATES: [&str; 5] =
    ["volttron_server", "volttron_router", "volttron_client", "volttron_utils", "volttron_zmq"];

/// Levels by logger name. Names are dotted; a level set for `a.b` holds for `a.b.c`. `0` and names such as `root`
/// follow Python: the empty name and `root` are the default.
#[derive(Debug, Clone)]
pub struct Levels {
    default: i64,
    /// Longest names first, so that the most specific wins.
    named: Vec<(String, i64)>,
}

impl Levels {
    /// The default level number and those of single loggers; later ones win.
    pub fn new(default: i64, named: &[(String, i64)]) -> Self {
        let mut levels = Self { default, named: Vec::new() };
        for (name, level) in named {
            if name.is_empty() || name == "root" {
                levels.default = *level;
            } else {
                levels.named.retain(|(n, _)| n != name);
                levels.named.push((name.clone(), *level));
            }
        }
        levels.named.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        levels
    }

    /// Whether a record of this logger and level number is written.
    pub fn allow(&self, logger: &str, number: i64) -> bool {
        let named = self.named.iter().find(|(name, _)| covers(name, logger));
        let wanted = named.map_or(self.default, |(_, level)| *level);
        number >= wanted
    }

    /// The lowest number any logger lets through.
    pub fn lowest(&self) -> i64 {
        self.named.iter().map(|(_, level)| *level).chain([self.default]).min().unwrap_or(self.default)
    }
}

/// Whether a setting for the logger `name` holds for another. What operators know as `volttron` are several crates here.
pub(super) fn covers(name: &str, logger: &str) -> bool {
    let below =
        |name: &str| logger.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    below(name) || (name == PLATFORM && PLATFORM_CRATES.iter().any(|own| below(own)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_name_wins() {
        let named = [("a", 10), ("a.b", 40), ("a.bc", 20), ("a", 30)].map(|(n, l)| (n.to_owned(), l));
        let levels = Levels::new(20, &named);
        for (logger, number, expected) in [
            ("x", 20, true),
            ("x", 10, false),
            ("a", 20, false),
            ("a.b.c", 30, false),
            ("a.bc", 20, true),
            ("ab", 20, true),
        ] {
            assert_eq!(levels.allow(logger, number), expected, "{logger} {number}");
        }
        assert_eq!(levels.lowest(), 20);
        let platform =
            Levels::new(30, &[("volttron".to_owned(), 10), ("volttron_server.front".to_owned(), 50)]);
        for (logger, expected) in [
            ("volttron_router.x", true),
            ("volttron.x", true),
            ("volttron_server.front", false),
            ("volttron_listener", false),
        ] {
            assert_eq!(platform.allow(logger, 10), expected, "{logger}");
        }
        assert_eq!(Levels::new(30, &[("root".to_owned(), 10)]).lowest(), 10);
    }
}
