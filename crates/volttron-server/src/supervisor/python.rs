//! Starting Python agents: those installed here, in an environment of their own, and those that a 9.x platform installed
//! (lifecycle.md section 5, home.md section 2).

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use volttron_utils::files;
use volttron_utils::home::Home;
use volttron_utils::keys::keystore;

use super::credentials;
use super::environment::{PlatformFacts, fill};
use super::installed::{InstalledAgent, Manifest};
use super::launcher::LaunchSpec;
use super::protection::{Protection, protect};
use crate::install::python::on_path;

/// Most bytes read of an `entry_points.txt`.
const MAX_ENTRY_POINTS: u64 = 1 << 20;

/// What differs from a native agent: it gets its keys in the environment, and its own virtual environment.
pub(super) fn adapt(
    spec: &mut LaunchSpec,
    home: &Home,
    agent: &InstalledAgent,
    manifest: &Manifest,
) -> Result<(), String> {
    give_keys(spec, agent)?;
    // Python finds its environment by the path it is called with.
    if let Ok(below) = spec.exec.strip_prefix(agent.dir.path().join("../..")) {
        spec.exec = home.path().join(below);
    }
    if let Some(bin) = spec.exec.parent() {
        let root = bin.parent().map(|root| ("VIRTUAL_ENV".into(), root.into()));
        let path = before("PATH", bin);
        spec.set.push(("PATH".into(), path));
        spec.set.extend(root);
    }
    // There it finds its data in a directory named after where it runs, and its keys.
    let package = agent.package_dir(home);
    if manifest.classic && package.is_dir() {
        spec.cwd = package;
    }
    Ok(())
}

/// How to launch an agent that a 9.x platform installed: its code lies in its directory; Python, and VOLTTRON in it, are
/// the operator's.
pub(super) fn older(
    home: &Home,
    facts: &PlatformFacts,
    agent: &InstalledAgent,
) -> Result<LaunchSpec, String> {
    let package = agent.dir.path().join(&agent.name);
    let entry_points = package.join(format!("{}.dist-info", agent.name)).join("entry_points.txt");
    let text = files::read_bounded(&entry_points, MAX_ENTRY_POINTS)
        .map_err(|e| format!("{}: {e}", entry_points.display()))?;
    let module = module(&text).ok_or_else(|| {
        format!(
            "{} names neither volttron.agent/launch nor setuptools.installation/eggsecutable",
            entry_points.display()
        )
    })?;
    let python = facts.python.clone().or_else(|| on_path("python")).or_else(|| on_path("python3"));
    let python = python.ok_or_else(|| {
        format!(
            "{} was installed by a Python platform and needs Python with VOLTTRON 9.x: put it first on PATH, or name it \
             with `agent-python = PATH` in the config, or install a replacement with `vctl install --force \
             --vip-identity {}`",
            agent.name, agent.identity
        )
    })?;
    let data = package.join(format!("{}.agent-data", agent.name));
    let _ = fs::create_dir(&data);
    if facts.isolation.is_some() {
        return Err("an agent of a 9.x layout cannot have a user of its own; install it again".to_owned());
    }
    let mut spec = LaunchSpec {
        exec: python.clone(),
        args: vec!["-m".into(), module.into()],
        set: Vec::new(),
        unset: Vec::new(),
        cwd: package.clone(),
        lasting: None,
        isolated: None,
        sandbox: None,
        group: None,
        max_processes: None,
        protection: Protection::default(),
    };
    fill(&mut spec, home, facts, agent);
    give_keys(&mut spec, agent)?;
    spec.set.push(("AGENT_DATA_DIR".into(), data.into()));
    spec.set.push(("PYTHONPATH".into(), before("PYTHONPATH", &package)));
    if let Some(bin) = python.parent() {
        spec.set.push(("PATH".into(), before("PATH", bin)));
    }
    protect(&mut spec, home, facts, agent)?;
    Ok(spec)
}

fn give_keys(spec: &mut LaunchSpec, agent: &InstalledAgent) -> Result<(), String> {
    let keys = keystore::load(&agent.keystore()).map_err(|e| e.to_string())?;
    spec.set.retain(|(name, _)| name != "AGENT_KEYSTORE");
    spec.unset.retain(|name| *name != "AGENT_SECRETKEY");
    spec.set.push(("AGENT_SECRETKEY".into(), keys.secret.reveal().to_string().into()));
    spec.unset.extend(["AGENT_KEYSTORE", "PYTHONHOME", "__PYVENV_LAUNCHER__"]);
    Ok(())
}

/// Agents of 11.x take their keys from one variable, and the platform's from a file of the home.
pub(super) fn give_credentials(
    spec: &mut LaunchSpec,
    home: &Home,
    facts: &PlatformFacts,
    agent: &InstalledAgent,
) -> Result<(), String> {
    let Some(server_key) = &facts.server_key else {
        return Err(
            "agents of 11.x cannot run on a platform without authentication (allow-auth = False)".to_owned()
        );
    };
    let keys = keystore::load(&agent.keystore()).map_err(|e| e.to_string())?;
    spec.unset.retain(|name| *name != "AGENT_CREDENTIALS");
    spec.set.push(("AGENT_CREDENTIALS".into(), credentials::of_agent(&agent.identity, &keys).into()));
    credentials::publish(home, server_key)
}

/// Most directories that are followed from one environment to the packages beneath it.
const MAX_PLACES: usize = 64;
/// Most bytes read of a `.pth` file or a `pyvenv.cfg`.
const MAX_LINK: u64 = 1 << 16;

