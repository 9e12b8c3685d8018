//! `vctl new`: asks what is not given, writes, says how to go on.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::json;

use super::output::{Output, Person};
use super::{Vctl, render};
use crate::ops::OpError;
use crate::ops::auth::Prompt;
use crate::ops::new::{Answers, Kind, write};

/// Options of `vctl new`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    vctl new agent pump-watch                     asks the rest; Enter takes what is proposed\n  \
    vctl new driver boiler --yes                  asks nothing\n  \
    cd pump-watch && cargo test && vctl install . --start")]
pub struct NewArgs {
    /// What it is
    #[arg(value_enum)]
    kind: Kind,
    /// Name of the crate
    name: String,
    /// Where to write it; a directory of that name by default
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// What it does, in a line
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Who writes it; what git knows by default
    #[arg(long, value_name = "NAME <ADDRESS>")]
    author: Option<String>,
    /// Licence, as SPDX names it
    #[arg(long, value_name = "SPDX")]
    license: Option<String>,
    /// Address of its repository
    #[arg(long, value_name = "URL")]
    repository: Option<String>,
    /// Default VIP identity; n in braces becomes a number at installation
    #[arg(long, value_name = "IDENTITY")]
    vip_identity: Option<String>,
    /// Name of the agent's type
    #[arg(long, value_name = "NAME")]
    type_name: Option<String>,
    /// Ask nothing
    #[arg(short, long)]
    yes: bool,
}

impl NewArgs {
    /// As asked for elsewhere than on `vctl new`.
    pub(super) fn asked(
        kind: Kind,
        name: String,
        path: PathBuf,
        vip_identity: Option<String>,
        yes: bool,
    ) -> Self {
        let (description, author, license, repository, type_name) = Default::default();
        let path = Some(path);
        Self { kind, name, path, description, author, license, repository, vip_identity, type_name, yes }
    }
}

pub(super) fn new(vctl: &Vctl, args: NewArgs, out: &mut Output) -> Result<u8, OpError> {
    let ask = !args.yes && !vctl.json && io::stdin().is_terminal();
    let kind = args.kind;
    let directory = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    // A name that will not do is said before anything is asked.
    Answers::proposed(kind, &args.name).check(kind)?;
    let answers = answers(args, ask)?;
    write(kind, &answers, &directory)?;
    // The length of names decides where lines break. Without rustfmt the crate is as good.
    let _ = Command::new("cargo")
        .arg("fmt")
        .current_dir(&directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if vctl.json {
        let object = json!({"path": directory, "name": answers.name, "kind": kind.word(), "identity": answers.identity});
        out.print(&render::pretty(&object));
        return Ok(0);
    }
    out.line(&format!(
        "Wrote the {} {} to {dir}\n\nNext:\n  cd {dir}\n  cargo test\n  vctl install . --agent-config config.yml --start",
        kind.word(),
        answers.name,
        dir = directory.display()
    ));
    Ok(0)
}

fn answers(args: NewArgs, ask: bool) -> Result<Answers, OpError> {
    let mut answers = Answers::proposed(args.kind, &args.name);
    answers.author = git_author();
    for (place, given, question) in [
        (&mut answers.description, args.description, "Short description"),
        (&mut answers.author, args.author, "Author"),
        (&mut answers.license, args.license, "Licence"),
        (&mut answers.repository, args.repository, "Repository"),
        (&mut answers.identity, args.vip_identity, "Default VIP identity"),
        (&mut answers.agent_type, args.type_name, "Name of the agent's type"),
    ] {
        if let Some(given) = given {
            *place = given;
        } else if ask {
            let typed = Person
                .ask(&format!("{question} [{place}]: "))
                .map_err(|source| OpError::File { what: "no answer".to_owned(), source })?;
            if !typed.trim().is_empty() {
                typed.trim().clone_into(place);
            }
        }
    }
    Ok(answers)
}

/// `Name <address>` as git knows it; empty without.
fn git_author() -> String {
    let ask = |key: &str| {
        let output = Command::new("git").args(["config", "--get", key]).stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    match (ask("user.name"), ask("user.email")) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (Some(name), None) => name,
        _ => String::new(),
    }
}
