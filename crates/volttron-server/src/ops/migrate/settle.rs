//! What became of an agent once it is known what it runs with: what is copied for it, what is told, and what is left to do.

use std::path::{Path, PathBuf};

use volttron_utils::home::Home;
use volttron_utils::keys::keystore;

use super::agents::{self, Found, Generation};
use super::plan::{Carried, Plan};
use super::programs::Program;
use super::tree::What;

/// Names in an agent's data directory what it wrote beside its code.
const BESIDE: &str = "data/beside-the-code";

impl Plan {
    /// Takes down what an agent runs with in the home that is being made. Gives the commands that complete it.
    pub(super) fn settle(&mut self, found: &Found, program: Program, staged: &Home) -> Vec<String> {
        let mut commands = Vec::new();
        let (text, fact) = match program {
            Program::Environment { from, beside } => {
                self.carry_beside(found, &beside);
                (format!("runs in an environment made from {from}"), "environment")
            }
            Program::None { why, wheel } => {
                let why = in_short(&why);
                let source = match (wheel, found.generation) {
                    (Some(wheel), _) => agents::wheel_argument(&self.final_place(&wheel, staged)),
                    // Agents of 9.x are on no index; only their operator knows where their source is.
                    (None, Generation::Nine) => "SOURCE".to_owned(),
                    (None, Generation::Ten) => format!("pypi:{}", found.requirement()),
                };
                commands.push(agents::install_command(&source, &found.there.identity));
                match found.generation {
                    Generation::Nine => {
                        self.carry_layout(found);
                        (
                            format!("kept as 9.x laid it out, needs a Python with VOLTTRON 9.x: {why}"),
                            "as-9.x",
                        )
                    }
                    Generation::Ten => {
                        (format!("registered with its keys, without a program: {why}"), "none")
                    }
                }
            }
        };
        let identity = &found.there.identity;
        if let Some(item) = self.items.iter_mut().find(|i| i.kind == "agent" && i.name == *identity) {
            let (intro, rights) = &found.told;
            item.text = format!("{intro}; {text}; {rights}");
            item.facts.insert("program".to_owned(), fact.into());
            // Made just now, so that nobody knows it.
            let made = keystore::load(&staged.agent(identity).keystore()).ok();
            if let Some(keys) = made.filter(|_| item.facts["public_key"].is_null()) {
                item.facts.insert("public_key".to_owned(), keys.public.to_string().into());
                item.command = Some(agents::admit_command(identity, keys.public));
            }
            commands.extend(item.command.clone());
            item.command = commands.first().cloned();
        }
        commands
    }

    /// Where something that lies in the old home, or in the one that is being made, will be.
    fn final_place(&self, path: &Path, staged: &Home) -> PathBuf {
        let below = path.strip_prefix(staged.path()).or(path.strip_prefix(&self.from));
        below.map_or_else(|_| path.to_owned(), |below| self.to.path().join(below))
    }

    /// Carries what an agent of 9.x wrote beside its code.
    fn carry_beside(&mut self, found: &Found, beside: &[String]) {
        let package = format!("{}/{}", found.dir, found.there.name);
        for name in beside {
            let path = format!("{package}/{name}");
            let piece = self.layouts.iter().find(|p| p.path == path && !matches!(p.what, What::Link(_)));
            if let Some(piece) = piece.cloned() {
                let place = format!("agents/{}/{BESIDE}/{name}", found.there.identity);
                self.carried.push(Carried { piece, place });
            }
        }
        self.items.extend(agents::beside_the_code(found, beside));
    }

    /// Carries the directory of an agent of 9.x as it is: it starts from its own files.
    fn carry_layout(&mut self, found: &Found) {
        let own = format!("agents/{}", found.there.identity);
        self.carried.retain(|c| !is_below(&c.place, &own));
        let (layout, others) =
            std::mem::take(&mut self.layouts).into_iter().partition(|p| is_below(&p.path, &found.dir));
        self.layouts = others;
        let layout: Vec<_> = layout;
        for piece in &layout {
            self.carry(piece, piece.path.clone());
        }
        // Histories are where its data is.
        let (data, moved) = (&found.data, format!("{own}/data"));
        for item in self.items.iter_mut().filter(|i| i.kind == "history") {
            if let Some(rest) = item.name.strip_prefix(&moved) {
                item.name = format!("{data}{rest}");
            }
        }
    }
}

/// The first and the last line of what pip and others say.
fn in_short(why: &str) -> String {
    let lines: Vec<&str> = why.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines[..] {
        [first, .., last] => format!("{first} {last}"),
        _ => lines.concat(),
    }
}

fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_kept_short() {
        assert_eq!(
            in_short("Getting x failed, pip said:\nWARNING: a\nWARNING: b\nERROR: none\n"),
            "Getting x failed, pip said: ERROR: none"
        );
        assert_eq!((in_short("one"), in_short("")), ("one".to_owned(), String::new()));
        assert!(is_below("a/b/c", "a/b") && is_below("a/b", "a/b") && !is_below("a/bc", "a/b"));
    }
}
