//! The reference of the command line, `docs/cli.md`: what the programs say themselves. A page that says something else fails;
//! `VOLTTRON_WRITE_DOCS=1` writes it.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use volttron_tests::programs::program;

use super::docs;

/// In the order of the page.
const PROGRAMS: [&[&str]; 7] = [
    &["volttron"],
    &["volttron", "up"],
    &["volttron", "down"],
    &["vctl"],
    &["vcfg"],
    &["start-volttron"],
    &["stop-volttron"],
];

const INTRODUCTION: &str = "# Command line\n\n\
    What `--help` says, of every command. Made from the programs; see `tests/tests/docs/reference.rs`.\n";

fn help(words: &[String]) -> String {
    let mut command = Command::new(program(&words[0]));
    let output = command.args(&words[1..]).arg("--help").env_clear().output().expect("run a program");
    assert!(output.status.success(), "{words:?} --help: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The names below `Commands:`.
fn subcommands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ").filter(|l| !l.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|name| name != "help")
        .collect()
}

/// Without the options that every command has; they stand with the program.
fn own_part(help: &str, of_command: bool) -> Vec<&str> {
    let mut global = false;
    let is_own = |line: &&str| {
        global = of_command && (*line == "Global options:" || global && !line.is_empty());
        !global
    };
    let mut lines: Vec<&str> = help.lines().map(str::trim_end).filter(is_own).collect();
    lines.dedup_by(|a, b| a.is_empty() && b.is_empty());
    lines
}

fn describe(page: &mut String, words: &[String]) {
    let help = help(words);
    let level = "#".repeat(words.len() + 1);
    let shown = own_part(&help, words[0] == "vctl" && words.len() > 1);
    let _ = write!(page, "\n{level} {}\n\n```text\n{}\n```\n", words.join(" "), shown.join("\n").trim());
    for name in subcommands(&help) {
        describe(page, &[words, &[name]].concat());
    }
}

#[test]
fn the_reference_is_what_the_programs_say() {
    let mut page = INTRODUCTION.to_owned();
    for words in PROGRAMS {
        describe(&mut page, &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    }
    let file = docs().join("cli.md");
    if std::env::var_os("VOLTTRON_WRITE_DOCS").is_some() {
        fs::write(&file, page).expect("write the reference");
        return;
    }
    let is = fs::read_to_string(&file).unwrap_or_default();
    let differs = is.lines().zip(page.lines()).position(|(is, should)| is != should);
    assert!(
        is == page,
        "{} is not what the programs say (line {}); VOLTTRON_WRITE_DOCS=1 cargo test -p volttron-tests --test docs writes it",
        file.display(),
        differs.map_or_else(|| "at the end".to_owned(), |n| (n + 1).to_string())
    );
}
