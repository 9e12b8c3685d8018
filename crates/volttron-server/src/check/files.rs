//! The files of a home besides its `config` and its agents.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{Access, access};
use volttron_utils::config::line_of;
use volttron_utils::files::{open_bits, read_bounded};
use volttron_utils::home::Home;
use volttron_utils::keys::keystore;
use volttron_utils::keys::known_hosts::KnownHosts;

use crate::auth::file::{AuthFile, ParseError};
use crate::auth::protected::Protected;
use crate::auth::store::MAX_FILE_BYTES;
use crate::install::TrustedKeys;
use crate::isolation::site::Site;
use crate::options::check::{Checked, Fault};
use crate::options::{LogTarget, Options};
use crate::services::config_store::offline;

/// Looks at the files. Without options that make sense, what depends on them is left out.
pub(super) fn check(home: &Home, options: Option<&Options>) -> Checked {
    let mut found = Checked::default();
    directory(home, &mut found);
    if options.is_none_or(|options| options.auth) {
        rules(home, &mut found);
        keys(home, &mut found);
    }
    let stores = offline::unreadable(home);
    found.faults.extend(stores.into_iter().map(|(path, why)| {
        Fault::new(why).at(&path).hint("a start keeps it beside as .bad-TIME; repair it before that")
    }));
    if home.service_config().exists() {
        let fault = Fault::new("this file is not read yet").at(&home.service_config());
        found.faults.push(fault.warning().hint("settings of services go into the file config"));
    }
    if let Err(error) = TrustedKeys::of(home) {
        found.faults.push(Fault::new(error.to_string()));
    }
    if let Some(options) = options {
        outside(options, &mut found);
    }
    found
}

fn directory(home: &Home, found: &mut Checked) {
    let path = home.path();
    match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => found.faults.push(Fault::new(format!("the home cannot be looked at: {e}")).at(path)),
        Ok(meta) if !meta.is_dir() => found.faults.push(Fault::new("the home is not a directory").at(path)),
        Ok(_) => {
            if access(path, Access::WRITE_OK | Access::EXEC_OK).is_err() {
                let fault = Fault::new("this user may not write in the home").at(path);
                found
                    .faults
                    .push(fault.hint("give it the directory (chown), or choose another VOLTTRON_HOME"));
            }
            if open_bits(path).is_ok_and(|bits| bits & 0o022 != 0) {
                let fault = Fault::new("others may write in the home").at(path);
                found.faults.push(fault.warning().hint(format!("chmod go-w {}", path.display())));
            }
        }
    }
}

/// A file's text, if it is there.
fn text(path: &Path, found: &mut Checked) -> Option<String> {
    match read_bounded(path, MAX_FILE_BYTES) {
        Ok(text) => {
            found.files.push(path.to_owned());
            Some(text)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => {
            found.faults.push(Fault::new(format!("cannot be read: {e}")).at(path));
            None
        }
    }
}

fn rules(home: &Home, found: &mut Checked) {
    let path = home.auth_file();
    if let Some(text) = text(&path, found) {
        match AuthFile::parse(&text) {
            Err(error) => found.faults.push(refused(&path, &error)),
            Ok(parsed) => found.faults.extend(parsed.warnings.iter().map(|warning| {
                // `allow entry 3 (user_id x) is ignored ...`
                let mut words = warning.split(' ');
                let pointer = match (words.next(), words.next(), words.next()) {
                    (Some(list), Some("entry"), Some(number)) => format!("/{list}/{number}"),
                    _ => String::new(),
                };
                let line = Some(pointer).filter(|p| !p.is_empty()).and_then(|p| line_of(&text, &p));
                Fault::new(warning.clone()).at(&path).place(line.unwrap_or(0), 0)
            })),
        }
    }
    let path = home.protected_topics();
    if let Some(text) = text(&path, found)
        && let Err(error) = Protected::parse(&text)
    {
        found.faults.push(refused(&path, &error));
    }
    let path = home.known_hosts();
    if let Some(text) = text(&path, found)
        && let Err(why) = KnownHosts::parse(&text)
    {
        found.faults.push(Fault::new(format!("this is not a list of hosts and keys: {why}")).at(&path));
    }
}

fn refused(path: &Path, error: &ParseError) -> Fault {
    let (line, column) = match error {
        ParseError::Json(error) => (error.line(), error.column()),
        _ => (0, 0),
    };
    Fault::new(error.to_string()).at(path).place(line, column)
}

fn keys(home: &Home, found: &mut Checked) {
    let own = fs::read_dir(home.path().join("keystores"));
    let services = own.into_iter().flatten().flatten().map(|entry| entry.path().join("keystore.json"));
    let mut all: Vec<_> = services.collect();
    all.sort();
    all.insert(0, home.keystore());
    for path in all {
        key_file(&path, found);
    }
}

/// A keystore that has to be what it is called, if it is there.
pub(super) fn key_file(path: &Path, found: &mut Checked) {
    // An empty one is filled at the start.
    if fs::metadata(path).map_or(true, |meta| meta.len() == 0) {
        return;
    }
    found.files.push(path.to_owned());
    if let Err(error) = keystore::load(path) {
        found.faults.push(Fault::new(error.to_string()).at(path));
    } else if keystore::is_open_to_others(path) {
        let fault = Fault::new("others may read this secret key").at(path).warning();
        found.faults.push(fault.hint(format!("chmod 600 {}", path.display())));
    }
}

/// What settings point to.
fn outside(options: &Options, found: &mut Checked) {
    if let LogTarget::File(path) = options.log.target()
        && !path.parent().is_none_or(Path::is_dir)
        && path.parent() != Some(options.home.path())
    {
        found.faults.push(Fault::new("log: the directory of this file does not exist").at(&path));
    }
    if let Some(path) = &options.isolation_site
        && let Err(error) = Site::load(path)
    {
        found.faults.push(Fault::new(format!("agent-isolation-mode: {error}")).at(path));
    }
    if let Some(path) = &options.python.interpreter
        && path.components().count() > 1
        && !path.exists()
    {
        found.faults.push(Fault::new("agent-python: there is no such interpreter").at(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert!(check(&home, None).faults.is_empty());
        write("auth.json", "{\"allow\": [\n {\"credentials\": 5},\n],}");
        write("protected_topics.json", "{\"write-protect\": 5}");
        write("known_hosts", "[");
        write("keystore", "{}");
        write("keystores/control/keystore.json", "");
        write("keystores/platform.auth/keystore.json", "x");
        write("configuration_store/a.store", "{");
        write("service_config.yml", "");
        let faults = check(&home, None).faults;
        let names: Vec<_> =
            faults.iter().filter_map(|f| f.file.as_ref()?.strip_prefix(dir.path()).ok()).collect();
        let expected = [
            "auth.json",
            "protected_topics.json",
            "known_hosts",
            "keystore",
            "keystores/platform.auth/keystore.json",
            "configuration_store/a.store",
            "service_config.yml",
        ];
        assert_eq!(names, expected.map(Path::new), "{faults:#?}");
        assert_eq!(faults[0].line, Some(3));
        write(
            "auth.json",
            "{\"allow\": [\n {},\n {\"credentials\": 5}\n], \"version\": {\"major\": 1, \"minor\": 4}}",
        );
        let faults = check(&home, None).faults;
        assert!(faults[0].what.contains("entry") && faults[0].line.is_some(), "{faults:#?}");
        assert!(fs::read_to_string(home.configuration_store().join("a.store")).is_ok_and(|t| t == "{"));
    }
}
