//! The documentation, followed to the letter: every command of every page is run, in order, and prints what the page shows.
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

mod page;
mod pictures;
mod reference;
mod shell;

use std::fs;
use std::path::PathBuf;

use page::Step;
use shell::Shell;
use volttron_tests::generated;
use volttron_tests::platform::sources;
use volttron_tests::programs::program;

fn docs() -> PathBuf {
    sources().parent().expect("the workspace").join("docs")
}

/// Follows a page of the documentation as somebody with an empty home directory does.
fn follow(name: &str) {
    let markdown = fs::read_to_string(docs().join(name)).expect("the page");
    let home = tempfile::tempdir().expect("a home directory");
    generated::workshop_in(home.path());
    generated::build_with_what_is_built(&home.path().join(".volttron"));
    let programs = program("vctl").parent().expect("a directory").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let variables = [
        ("HOME", home.path().display().to_string()),
        ("PATH", format!("{programs}:{path}")),
        ("CARGO_HOME", generated::of_the_user("CARGO_HOME", ".cargo")),
        ("RUSTUP_HOME", generated::of_the_user("RUSTUP_HOME", ".rustup")),
        ("CARGO_NET_OFFLINE", "true".to_owned()),
        ("CARGO_TARGET_DIR", generated::target().display().to_string()),
        ("LANG", "C.UTF-8".to_owned()),
    ];
    let mut shell = Shell::start(home.path(), &variables);
    let end = [".volttron", "new"].map(|name| Ended(home.path().join(name)));
    let steps = page::steps(&markdown);
    assert!(!steps.is_empty(), "{name} tells nobody to do anything");
    for step in &steps {
        match step {
            Step::File { path, text } => {
                let path = home.path().join(path);
                fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
                fs::write(&path, text).expect("write a file of the page");
            }
            Step::Command { text, prints, line } => {
                let (code, printed) = shell.run(text);
                let said = printed.join("\n");
                assert_eq!(code, page::announced_code(text), "docs/{name}:{line}: $ {text}\n{said}");
                assert!(
                    prints.is_empty() || page::matches(prints, &printed),
                    "docs/{name}:{line}: $ {text}\nshown:\n{}\nprinted:\n{said}",
                    prints.join("\n")
                );
            }
        }
    }
    drop(end);
}

/// Ends the platform that a page started, whatever came of the page.
struct Ended(PathBuf);

impl Drop for Ended {
    fn drop(&mut self) {
        let mut vctl = std::process::Command::new(program("vctl"));
        let _ = vctl.args(["shutdown", "--platform"]).env("VOLTTRON_HOME", &self.0).output();
    }
}

#[test]
fn quick_start() {
    follow("quick-start.md");
}

#[test]
fn operations() {
    follow("operations.md");
}

#[test]
fn migrating() {
    follow("migrating.md");
}

#[test]
fn security() {
    follow("security.md");
}

#[test]
fn first_agent() {
    follow("first-agent.md");
}
