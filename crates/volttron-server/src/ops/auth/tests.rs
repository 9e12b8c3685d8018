use std::collections::VecDeque;
use std::fs;

use clap::Parser;
use serde_json::json;

use super::*;
use crate::auth::file::{AuthFile, List};
use crate::auth::store::AuthStore;

const KEY: &str = "pU3b6KfN0yVt8qXw1ZsLr5DdGhJ2mAc9EeTiOoPkB4s";
const OTHER: &str = "qU3b6KfN0yVt8qXw1ZsLr5DdGhJ2mAc9EeTiOoPkB4s";

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: AuthCommand,
}

/// Answers from a list; remembers what was shown.
#[derive(Default)]
struct Script {
    answers: VecDeque<&'static str>,
    shown: Vec<String>,
}

impl Prompt for Script {
    fn ask(&mut self, question: &str) -> io::Result<String> {
        self.shown.push(question.to_owned());
        self.answers.pop_front().map(str::to_owned).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
    fn tell(&mut self, line: &str) {
        self.shown.push(line.to_owned());
    }
}

struct Desk {
    _dir: tempfile::TempDir,
    home: Home,
    script: Script,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        Self { _dir: dir, home, script: Script::default() }
    }

    /// Runs a command line without a platform.
    fn run(&mut self, line: &[&str]) -> Result<Output, AuthOpError> {
        let command = Line::try_parse_from(std::iter::once(&"auth").chain(line)).unwrap().command;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(command, &self.home, None, &mut self.script))
    }

    fn ok(&mut self, line: &[&str]) -> String {
        self.run(line).unwrap_or_else(|e| panic!("{line:?}: {e}")).stdout
    }

    fn entries(&mut self) -> Vec<Value> {
        self.run(&["list"]).unwrap().json.unwrap().as_array().unwrap().clone()
    }
}

#[test]
fn an_empty_list_names_the_file() {
    let mut desk = Desk::new();
    assert_eq!(desk.ok(&["list"]), format!("No entries in {}\n", desk.home.auth_file().display()));
}

#[test]
fn added_entries_are_listed_in_the_form_that_scripts_read() {
    let mut desk = Desk::new();
    let said = desk.ok(&["add", "--credentials", KEY, "--user_id", "my.agent", "--capabilities", "a,b"]);
    assert!(
        said.starts_with(
            "added entry {'domain': None, 'address': None, 'mechanism': 'CURVE', 'credentials': '"
        ),
        "{said}"
    );
    desk.ok(&[
        "add",
        "--credentials",
        OTHER,
        "--user-id",
        "u",
        "--identity",
        "i",
        "--disabled",
        "--domain",
        "vip",
        "--address",
        "10.0.0.1",
        "--groups",
        "g1, g2",
        "--roles",
        "r",
        "--comments",
        "c",
        "--capabilities",
        "{'edit_config_store': {'identity': '/.*/'}}",
    ]);
    let listed = desk.ok(&["list"]);
    let blocks: Vec<&str> = listed.split("\nINDEX: ").collect();
    assert_eq!((blocks.len(), blocks[0]), (3, ""));
    assert!(blocks[1].starts_with("0\n{\n  \"domain\": null,\n") && blocks[1].ends_with("\n}\n"), "{listed}");
    assert!(blocks[2].starts_with("1\n{\n") && blocks[2].ends_with("\n}\n\n"), "{listed}");
    let first: Value = serde_json::from_str(&blocks[1][2..]).unwrap();
    assert_eq!((&first["user_id"], &first["identity"]), (&json!("my.agent"), &json!("my.agent")));
    assert_eq!(first["capabilities"], json!({"a": null, "b": null}));
    let second = &desk.entries()[1];
    assert_eq!(second["groups"], json!(["g1", "g2"]));
    assert_eq!(second["capabilities"], json!({"edit_config_store": {"identity": "/.*/"}}));
    assert_eq!(
        (&second["enabled"], &second["identity"], &second["domain"]),
        (&json!(false), &json!("i"), &json!("vip"))
    );
}

