//! Agents as a Python platform installed them, each generation in its own layout (home.md sections 2 and 3).

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use volttron_utils::files;
use volttron_utils::home::{AgentDir, Home};
use volttron_utils::identity;
use volttron_utils::keys::PublicKey;
use volttron_utils::keys::keystore::{self, KeystoreError};

use super::quoted;
use super::report::{Action, Item, counted};
use super::tree::{Tree, What};
use crate::auth::entry::Entry;
use crate::auth::file::{AuthFile, List};
use crate::install::python::Unpacked;
use crate::supervisor::installed::{self, InstalledAgent, Manifest, Runtime};

/// Most bytes of an install-time configuration.
const MAX_CONFIG: u64 = 16 << 20;

/// What the registration of an agent writes anew.
const ANEW: [&str; 8] =
    ["UUID", "NAME", "config", "keystore.json", "AUTOSTART", "TAG", "USER_ID", "agent.json"];

/// Which generation installed an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// 9.x: a directory by uuid, with the code in it.
    Nine,
    /// 10.x: a directory by identity, the code in the platform's Python.
    Ten,
}

impl Generation {
    /// As people call it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Nine => "9.x",
            Self::Ten => "10.x",
        }
    }
}

/// An agent that can be carried.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// As it stands in the old home.
    pub there: InstalledAgent,
    pub generation: Generation,
    pub package: String,
    pub version: String,
    /// Install-time configuration.
    pub config: Option<String>,
    /// Its directory, below the home.
    pub dir: String,
    /// Where its data is, below the home.
    pub data: String,
    /// A wheel of this version in the old home.
    pub wheel: Option<PathBuf>,
    /// What it is, and what it may do, for people.
    pub told: (String, String),
}

impl Found {
    /// Where its program lies unpacked.
    pub fn unpacked(&self) -> Unpacked {
        match self.generation {
            Generation::Nine => Unpacked::Directory(self.there.dir.path().join(&self.there.name)),
            Generation::Ten => {
                Unpacked::Installed { package: self.package.clone(), version: self.version.clone() }
            }
        }
    }

    /// The requirement that pip finds it by.
    pub fn requirement(&self) -> String {
        format!("{}=={}", self.package, self.version)
    }

    /// Where a piece of its directory goes in the new home; none if it is written anew or not carried.
    pub fn place_of(&self, path: &str) -> Option<String> {
        let own = format!("agents/{}", self.there.identity);
        if let Some(rest) =
            path.strip_prefix(&self.data).filter(|rest| rest.is_empty() || rest.starts_with('/'))
        {
            return Some(format!("{own}/data{rest}"));
        }
        if self.generation == Generation::Nine {
            return None;
        }
        let rest = path.strip_prefix(&self.dir)?.strip_prefix('/')?;
        (!ANEW.contains(&rest)).then(|| format!("{own}/{rest}"))
    }
}

/// What is below `agents/`.
#[derive(Debug, Default)]
pub(super) struct Agents {
    pub found: Vec<Found>,
    pub items: Vec<Item>,
    /// Directories that look like agents, by generation.
    pub nine: usize,
    pub ten: usize,
}

/// Looks at everything below `agents/`.
pub(super) fn look(home: &Home, tree: &Tree, rules: Option<&AuthFile>, environments: bool) -> Agents {
    let mut agents = Agents::default();
    let mut taken = HashSet::new();
    let names = tree.below("agents").filter(|p| p.path.matches('/').count() == 1);
    for piece in names.filter(|p| p.what == What::Directory) {
        let dir = home.path().join(&piece.path);
        let name = piece.path.trim_start_matches("agents/");
        if name.starts_with('.') {
            continue;
        }
        let nine = !dir.join("UUID").exists();
        if nine {
            agents.nine += 1;
        } else {
            agents.ten += 1;
        }
        let read = if nine { of_nine(&dir) } else { of_ten(&dir) };
        let checked = read.and_then(|there| {
            check(&there.identity, &mut taken)?;
            complete(there, nine, tree, home, &piece.path)
        });
        match checked {
            Ok(mut found) => {
                agents.items.push(item(&mut found, rules, environments));
                agents.found.push(found);
            }
            Err(why) => {
                let text = format!("{why}; it is not carried");
                agents.items.push(
                    Item::new("agent", name, Action::Leave, text)
                        .then("vctl install SOURCE --vip-identity IDENTITY"),
                );
            }
        }
    }
    agents
}

