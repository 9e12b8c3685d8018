//! What a migration would do: everything of the old home, looked at once, and nothing written.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use volttron_utils::home::Home;

use super::agents::{self, Agents, Found, Generation};
use super::report::{Action, Item};
use super::shared::{self, Findings, Settings};
use super::tree::{Piece, Tree, What};
use super::{MigrateError, MigrateRequest, history, quoted, running};
use crate::ops::backup::{Progress, leads_inside, present};
use crate::ops::doctor::size;

/// A piece of the old home and its place in the new one.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    pub piece: Piece,
    /// Below the new home.
    pub place: String,
}

/// What becomes of an old home.
#[derive(Debug)]
pub struct Plan {
    /// The old home.
    pub from: PathBuf,
    /// The new one.
    pub to: Home,
    /// Which platform made it.
    pub generation: Generation,
    /// Each thing, and what becomes of it.
    pub items: Vec<Item>,
    /// What has to be mended before anything is done.
    pub problems: Vec<String>,
    pub(super) agents: Vec<Found>,
    pub(super) settings: Settings,
    pub(super) carried: Vec<Carried>,
    /// Files of agents of 9.x, which are copied only if there is no environment for them.
    pub(super) layouts: Vec<Piece>,
}

impl Plan {
    /// Bytes to copy.
    pub fn bytes(&self) -> u64 {
        self.carried.iter().map(|c| c.piece.size).sum()
    }

    /// An error if something has to be mended first.
    pub fn check(&self) -> Result<(), MigrateError> {
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(MigrateError::Broken { path: self.from.clone(), problems: self.problems.clone() })
    }
}

/// Looks at everything. The old home is only read.
pub fn look(request: &MigrateRequest, progress: &Progress) -> Result<Plan, MigrateError> {
    let home = old_home(&request.from)?;
    if let Some(why) = running::in_use(&home, &request.from) {
        return Err(MigrateError::InUse { path: request.from.clone(), why });
    }
    check_place(home.path(), &request.to)?;
    let tree = Tree::read(home.path(), progress)?;
    let mut found = Findings::default();
    for (path, why) in &tree.unreadable {
        let path = home.path().join(path);
        found.problems.push(format!(
            "{}: {why}; run this as its owner, or as root: sudo -u '#{}' vctl migrate ...",
            path.display(),
            owner(&path)
        ));
    }
    let settings = shared::settings(&home, &mut found);
    let broken_keys = shared::keys(&home, &tree, &mut found);
    shared::known_hosts(&home, &tree, &mut found);
    let rules = shared::rules(&home, &tree, &mut found)?;
    shared::protected_topics(&home, &tree, &mut found);
    shared::configurations(&home, &tree, &mut found);
    let agents = agents::look(&home, &tree, rules.as_ref(), request.environments);
    let generation = generation(&home, &agents);
    found.items.extend(agents.items);
    let left = shared::others(&home, &request.to, &tree, &mut found);
    let mut plan = Plan {
        from: home.path().to_owned(),
        to: request.to.clone(),
        generation,
        items: found.items,
        problems: found.problems,
        agents: agents.found,
        settings,
        carried: Vec::new(),
        layouts: Vec::new(),
    };
    plan.assign(&tree, &left, &broken_keys);
    plan.histories();
    Ok(plan)
}