#[test]
fn collisions_and_bad_fields_are_errors_with_codes() {
    let mut desk = Desk::new();
    desk.ok(&["add", "--credentials", KEY, "--user_id", "a"]);
    let table: &[(&[&str], u8, &str)] = &[
        (&["add", "--credentials", OTHER, "--user_id", "a"], 20, "user_id a is already in use at index [0]"),
        (&["add", "--credentials", KEY], 20, "entry matches domain, address and credentials at index [0]"),
        (&["add", "--credentials", "short"], 20, "Invalid CURVE public key: 43 characters are needed, not 5"),
        (&["add", "--user_id", "x"], 20, "credentials parameter is required for mechanism CURVE"),
        (
            &["add", "--credentials", OTHER, "--add-known-host"],
            2,
            "--add-known-host needs --address and --credentials",
        ),
        (&["remove", "7"], 20, "Invalid index: [7]; vctl auth list shows the indices"),
        (
            &["serverkey"],
            10,
            "VOLTTRON is not running. This command requires VOLTTRON platform to be running",
        ),
        (
            &["remote", "list"],
            10,
            "VOLTTRON is not running. This command requires VOLTTRON platform to be running",
        ),
        (&["rpc", "add", "nodot", "cap"], 2, "nodot is not of the form IDENTITY.METHOD"),
        (&["rpc", "add", "b.m", "cap"], 1, "no auth entry has the identity \"b\""),
        (&["update-group", "g", "r"], 1, "group \"g\" does not exist"),
        (&["remove-role", "r"], 1, "role \"r\" does not exist"),
    ];
    for (line, code, text) in table {
        let error = desk.run(line).expect_err(text);
        assert_eq!((error.code(), error.to_string().as_str()), (*code, *text), "{line:?}");
    }
    assert_eq!(desk.entries().len(), 1);
}

#[test]
fn without_fields_they_are_asked_for() {
    let mut desk = Desk::new();
    desk.script.answers =
        ["", "", "", "ident", "{'x': null}", "r1, r2", "", "", "short", KEY, "note", "perhaps", "f"].into();
    desk.ok(&["add"]);
    let asked: Vec<&str> = desk.script.shown.iter().map(String::as_str).collect();
    assert_eq!(
        asked,
        [
            "domain []: ",
            "address []: ",
            "user_id []: ",
            "identity []: ",
            "capabilities (delimit multiple entries with comma) []: ",
            "roles (delimit multiple entries with comma) []: ",
            "groups (delimit multiple entries with comma) []: ",
            "mechanism [CURVE]: ",
            "credentials []: ",
            "Invalid CURVE public key: 43 characters are needed, not 5",
            "credentials []: ",
            "comments []: ",
            "enabled [True]: ",
            "enabled must be True or False, not perhaps",
            "enabled [True]: ",
        ]
    );
    let entry = &desk.entries()[0];
    assert_eq!(
        (&entry["user_id"], &entry["roles"], &entry["enabled"]),
        (&json!("ident"), &json!(["r1", "r2"]), &json!(false))
    );
    // Nobody there: no endless loop, nothing written.
    desk.script = Script::default();
    assert!(matches!(desk.run(&["add"]), Err(AuthOpError::Prompt(_))));
    assert_eq!(desk.entries().len(), 1);
}

#[test]
fn an_update_starts_from_the_present_values() {
    let mut desk = Desk::new();
    desk.ok(&[
        "add",
        "--credentials",
        KEY,
        "--user_id",
        "a",
        "--roles",
        "r",
        "--comments",
        "old",
        "--capabilities",
        "x",
    ]);
    desk.script.answers = ["", "127.0.0.1", "", "", "", "clear", "y", "g", "", "", "clear", "n", ""].into();
    // The last `clear` was denied, so it is the new comment.
    assert_eq!(desk.ok(&["update", "0"]), "updated entry at index 0\n");
    let entry = &desk.entries()[0];
    assert_eq!(
        (&entry["address"], &entry["roles"], &entry["groups"], &entry["comments"], &entry["capabilities"]),
        (&json!("127.0.0.1"), &json!([]), &json!(["g"]), &json!("clear"), &json!({"x": null}))
    );
    assert!(desk.script.shown.iter().any(|q| q == "Do you want to clear this field? [Y/n] "));
}

#[test]
fn removal_asks_first() {
    let mut desk = Desk::new();
    for (key, user) in [(KEY, "a"), (OTHER, "b")] {
        desk.ok(&["add", "--credentials", key, "--user_id", user]);
    }
    desk.script.answers = ["n"].into();
    assert_eq!(desk.ok(&["remove", "0"]), "");
    assert_eq!(desk.entries().len(), 2);
    desk.script.answers = ["Y"].into();
    assert_eq!(desk.ok(&["remove", "0"]), "removed entry at index [0]\n");
    assert_eq!(desk.script.shown[0], "This action will delete the following:");
    assert!(desk.script.shown[1].starts_with("\nINDEX: 0\n{"));
    assert_eq!(desk.ok(&["remove", "-y", "0"]), "removed entry at index [0]\n");
    assert!(desk.entries().is_empty());
}

/// Somebody else removes the first entry while the question is open.
struct Meanwhile(Home);