/// Where a Python program finds its interpreter and packages: its virtual environment, that which it was made with, and
/// what their `.pth` files lead to.
pub(super) fn packages(program: &Path) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = Vec::new();
    let mut open: Vec<PathBuf> = prefixes(program);
    while let Some(place) = open.pop().filter(|_| places.len() < MAX_PLACES) {
        if !place.is_dir() || places.contains(&place) {
            continue;
        }
        if let Ok(text) = files::read_bounded(&place.join("pyvenv.cfg"), MAX_LINK) {
            let made_with = text.lines().filter_map(|l| l.split_once('=')).find(|(k, _)| k.trim() == "home");
            open.extend(
                made_with
                    .map(|(_, bin)| prefixes(&Path::new(bin.trim()).join("python3")))
                    .unwrap_or_default(),
            );
        }
        let below = fs::read_dir(place.join("lib")).into_iter().flatten().flatten();
        let sites = below.map(|entry| entry.path().join("site-packages")).filter(|dir| dir.is_dir());
        for dir in sites.chain([place.clone()]) {
            open.extend(links(&dir));
        }
        places.push(place);
    }
    places
}

/// The directory above `bin` of a program, as it is called and as it is, if Python lies there: a link in the operator's
/// own `bin` does not open what is beside it.
fn prefixes(program: &Path) -> Vec<PathBuf> {
    let real = fs::canonicalize(program).ok();
    let above = |path: &Path| Some(path.parent()?.parent()?.to_owned());
    let all = [above(program), real.as_deref().and_then(above)];
    all.into_iter().flatten().filter(|path| has_python(path)).collect()
}

fn has_python(prefix: &Path) -> bool {
    let mut below = fs::read_dir(prefix.join("lib")).into_iter().flatten().flatten();
    prefix.parent().is_some()
        && (prefix.join("pyvenv.cfg").is_file()
            || below.any(|entry| entry.file_name().to_string_lossy().starts_with("python")))
}

/// What the `.pth` files of a directory of packages name.
fn links(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|e| e == "pth"));
    let texts = files.filter_map(|path| files::read_bounded(&path, MAX_LINK).ok());
    let named = texts.flat_map(|text| text.lines().filter_map(link).collect::<Vec<_>>());
    named.map(|path| dir.join(path)).filter(|path| path.parent().is_some()).collect()
}

/// What a line of a `.pth` file names: a path, or what ours hand to `addsitedir`.
fn link(line: &str) -> Option<PathBuf> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("import site; site.addsitedir(\"") {
        return rest.strip_suffix("\")").map(PathBuf::from);
    }
    let code = line.is_empty() || line.starts_with('#') || line.starts_with("import");
    (!code).then(|| PathBuf::from(line))
}

/// A list of directories as the platform has it, with one more in front.
fn before(name: &str, dir: &Path) -> OsString {
    let rest = env::var_os(name).unwrap_or_default();
    let dirs = std::iter::once(dir.to_path_buf()).chain(env::split_paths(&rest));
    env::join_paths(dirs.filter(|dir: &PathBuf| !dir.as_os_str().is_empty())).unwrap_or(rest)
}

/// The module that starts the agent: `launch` of `volttron.agent`, else `eggsecutable`.
fn module(entry_points: &str) -> Option<&str> {
    let value = |group: &str, name: &str| {
        let mut section = "";
        entry_points.lines().map(str::trim).find_map(|line| {
            if let Some(rest) = line.strip_prefix('[') {
                section = rest.trim_end_matches(']').trim();
                return None;
            }
            let (key, value) = line.split_once('=')?;
            (section == group && key.trim() == name)
                .then(|| value.split([':', '[']).next().unwrap_or(value).trim())
        })
    };
    value("volttron.agent", "launch").or_else(|| value("setuptools.installation", "eggsecutable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found_through_environments_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for path in [
            "own/bin",
            "own/lib/python3.11/site-packages",
            "base/bin",
            "base/lib/python3.11/site-packages",
            "src",
        ] {
            fs::create_dir_all(at(path)).unwrap();
        }
        fs::write(at("own/bin/agent"), "").unwrap();
        fs::write(at("own/pyvenv.cfg"), format!("home = {}\n", at("base/bin").display())).unwrap();
        let beneath = at("base/lib/python3.11/site-packages");
        let line = format!("import site; site.addsitedir({:?})\n", beneath.to_string_lossy());
        fs::write(at("own/lib/python3.11/site-packages/beneath.pth"), line).unwrap();
        fs::write(beneath.join("dev.pth"), format!("# x\nimport os\n{}\n/\n", at("src").display())).unwrap();
        let mut found = packages(&at("own/bin/agent"));
        found.sort();
        let mut expected = vec![at("own"), at("base"), beneath, at("src")];
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_module_is_found_as_9_x_does() {
        for (text, expected) in [
            ("[setuptools.installation]\neggsecutable = listener.agent:main\n", Some("listener.agent")),
            ("[volttron.agent]\nlaunch=a.b\n[setuptools.installation]\neggsecutable = c:main", Some("a.b")),
            ("[console_scripts]\neggsecutable = a:main\n[ setuptools.installation ]\nother = b:main", None),
            ("[setuptools.installation]\neggsecutable = x.y:main [extra]\n", Some("x.y")),
            ("", None),
        ] {
            assert_eq!(module(text), expected, "{text}");
        }
    }
}