fn of_nine(dir: &Path) -> Result<InstalledAgent, String> {
    match installed::read(dir) {
        Ok(Some(agent)) if agent.manifest.is_none() => Ok(agent),
        Ok(_) => Err("it is incomplete".to_owned()),
        Err(why) => Err(why),
    }
}

fn of_ten(dir: &Path) -> Result<InstalledAgent, String> {
    let text = |name: &str| match files::read_bounded(&dir.join(name), 1 << 16) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|t| !t.is_empty())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{name}: {e}")),
    };
    let name = text("NAME")?.ok_or("it is incomplete: it has no NAME")?;
    let (package, version) =
        name.rsplit_once('-').ok_or(format!("its NAME is {name:?}, without a version"))?;
    let manifest = Manifest {
        format: 1,
        package: package.to_owned(),
        version: version.to_owned(),
        source: Value::Null,
        exec: String::new(),
        args: Vec::new(),
        env: BTreeMap::default(),
        runtime: Runtime::External,
        classic: false,
        for_11: false,
        installed: String::new(),
        installed_by: String::new(),
        restart: None,
        max_restarts: None,
        after: Vec::new(),
        other: Map::default(),
    };
    Ok(InstalledAgent {
        uuid: text("UUID")?.ok_or("it is incomplete: its UUID is empty")?,
        identity: dir.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        tag: text("TAG")?,
        priority: text("AUTOSTART")?,
        manifest: Some(manifest),
        dir: AgentDir::at(dir),
        name,
    })
}

fn check(identity: &str, taken: &mut HashSet<String>) -> Result<(), String> {
    let fits = identity::is_valid(identity) && identity.len() <= installed::MAX_NAME_CHARS;
    if !fits || matches!(identity, "." | "..") {
        return Err(format!(
            "its identity is {identity:?}, and identities are at most 64 of A-Z a-z 0-9 _ . -"
        ));
    }
    if identity::reserved_for_install(identity) {
        return Err(format!("its identity {identity} belongs to the platform"));
    }
    if !taken.insert(identity.to_owned()) {
        return Err(format!("another agent has the identity {identity}, too"));
    }
    Ok(())
}

fn complete(there: InstalledAgent, nine: bool, tree: &Tree, home: &Home, dir: &str) -> Result<Found, String> {
    let (package, version) = there
        .name
        .rsplit_once('-')
        .map(|(p, v)| (p.to_owned(), v.to_owned()))
        .ok_or("its name has no version")?;
    if uuid::Uuid::parse_str(&there.uuid).is_err() {
        return Err(format!("its uuid is {:?}", there.uuid));
    }
    match keystore::load(&there.keystore()) {
        // Python platforms make one when it is missing; so does the registration here.
        Ok(_) | Err(KeystoreError::Missing(_)) => {}
        Err(e) => return Err(e.to_string()),
    }
    let config = match there.config() {
        Some(path) => Some(
            files::read_bounded(&path, MAX_CONFIG)
                .map_err(|e| format!("its configuration {} cannot be read: {e}", path.display()))?,
        ),
        None => None,
    };
    let wheel = wheel_of(tree, &package, &version).map(|path| home.path().join(path));
    let generation = if nine { Generation::Nine } else { Generation::Ten };
    let data = match generation {
        Generation::Nine => format!("{dir}/{0}/{0}.agent-data", there.name),
        Generation::Ten => format!("{dir}/data"),
    };
    let told = Default::default();
    Ok(Found { there, generation, package, version, config, dir: dir.to_owned(), data, wheel, told })
}