impl Prompt for Meanwhile {
    fn ask(&mut self, _: &str) -> io::Result<String> {
        let remove = |file: &mut AuthFile| file.remove(List::Allow, &[0]);
        let store = AuthStore::new(self.0.auth_file());
        store.change(AuthFile::default(), remove).unwrap();
        Ok("Y".to_owned())
    }
    fn tell(&mut self, _: &str) {}
}

#[test]
fn what_was_not_shown_is_not_removed() {
    let mut desk = Desk::new();
    for (key, user) in [(KEY, "a"), (OTHER, "b")] {
        desk.ok(&["add", "--credentials", key, "--user_id", user]);
    }
    let command = AuthCommand::Remove { indices: vec![0], yes: false };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error =
        runtime.block_on(run(command, &desk.home, None, &mut Meanwhile(desk.home.clone()))).unwrap_err();
    assert!(error.to_string().contains("somebody else changed the entries"), "{error}");
    assert_eq!(desk.entries()[0]["user_id"], "b");
}

#[test]
fn groups_and_roles() {
    let mut desk = Desk::new();
    assert_eq!(desk.ok(&["add-group", "g", "r1"]), "added group \"g\"\n");
    assert_eq!(desk.run(&["add-group", "g"]).unwrap_err().to_string(), "group \"g\" already exists");
    assert_eq!(desk.ok(&["update-group", "g", "r2", "r1"]), "updated group \"g\"\n");
    assert_eq!(desk.ok(&["list-groups"]), "GROUPS  ROLES\n------  -----\ng       ['r1', 'r2']\n");
    desk.ok(&["update-group", "g", "r1", "--remove"]);
    assert!(desk.ok(&["list-groups"]).ends_with("g       ['r2']\n"));
    assert_eq!(desk.ok(&["remove-group", "g"]), "removed group \"g\"\n");
    assert_eq!(desk.ok(&["add-role", "r", "c"]), "added role \"r\"\n");
    assert_eq!(desk.ok(&["list-roles"]), "ROLE  CAPABILITIES\n----  ------------\nr     ['c']\n");
}

#[test]
fn requirements_of_methods() {
    let mut desk = Desk::new();
    desk.ok(&["add", "--credentials", KEY, "--user_id", "plant.driver"]);
    assert_eq!(desk.ok(&["rpc", "add", "plant.driver.set", "a", "b"]), "");
    desk.ok(&["rpc", "remove", "plant.driver.set", "a"]);
    assert_eq!(
        desk.ok(&["rpc", "list"]),
        "METHOD            CAPABILITIES\n------            ------------\nplant.driver.set  ['b']\n"
    );
    assert_eq!(desk.run(&["rpc", "list", "other"]).unwrap().json, Some(json!({})));
    // A method with a dot; the identity before the last one has no entry.
    desk.ok(&["rpc", "add", "plant.driver.agent.version", "c"]);
    let listed = desk.run(&["rpc", "list"]).unwrap().json.unwrap();
    assert_eq!(listed["plant.driver.agent.version"], json!(["c"]), "{listed}");
    let nobody = desk.run(&["rpc", "add", "plant.agent.version", "c"]).unwrap_err();
    assert_eq!(nobody.to_string(), "no auth entry has the identity \"plant.agent\"");
}

#[test]
fn known_hosts() {
    let mut desk = Desk::new();
    let path = desk.home.known_hosts();
    assert_eq!(desk.ok(&["list-known-hosts"]), format!("No entries in {}\n", path.display()));
    assert_eq!(
        desk.ok(&["add-known-host", "--host", "tcp://10.0.0.1:22916", "--serverkey", KEY]),
        format!("server key written to {}\n", path.display())
    );
    assert_eq!(
        desk.ok(&["list-known-hosts"]),
        format!("HOST            CURVE KEY\n----            ---------\n10.0.0.1:22916  {KEY}\n")
    );
    assert!(desk.run(&["add-known-host", "--host", "h", "--serverkey", "bad"]).is_err());
    assert_eq!(
        desk.ok(&["remove-known-host", "10.0.0.1:22916"]),
        format!("host \"10.0.0.1:22916\" removed from {}\n", path.display())
    );
    assert_eq!(desk.run(&["remove-known-host", "x"]).unwrap_err().code(), 1);
    assert_eq!(fs::read_to_string(&path).unwrap().trim(), "{}");
}

#[test]
fn a_new_key_pair_is_shown_and_not_kept() {
    let mut desk = Desk::new();
    let said = desk.ok(&["keypair"]);
    assert!(said.starts_with("{\n  \"public\": \""));
    let pair: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((pair["public"].as_str().unwrap().len(), pair["secret"].as_str().unwrap().len()), (43, 43));
    assert_eq!(fs::read_dir(desk.home.path()).unwrap().count(), 0);
}
