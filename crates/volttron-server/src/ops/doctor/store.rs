//! The files of the configuration store: what a start would put aside, and what one has put aside.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::{Report, Scene, make_readable, quoted, shown};
use crate::codes::Code;
use crate::services::config_store::offline;

/// What the name of a store that was put aside has in it.
const ASIDE: &str = ".store.bad-";

/// Whether every store can be read, and whether all of what the platform found was kept.
pub(super) fn store(scene: &Scene, report: &mut Report) {
    for (path, why) in offline::unreadable(&scene.home) {
        damaged(scene, &path, &why, report);
    }
    for entry in fs::read_dir(scene.home.configuration_store()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some((identity, time)) = name.split_once(ASIDE) {
            put_aside(scene, &entry.path(), identity, time, report);
        }
    }
}

fn damaged(scene: &Scene, path: &Path, why: &str, report: &mut Report) {
    let subject = path.display().to_string();
    let identity = path.file_stem().unwrap_or_default().to_string_lossy();
    let what = format!("the configuration store of {identity} is damaged: {subject}: {why}");
    let (matters, mend) = if scene.running.is_some() {
        // It writes what it has in memory over the file, at the next change.
        (
            "the running platform has its content in memory; what cannot be read is put aside by the next start, and the \
             agent runs without it",
            scene.vctl(&format!("config list {}", quoted(&identity)))
                + "  # then store one of them again, which writes the file anew: vctl config edit",
        )
    } else {
        (
            "the next start puts what cannot be read aside, and the agent runs without it",
            format!("${{EDITOR:-nano}} +{} {}", line_in(why), shown(path)),
        )
    };
    let unreadable = File::open(path).is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied);
    let fix = if unreadable { make_readable(path, scene.me) } else { mend };
    report.fault(Code::ConfigStore, subject, [what, matters.to_owned(), fix]);
}

/// The line that a reader of JSON complains about.
fn line_in(why: &str) -> usize {
    let (_, rest) = why.rsplit_once(" line ").unwrap_or_default();
    rest.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(1)
}

fn put_aside(scene: &Scene, path: &Path, identity: &str, time: &str, report: &mut Report) {
    let subject = path.display().to_string();
    let backups = shown(&scene.home.backups());
    let texts = [
        format!(
            "a start at {time} found configurations of {identity} damaged, and put them aside: {subject}"
        ),
        format!(
            "{identity} runs without them, unless they were stored again ({})",
            scene.vctl(&format!("config store {} NAME FILE", quoted(identity)))
        ),
        format!(
            "less {0}; mkdir -p {backups} && mv -n {0} {backups}/  # once all that is needed is stored again",
            shown(path)
        ),
    ];
    report.warn(Code::ConfigStore, subject, texts);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_mistake_is_found() {
        assert_eq!(line_in("this is not readable: expected value at line 12 column 3"), 12);
        assert_eq!(line_in("configuration \"x\" would be put aside: no text"), 1);
    }
}