impl Plan {
    /// Gives every piece its place.
    fn assign(&mut self, tree: &Tree, left: &[String], broken: &[String]) {
        for piece in &tree.pieces {
            let top = piece.path.split('/').next().unwrap_or_default();
            if left.iter().any(|l| l == top) || broken.contains(&piece.path) || piece.path == "agents" {
                continue;
            }
            let owner = self.agents.iter().find(|f| {
                piece.path.strip_prefix(&f.dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            let place = match owner {
                Some(found) => {
                    if found.generation == Generation::Nine {
                        self.layouts.push(piece.clone());
                    }
                    found.place_of(&piece.path)
                }
                None if top == "agents" => None,
                None => Some(piece.path.clone()),
            };
            // SQLite makes it again.
            let passing = piece.path.strip_suffix("-shm").is_some_and(|db| tree.has_file(db));
            if let Some(place) = place.filter(|_| !passing) {
                self.carry(piece, place);
            }
        }
    }

    pub(super) fn carry(&mut self, piece: &Piece, place: String) {
        let mut piece = piece.clone();
        if let What::Link(target) = &piece.what {
            let Some(target) = self.target(&piece.path, &place, target) else {
                let text = format!("it leads to {target}, which both platforms would use");
                let (from, to) = (self.from.join(&piece.path), self.to.path().join(&place));
                self.items.push(Item::new("file", &piece.path, Action::Leave, text).then(format!(
                    "cp -aL {} {}",
                    quoted(&from),
                    quoted(&to)
                )));
                return;
            };
            piece.what = What::Link(target);
        }
        self.carried.push(Carried { piece, place });
    }

    /// Where a link leads in the new home; none if that is not in it.
    fn target(&self, path: &str, place: &str, target: &str) -> Option<String> {
        if let Ok(inside) = Path::new(target).strip_prefix(&self.from) {
            return Some(self.to.path().join(inside).display().to_string());
        }
        // What moves within the home may only lead to what moves with it.
        let same_place = path == place;
        let own = |path: &str| path.split_once("data/").map_or(path.to_owned(), |(_, rest)| rest.to_owned());
        let from = if same_place { path.to_owned() } else { own(place) };
        leads_inside(&from, target).then(|| target.to_owned())
    }

    fn histories(&mut self) {
        let databases = self.carried.iter().filter(|c| c.piece.what == What::Database);
        let mut items = Vec::new();
        for carried in databases {
            let path = &carried.piece.path;
            let log = self
                .carried
                .iter()
                .find(|c| c.piece.path == format!("{path}-wal"))
                .map_or(0, |c| c.piece.size);
            match history::peek(&self.from.join(path)) {
                Ok(Some(holds)) => {
                    let mut text = format!("{}, {}", holds.text(), size(carried.piece.size));
                    if log > 0 {
                        let _ = write!(text, ", and what is in its log ({})", size(log));
                    }
                    items.push(Item::new("history", &carried.place, Action::Copy, text).facts(holds.facts()));
                }
                Ok(None) => {}
                Err(why) => {
                    let text = format!("no sound SQLite database, and copied as it is: {why}");
                    items.push(
                        Item::new("history", &carried.place, Action::Copy, text)
                            .then(format!("sqlite3 {} .recover", quoted(&self.from.join(path)))),
                    );
                }
            }
        }
        self.items.extend(items);
    }
}

/// The home, or why it is none that can be migrated.
fn old_home(named: &Path) -> Result<Home, MigrateError> {
    let no = |why: String| MigrateError::NotAHome { path: named.to_owned(), why };
    let path = fs::canonicalize(named).map_err(|e| no(e.to_string()))?;
    if !path.is_dir() {
        return Err(no("it is no directory".to_owned()));
    }
    if rustix::fs::access(&path, Access::READ_OK | Access::EXEC_OK).is_err() {
        return Err(no("it may not be read; run this as its owner".to_owned()));
    }
    let home = Home::new(&path).map_err(|e| no(e.to_string()))?;
    if let Some(why) = agents::is_ours(&home) {
        return Err(no(format!(
            "{why}, and there is nothing to migrate; start it as it is, or copy it with `vctl backup` and `vctl restore`"
        )));
    }
    for name in ["authz.json", "credentials_store"] {
        if path.join(name).exists() {
            return Err(MigrateError::Newer {
                path: named.to_owned(),
                why: format!("it has {name}, as platforms of 11.x and later make it"),
            });
        }
    }
    let any = ["config", "keystore", "auth.json", "agents", "configuration_store", "keystores"];
    if !any.iter().any(|name| path.join(name).exists()) {
        return Err(no(format!(
            "it has none of {}; name the directory that VOLTTRON_HOME named",
            any.join(", ")
        )));
    }
    if !["keystore", "auth.json", "agents"].iter().any(|name| path.join(name).exists()) {
        return Err(no(
            "no platform has run in it: it has neither a keystore nor auth.json nor agents".to_owned()
        ));
    }
    Ok(home)
}

/// The new home has to be empty, and elsewhere.
fn check_place(old: &Path, to: &Home) -> Result<(), MigrateError> {
    let place = fs::canonicalize(to.path()).unwrap_or_else(|_| to.path().to_owned());
    let refuse = |why: String| Err(MigrateError::Place { path: to.path().to_owned(), why });
    let elsewhere = "name another place with --to DIR, or with VOLTTRON_HOME";
    if place == old {
        return refuse(format!("it is the old home; {elsewhere}"));
    }
    if place.starts_with(old) || old.starts_with(&place) {
        return refuse(format!("one of them lies in the other; {elsewhere}"));
    }
    if place.exists() && !place.is_dir() {
        return refuse(format!("it is no directory; {elsewhere}"));
    }
    if !present(&place)?.is_empty() {
        return refuse(format!("it is not empty; {elsewhere}"));
    }
    to.check_socket_length()
        .map_err(|e| MigrateError::Place { path: to.path().to_owned(), why: e.to_string() })
}

/// Which platform it was: by its agents, else by the names of its services' keys.
fn generation(home: &Home, agents: &Agents) -> Generation {
    let keys = ["platform.config_store", "platform.control", "platform.health"];
    let ten = keys.iter().any(|name| home.path().join("keystores").join(name).exists());
    if agents.ten > agents.nine || (agents.ten == agents.nine && ten) {
        Generation::Ten
    } else {
        Generation::Nine
    }
}

fn owner(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path).map_or(0, |meta| meta.uid())
}
