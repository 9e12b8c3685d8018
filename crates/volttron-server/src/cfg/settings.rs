//! The configuration file of the home, changed setting by setting: everything else in it stays as it is.

use volttron_utils::config::OptionFile;
use volttron_utils::files;
use volttron_utils::home::Home;

use super::CfgError;

const SECTION: &str = "volttron";
const NAME: &str = "instance-name";

/// The file.
pub(super) struct Settings {
    home: Home,
}

impl Settings {
    pub(super) fn new(home: &Home) -> Self {
        Self { home: home.clone() }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Result<Option<String>, CfgError> {
        let value = self.load()?.get(&[SECTION], key);
        Ok(value.map(|text| text.trim_matches('"').to_owned()).filter(|text| !text.is_empty()))
    }

    /// Sets keys.
    pub(super) fn change(&mut self, pairs: &[(&str, &str)]) -> Result<(), CfgError> {
        self.edit(|file| {
            pairs.iter().fold(false, |changed, (key, value)| file.set(SECTION, key, value) | changed)
        })
    }

    /// Sets the name, in quotes as always.
    pub(super) fn name(&mut self, name: &str) -> Result<(), CfgError> {
        self.edit(|file| file.set_quoted(SECTION, NAME, name))
    }

    /// Takes the quotes off the name, as a start of the original does.
    pub(super) fn name_as_started(&mut self) -> Result<(), CfgError> {
        let Some(name) = self.get(NAME)? else { return Ok(()) };
        self.edit(|file| file.set_quoted(SECTION, NAME, "") | file.set(SECTION, NAME, &name))
    }

    fn edit(&mut self, change: impl FnOnce(&mut OptionFile) -> bool) -> Result<(), CfgError> {
        let mut file = self.load()?;
        if !change(&mut file) {
            return Ok(());
        }
        let refused = |why: String| CfgError::Refused(why);
        files::create_dir(self.home.path(), 0o755)
            .map_err(|e| refused(format!("cannot create {}: {e}", self.home.path().display())))?;
        file.save(&self.home.config_file()).map_err(|e| refused(e.to_string()))
    }

    fn load(&self) -> Result<OptionFile, CfgError> {
        OptionFile::load_or_empty(&self.home.config_file()).map_err(|e| {
            CfgError::Refused(format!("{e}; `volttron --check-config` reports everything at once"))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_not_set_stays() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("new/home")).unwrap();
        let mut settings = Settings::new(&home);
        settings.change(&[("message-bus", "zmq")]).unwrap();
        settings.name("site 1").unwrap();
        let text = || fs::read_to_string(home.config_file()).unwrap();
        assert_eq!(text(), "[volttron]\nmessage-bus = zmq\ninstance-name = \"site 1\"\n");
        settings.name("a").unwrap();
        assert_eq!(settings.get("instance-name").unwrap().as_deref(), Some("a"));
        settings.name_as_started().unwrap();
        assert!(text().ends_with("instance-name = a\n"));
        fs::write(home.config_file(), "# mine\n[volttron]\nunknown = x # y\nmessage-bus=rmq\n").unwrap();
        settings.change(&[("message-bus", "zmq"), ("vip-address", "tcp://a:1")]).unwrap();
        assert_eq!(text(), "# mine\n[volttron]\nunknown = x # y\nmessage-bus=zmq\nvip-address = tcp://a:1\n");
        fs::write(home.config_file(), "[volttron").unwrap();
        assert!(settings.change(&[("a", "b")]).unwrap_err().to_string().contains("line 1"));
        assert_eq!(text(), "[volttron");
    }
}
