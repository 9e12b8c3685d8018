//! The references of the command line and of the configuration, `docs/cli.md` and `docs/config.md`: what the programs say
//! themselves. A page that says something else fails; `VOLTTRON_WRITE_DOCS=1` writes it.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use volttron_tests::programs::program;

use super::docs;

/// In the order of the page.
const PROGRAMS: [&[&str]; 9] = [
    &["volttron"],
    &["volttron", "up"],
    &["volttron", "down"],
    &["vctl"],
    &["vcfg"],
    &["vpkg"],
    &["volttron-upgrade"],
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
    compare("cli.md", &page);
}

const CONFIG: &str = "# Configuration\n\n\
    Made from the programs; see `tests/tests/docs/reference.rs`.\n\n\
    ## The platform\n\n\
    The file `config` in the home, `key = value` below `[volttron]`. Every key is also an option of `volttron` (`--key value`), which wins over the file. A key \
    that switches something on takes `True` or `False`. `volttron --check-config` reports what is wrong, with line and column, and starts nothing; `vcfg` asks for the \
    most important ones, and a running platform takes changes at its next start.\n\n\
    ```ini\n[volttron]\ninstance-name = campus1\nvip-address = tcp://192.0.2.10:22916\nmessage-bus = zmq\n```\n\n";

/// Options of `volttron` that say what the program is to do this time.
const NO_SETTINGS: [&str; 7] = ["config", "vhome", "check-config", "json", "daemon", "help", "version"];

/// The options of a help text: name, value, and what it says.
fn options(help: &str) -> Vec<(String, String, String)> {
    let mut found: Vec<(String, String, String)> = Vec::new();
    for line in help.lines().skip_while(|line| *line != "Options:").skip(1) {
        if let Some((_, option)) =
            line.split_once("--").filter(|_| line.starts_with("  ") && line.trim().starts_with('-'))
        {
            let name = option.split([' ', '[', '.']).next().unwrap_or_default();
            let value = match option.split_once('<').and_then(|(_, value)| value.rsplit_once('>')) {
                Some((value, _)) => value,
                None if option.ends_with("...") => "how often",
                None => "True, False",
            };
            found.push((name.to_owned(), value.to_owned(), String::new()));
        } else if line.is_empty() || line.starts_with("    ") {
            if let Some((.., text)) = found.last_mut() {
                *text = format!("{text} {}", line.trim()).trim().to_owned();
            }
        } else {
            break;
        }
    }
    found
}

/// A text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

fn describe_agent(page: &mut String, name: &str) {
    let output = Command::new(program(name)).arg("--describe").env_clear().output().expect("run an agent");
    let about: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let options = about["config_schema"]["properties"].as_object().expect("a schema of its configuration");
    let _ = write!(
        page,
        "\n## {name}\n\n{}. By default its identity is `{}`.\n\n| option | default | meaning |\n|---|---|---|\n",
        about["description"].as_str().expect("text"),
        about["identity"].as_str().expect("text")
    );
    for (key, option) in options {
        let default =
            option.get("default").map_or_else(String::new, |value| format!("`{}`", cell(&value.to_string())));
        let _ = writeln!(
            page,
            "| `{key}` | {default} | {} |",
            cell(option["description"].as_str().expect("text"))
        );
    }
}

#[test]
fn the_configuration_is_what_the_programs_say() {
    let mut page = format!("{CONFIG}| key | value | meaning |\n|---|---|---|\n");
    for (name, value, text) in options(&help(&["volttron".to_owned()])) {
        if !NO_SETTINGS.contains(&name.as_str()) {
            let _ = writeln!(page, "| `{name}` | {} | {} |", cell(&value), cell(&text));
        }
    }
    page.push_str(
        "\nAgents have a configuration file, given to `vctl install --agent-config`, and the entry `config` of the configuration store, which wins and may change \
         while they run (`vctl config store IDENTITY config FILE`). Both are JSON or YAML.\n",
    );
    for name in ["volttron-listener", "volttron-platform-driver", "volttron-sql-historian"] {
        describe_agent(&mut page, name);
    }
    compare("config.md", &page);
}

/// Compares a page with what it has to be, or writes it.
fn compare(name: &str, page: &str) {
    let file = docs().join(name);
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