/// A wheel of this package and version in `packaged/`.
fn wheel_of(tree: &Tree, package: &str, version: &str) -> Option<String> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '.'], "_");
    let wanted = (plain(package), plain(version));
    let fits = |path: &str| {
        let mut parts = path.strip_prefix("packaged/")?.strip_suffix(".whl")?.split('-');
        Some((plain(parts.next()?), plain(parts.next()?)) == wanted)
    };
    tree.below("packaged").find(|p| fits(&p.path) == Some(true)).map(|p| p.path.clone())
}

fn item(found: &mut Found, rules: Option<&AuthFile>, environments: bool) -> Item {
    let there = &found.there;
    let program = match (&found.wheel, found.generation) {
        _ if !environments => "no program: its environment is not to be made".to_owned(),
        (Some(wheel), _) => format!("an environment from {}", wheel.display()),
        (None, Generation::Nine) => "an environment from its files".to_owned(),
        (None, Generation::Ten) => {
            format!("an environment from this machine's Python, or from PyPI ({})", found.requirement())
        }
    };
    let keys = keystore::load(&there.keystore()).ok();
    let rule = keys.as_ref().and_then(|keys| rule_of(rules?, &keys.public.to_string()));
    let mut intro = format!("{} {}, uuid {}", found.package, found.version, there.uuid);
    for (word, value) in [("tag", &there.tag), ("priority", &there.priority)] {
        if let Some(value) = value {
            let _ = write!(intro, ", {word} {value}");
        }
    }
    let capabilities: Vec<String> = rule
        .as_ref()
        .and_then(|rule| rule["capabilities"].as_object().map(|c| c.keys().cloned().collect()))
        .unwrap_or_default();
    let (mut rights, command) = match (&keys, &rule) {
        (Some(_), Some(_)) => {
            (format!("its key and {}", counted(capabilities.len(), "capability", "capabilities")), None)
        }
        (Some(keys), None) => (
            "auth.json has no entry for its key, so it may not connect".to_owned(),
            Some(admit_command(&there.identity, keys.public)),
        ),
        (None, _) => (
            "it has no key pair: a new one is made, and has to be let in".to_owned(),
            Some(format!("vctl auth publickey {}", there.identity)),
        ),
    };
    if there.dir.user_id().exists() {
        rights.push_str("; its Unix user stays the old platform's, the first start gives it another one");
    }
    let facts = json!({
        "identity": there.identity, "uuid": there.uuid, "package": found.package, "version": found.version,
        "tag": there.tag, "priority": there.priority, "enabled": there.priority.is_some(),
        "generation": found.generation.text(), "capabilities": capabilities,
        "public_key": keys.map(|keys| keys.public.to_string()), "program": Value::Null,
    });
    let mut item =
        Item::new("agent", &there.identity, Action::Convert, format!("{intro}; {program}; {rights}"));
    item.command = command;
    found.told = (intro, rights);
    item.facts(facts)
}

/// The entry that lets this key in.
fn rule_of(rules: &AuthFile, key: &str) -> Option<Value> {
    let has = |value: &Value| match value {
        Value::Array(all) => all.iter().any(|one| one == key),
        one => one == key,
    };
    rules.entries(List::Allow).map(Entry::to_value).find(|entry| has(&entry["credentials"]))
}

/// Databases that an agent of 9.x wrote beside its code, and what else is there that no wheel brought.
pub(super) fn beside_the_code(found: &Found, left: &[String]) -> Option<Item> {
    if left.is_empty() {
        return None;
    }
    let text = format!(
        "it wrote {} beside its code ({}); they are carried to its data directory, below beside-the-code",
        counted(left.len(), "file", "files"),
        left.iter().take(5).cloned().collect::<Vec<_>>().join(", "),
    );
    Some(Item::new("file", &found.there.identity, Action::Convert, text))
}

/// The command that completes an agent without a program.
pub(super) fn install_command(source: &str, identity: &str) -> String {
    format!("vctl install {source} --vip-identity {identity} --force")
}

/// The command that lets an agent in, with what an installation gives it.
pub(super) fn admit_command(identity: &str, key: PublicKey) -> String {
    let capabilities = json!({"edit_config_store": {"identity": identity}});
    format!("vctl auth add --user_id {identity} --credentials {key} --capabilities '{capabilities}'")
}

