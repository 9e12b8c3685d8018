//! Making the new home: under another name beside its place, then one rename.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use volttron_utils::config::OptionFile;
use volttron_utils::home::Home;

use super::plan::Plan;
use super::programs::{self, Program};
use super::record::Record;
use super::report::{Action, Item};
use super::{MigrateError, MigrateRequest, copy, history, running, undo};
use crate::install::python::lacks_client;
use crate::ops::OpError;
use crate::ops::backup::{
    self, BackupError, Progress, Work, Workplace, io_error, present, put_in_place, relocate, room,
};
use crate::ops::doctor::size;

/// What the name of the home that is being made says.
const MIGRATING: &str = "migrating";

/// What came of a migration.
#[derive(Clone, Debug)]
pub struct Built {
    /// Each thing, and what became of it.
    pub items: Vec<Item>,
    /// Commands that complete what could not be done here.
    pub to_finish: Vec<String>,
}

/// The home that is being made; gone with this value unless it was put in its place.
struct Staged {
    workplace: Workplace,
    home: Home,
    place: PathBuf,
}

/// Makes the new home, whole or not at all. `look` is called from time to time while files are copied.
pub async fn build(
    request: &MigrateRequest,
    mut plan: Plan,
    mut look: impl FnMut(&Progress),
) -> Result<Built, OpError> {
    plan.check()?;
    let staged = stage(&plan)?;
    let mut to_finish = Vec::new();
    let mut python = request.python.clone();
    for found in plan.agents.clone() {
        let program = programs::establish(&staged.home, &found, &python, request.environments).await?;
        python.offline |= matches!(&program, Program::None { why, .. } if lacks_client(why));
        to_finish.extend(plan.settle(&found, program, &staged.home));
    }
    let failed = |source| OpError::File { what: "cannot begin to copy".to_owned(), source };
    let work = Work::begin(move |progress| finish(plan, staged, to_finish, progress)).map_err(failed)?;
    Ok(work.wait(&mut look).await.map_err(failed)??)
}

fn stage(plan: &Plan) -> Result<Staged, MigrateError> {
    let place = fs::canonicalize(plan.to.path()).unwrap_or_else(|_| plan.to.path().to_owned());
    let beside = place.parent().unwrap_or(Path::new("/")).to_owned();
    fs::create_dir_all(&beside).map_err(io_error("make", &beside))?;
    clear_abandoned(&place);
    let (needed, free) = (plan.bytes(), room(&beside)?);
    if needed > free {
        return Err(BackupError::NoSpace {
            what: "the new home".to_owned(),
            needed: size(needed),
            free: size(free),
            path: beside,
        }
        .into());
    }
    let workplace = Workplace::open(&place, MIGRATING)?;
    let dir = workplace.path();
    let home = Home::new(dir).map_err(|e| io_error("find", dir)(std::io::Error::other(e)))?;
    for dir in [home.agents(), home.configuration_store()] {
        volttron_utils::files::create_dir(&dir, 0o755).map_err(io_error("make", &dir))?;
    }
    Ok(Staged { workplace, home, place })
}

fn finish(
    mut plan: Plan,
    staged: Staged,
    to_finish: Vec<String>,
    progress: &Progress,
) -> Result<Built, MigrateError> {
    progress.begin(plan.bytes());
    copy::copy(&plan.from, staged.home.path(), &plan.carried, progress)?;
    change_settings(&plan, &staged)?;
    count_histories(&mut plan, &staged);
    rename_paths(&mut plan, &staged)?;
    // What agents were installed with need not be kept.
    let cache = staged.home.cache();
    if cache.exists() {
        fs::remove_dir_all(&cache).map_err(io_error("remove", &cache))?;
    }
    let from_home =
        Home::new(&plan.from).map_err(|e| io_error("find", &plan.from)(std::io::Error::other(e)))?;
    if let Some(why) = running::in_use(&from_home, &plan.from) {
        let why = format!("{why}; it began while it was copied, and the copy was thrown away");
        return Err(MigrateError::InUse { path: plan.from.clone(), why });
    }
    let items: Vec<Value> = plan.items.iter().map(Item::to_json).collect();
    Record::of(staged.home.path(), &plan.from, plan.generation.text(), items)?.write(staged.home.path())?;
    let root = staged.home.path();
    fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .map_err(io_error("write", root))?;
    copy::hand_over(&plan.from, root)?;
    let flushed = fs::File::open(root).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?));
    flushed.map_err(io_error("write", root))?;
    let Staged { workplace, place, .. } = staged;
    if let Some(first) = present(&place)?.first() {
        let why =
            format!("it was empty when this began, and has {} now; nothing was left behind", first.display());
        return Err(MigrateError::Place { path: place, why });
    }
    let (dir, lock) = workplace.keep();
    put_in_place(&dir, &place, false)?;
    drop(lock);
    Ok(Built { items: plan.items, to_finish })
}

fn change_settings(plan: &Plan, staged: &Staged) -> Result<(), MigrateError> {
    let path = staged.home.config_file();
    if plan.settings.remove.is_empty() && plan.settings.set.is_empty() {
        return Ok(());
    }
    let failed = |e: volttron_utils::config::OptionError| io_error("write", &path)(std::io::Error::other(e));
    let mut file = OptionFile::load_or_empty(&path).map_err(failed)?;
    for key in &plan.settings.remove {
        file.remove("volttron", key);
    }
    for (key, value) in &plan.settings.set {
        file.set("volttron", key, value);
    }
    Ok(file.save(&path).map_err(failed)?)
}

/// What the copies hold, logs and all.
fn count_histories(plan: &mut Plan, staged: &Staged) {
    for item in plan.items.iter_mut().filter(|i| i.kind == "history") {
        if let Ok(Some(holds)) = history::settle(&staged.home.path().join(&item.name)) {
            item.text = holds.text();
            if let Value::Object(facts) = holds.facts() {
                item.facts = facts;
            }
        }
    }
}

/// Lets what names the old home, or the name under which the new one was made, name the new one.
fn rename_paths(plan: &mut Plan, staged: &Staged) -> Result<(), MigrateError> {
    let (root, to) = (staged.home.path(), plan.to.path());
    let failed = |e| io_error("write in", root)(e);
    let renamed = relocate(root, &plan.from, to).map_err(failed)?;
    relocate(root, root, to).map_err(io_error("write in", root))?;
    for path in renamed {
        let text = format!("it named {}, and names {} now", plan.from.display(), to.display());
        let path = path.display().to_string();
        if !path.starts_with("bin/") && !path.ends_with("/agent.json") {
            plan.items.push(Item::new("file", path, Action::Convert, text));
        }
    }
    Ok(())
}

/// A name beside a home that nobody has.
pub(super) fn new_name(place: &Path, what: &str) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!(".{name}.{what}-{}", uuid::Uuid::new_v4().simple()))
}

/// What a migration or its undoing left behind when it was killed.
pub(super) fn clear_abandoned(place: &Path) {
    backup::clear_abandoned(place, MIGRATING);
    for path in backup::beside(place).filter(|path| undo::is_doomed(path, place)) {
        backup::remove_if_abandoned(&path);
    }
}