/// A wheel as an argument.
pub(super) fn wheel_argument(wheel: &Path) -> String {
    quoted(wheel)
}

/// Whether a directory holds a home of ours: one of its agents was installed by us, or our platform owned it.
pub(super) fn is_ours(home: &Home) -> Option<&'static str> {
    let agents = fs::read_dir(home.agents()).into_iter().flatten().flatten();
    if agents.map(|e| e.path()).any(|dir| dir.join("agent.json").exists() || dir.join("agent.link").exists())
    {
        return Some("its agents were installed by this platform");
    }
    if home.lock_file().exists() || home.audit_log().exists() {
        return Some("this platform has run in it");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::backup::Progress;

    const UUID: &str = "914be0d1-142a-4018-a4b5-91f6af75a296";

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn both_layouts_are_read_and_what_is_broken_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        let at = |path: &str| home.agents().join(path);
        let info = format!("{UUID}/listeneragent-3.3/listeneragent-3.3.dist-info");
        write(at(&format!("{UUID}/IDENTITY")), "nine");
        write(at(&format!("{UUID}/AUTOSTART")), "9");
        write(at(&format!("{info}/config")), "{\"a\": 1}");
        write(at("ten/UUID"), "24b5a3a1-6d70-4c6d-8f3c-2f6d3b1b9d3a");
        write(at("ten/NAME"), "volttron-listener-0.2.0rc0");
        write(at("ten/TAG"), "hall");
        write(at("half/UUID"), "");
        write(at("x y/UUID"), "24b5a3a1-6d70-4c6d-8f3c-2f6d3b1b9d3b");
        write(at("x y/NAME"), "a-1");
        write(at("control/UUID"), "24b5a3a1-6d70-4c6d-8f3c-2f6d3b1b9d3c");
        write(at("control/NAME"), "a-1");
        write(at("broken/UUID"), "24b5a3a1-6d70-4c6d-8f3c-2f6d3b1b9d3d");
        write(at("broken/NAME"), "a-1");
        write(at("broken/keystore.json"), "{\n\"public\" 1}");
        write(home.path().join("packaged/volttron_listener-0.2.0rc0-py3-none-any.whl"), "");
        let tree = Tree::read(home.path(), &Progress::default()).unwrap();
        let agents = look(&home, &tree, None, true);
        let mut identities: Vec<&str> = agents.found.iter().map(|f| f.there.identity.as_str()).collect();
        identities.sort_unstable();
        assert_eq!(identities, ["nine", "ten"]);
        let of = |name: &str| agents.found.iter().find(|f| f.there.identity == name).unwrap();
        let (nine, ten) = (of("nine"), of("ten"));
        assert_eq!(
            (nine.generation, &*nine.package, &*nine.version),
            (Generation::Nine, "listeneragent", "3.3")
        );
        assert_eq!(nine.config.as_deref(), Some("{\"a\": 1}"));
        assert_eq!(nine.there.priority.as_deref(), Some("9"));
        assert_eq!(
            (&*ten.requirement(), ten.there.tag.as_deref()),
            ("volttron-listener==0.2.0rc0", Some("hall"))
        );
        assert!(ten.wheel.is_some() && nine.wheel.is_none());
        let told: Vec<String> =
            agents.items.iter().filter(|i| i.action == Action::Leave).map(|i| i.text.clone()).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told.iter().any(|t| t.contains("line 2 column")), "{told:?}");
        // Where their files go.
        assert_eq!(ten.place_of("agents/ten/data/x/y").as_deref(), Some("agents/ten/data/x/y"));
        assert_eq!(ten.place_of("agents/ten/notes.db").as_deref(), Some("agents/ten/notes.db"));
        assert_eq!(ten.place_of("agents/ten/keystore.json"), None);
        let data = format!("agents/{UUID}/listeneragent-3.3/listeneragent-3.3.agent-data/h.sqlite");
        assert_eq!(nine.place_of(&data).as_deref(), Some("agents/nine/data/h.sqlite"));
        assert_eq!(nine.place_of(&format!("agents/{UUID}/listeneragent-3.3/code.py")), None);
    }
}
