//! What each command says, and what it says to its likeliest errors: standard output, standard error and exit code, as in
//! the files of `said/`. `VOLTTRON_WRITE_SAID=1` writes them; look at the difference before it is committed.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use volttron_tests::platform::Platform;
use volttron_tests::programs::program;

use super::mask;

/// On a platform with the stopped agent `pump` (tag `hall`), the configurations `ahu` and `note` of `pump`, a role and a
/// group. In this order.
const UP: &[(&str, &[&str])] = &[
    ("list", &["list", "list -n 0", "--json list", "list pump", "list nobody", "--json list nobody", "lits"]),
    (
        "status",
        &[
            "status",
            "--json status",
            "status --tag hall",
            "status nobody",
            "--json status nobody",
            "statsu",
            "status --jso",
        ],
    ),
    (
        "health",
        &[
            "health pump",
            "--json health pump",
            "health nobody",
            "--json health nobody",
            "health",
            "helth pump",
        ],
    ),
    ("peerlist", &["peerlist", "--json peerlist", "peerlist extra", "peers"]),
    (
        "tag",
        &[
            "tag pump",
            "--json tag pump",
            "tag pump boiler",
            "tag boiler --tag",
            "tag pump -r",
            "tag pump",
            "tag pump hall",
            "tag nobody",
            "tag",
            "tag pump x -r",
        ],
    ),
    (
        "enable",
        &[
            "enable pump",
            "enable -p 7 pump",
            "--json enable pump",
            "enable nobody",
            "--json enable nobody",
            "enable",
            "enable -p 100 pump",
            "enable -p high pump",
        ],
    ),
    ("disable", &["disable pump", "disable pump", "--json disable pump", "disable nobody", "disable"]),
    ("start", &["start nobody", "start", "start --tag nowhere", "start --all-tag"]),
    ("stop", &["stop pump", "stop nobody", "stop"]),
    ("restart", &["restart nobody", "restart"]),
    ("remove", &["remove nobody", "remove", "remove --name *nobody*"]),
    ("clear", &["clear", "clear -a", "clear x"]),
    (
        "install",
        &[
            "install",
            "install no-such.whl",
            "install no-such.crate",
            "install . ",
            "install broken.json",
            "install LISTENER --vip-identity pump",
            "install LISTENER --vip-identity p2 --agent-config no-such.json",
            "install LISTENER --vip-identity p2 --priority 100",
            "install LISTENER --vip-identity a/b",
            "instal x",
        ],
    ),
    ("upgrade", &["upgrade nobody", "upgrade"]),
    ("rollback", &["rollback pump", "rollback nobody", "rollback"]),
    ("history", &["history nobody", "history"]),
    (
        "call",
        &[
            "call pump ping",
            "call control peerlist extra",
            "call control no_such_method",
            "call control",
            "call control peerlist --kwargs [1]",
            "call control tag_agent",
        ],
    ),
    (
        "pub",
        &[
            "pub test/topic hello",
            "--json pub test/topic hello",
            "pub test/topic",
            "pub test/topic x --headers [1]",
        ],
    ),
    ("sub", &["sub none/ --for 0.1", "sub none/ --for 0.1 --count 1", "sub none/ --for never"]),
    ("watch", &["watch --for 0.1 nobody", "watch --for 0.1 --count 1 nobody", "watch --for never"]),
    ("stats", &["stats", "--json stats", "stats enable", "stats disable", "stats sum"]),
    (
        "rpc",
        &[
            "rpc list platform.health",
            "--json rpc list platform.health",
            "rpc list nobody",
            "rpc list control tag_agent",
            "-v rpc list control peerlist",
            "--json rpc list control tag_agent",
            "rpc list control no_such_method",
            "rpc list nobody x",
            "rpc code platform.health",
            "rpc code control tag_agent",
            "rpc code control tag_agent --lang rust",
            "rpc code control tag_agent --lang python",
            "--json rpc code control tag_agent",
            "rpc code nobody",
            "rpc code control tag_agent --lang cobol",
            "rpc",
        ],
    ),
    (
        "config",
        &[
            "config list",
            "--json config list",
            "config list pump",
            "--json config list pump",
            "config list nobody",
            "config get pump ahu",
            "config get pump note",
            "--json config get pump note",
            "--json config get pump note --raw",
            "config get pump ahu --raw",
            "config get pump no/such",
            "config get pump",
            "config store pump new good.json",
            "config store pump new - --raw",
            "config store pump bad broken.json",
            "config store pump bad no-such.json",
            "config store pump bad directory",
            "config store pump bad huge",
            "config store pump bad binary --raw",
            "config store pump bad empty.csv --csv",
            "config store pump",
            "config delete pump new",
            "config delete pump new",
            "config delete pump",
            "config delete pump x --all",
            "config edit pump ahu --editor no-such-editor",
            "config edit pump ahu --editor true",
            "config edit pump ahu --editor false",
            "config",
            "config sotre pump x",
        ],
    ),
    (
        "auth",
        &[
            "auth list-roles",
            "--json auth list-roles",
            "auth add-role operator x",
            "auth remove-role nobody",
            "auth update-role nobody x",
            "auth list-groups",
            "--json auth list-groups",
            "auth add-group staff x",
            "auth remove-group nobody",
            "auth update-group nobody x",
            "auth add-role",
            "auth serverkey",
            "--json auth serverkey",
            "auth keypair",
            "auth publickey",
            "--json auth publickey",
            "auth publickey nobody",
            "auth remote list",
            "--json auth remote list",
            "auth remote approve nobody",
            "auth remote deny nobody",
            "auth remote list --status maybe",
            "auth remove 999",
            "auth remove -1",
            "auth remove first",
            "auth update 999",
            "auth add --user_id u --credentials short",
            "auth add --user_id u --credentials x --mechanism MAGIC",
            "auth add --capabilities {",
            "auth rpc add pump x",
            "auth rpc add pump.run x",
            "auth rpc list nobody",
            "auth why nobody",
            "auth why pump control.tag_agent",
            "auth why",
            "auth enroll",
            "auth admit",
            "auth admit nobody",
            "auth",
            "auth lits",
            "auth list-known-hosts --json extra",
        ],
    ),
    (
        "known-hosts",
        &[
            "auth add-known-host --host 10.0.0.9:22916 --serverkey short",
            "auth add-known-host --host 10.0.0.9:22916",
            "auth remove-known-host 10.0.0.9:22916",
        ],
    ),
    (
        "global",
        &[
            "--no-such-option",
            "--timeout never status",
            "--timeout -1 status",
            "--vip-address nonsense status",
            "--vip-address tcp://127.0.0.1:1 -t 1 status",
            "-c no-such-file status",
            "--vhome relative status",
            "-L log.ini peerlist",
            "-l /no/such/directory/log peerlist",
            "--log",
            "--show-config status",
        ],
    ),
    (
        "logs",
        &[
            "logs pump",
            "--json logs pump",
            "logs nobody",
            "logs pump --since yesterday",
            "logs pump --level loud",
            "logs pump -n many",
        ],
    ),
    (
        "doctor",
        &[
            "doctor extra",
            "doctor --min-free much",
            "doctor --heartbeat-age never",
            "doctor --max-fsync-ms slow",
        ],
    ),
    ("explain", &["explain VT1001", "explain 1001", "explain VT9999", "explain NotRunning"]),
    (
        "apply",
        &[
            "apply",
            "apply -f no-such.yml",
            "apply -f broken.json",
            "apply -f wrong.yml",
            "apply -f site.yml --dry-run",
            "--json apply -f site.yml --dry-run",
            "apply -f site.yml",
            "diff",
            "diff -f site.yml",
            "diff -f no-such.yml",
            "export /no/such/directory/site.yml",
            "export directory",
        ],
    ),
    (
        "backup",
        &[
            "backup",
            "backup note.txt",
            "backup /no/such/directory/archive",
            "restore",
            "restore no-such",
            "restore note.txt",
            "restore note.txt --check",
            "bugreport note.txt",
            "bugreport /no/such/directory/report",
        ],
    ),
    (
        "new",
        &[
            "new",
            "new agent",
            "new thing pump-watch",
            "new agent Pump/Watch -y",
            "new agent pump-watch --path directory -y",
            "new agent pump-watch --vip-identity a/b -y",
        ],
    ),
    ("run", &["run", "run no-such.crate", "run broken.json", "run LISTENER --vip-identity control"]),
    ("completions", &["completions", "completions tcsh"]),
    ("top", &["top --sort size --once", "top --interval never", "top"]),
    ("bench", &["bench disk", "bench --for never"]),
    ("metrics", &["metrics extra"]),
    (
        "config-many",
        &[
            "config apply -f no-such",
            "config apply -f note.txt",
            "config apply -f directory",
            "config apply",
            "config diff -f directory",
            "config export",
            "config export nobody",
            "config export -f note.txt",
            "config export -f store",
        ],
    ),
    ("shutdown", &["shutdown extra", "shutdown", "shutdwon"]),
];

/// With nothing in the home and no platform.
const DOWN: &[(&str, &[&str])] = &[(
    "down",
    &[
        "list",
        "--json list",
        "status",
        "--json status",
        "health pump",
        "peerlist",
        "tag nobody",
        "enable nobody",
        "disable nobody",
        "start x",
        "stop x",
        "restart x",
        "remove x",
        "clear",
        "shutdown",
        "shutdown --platform",
        "install x",
        "upgrade x",
        "rollback x",
        "history x",
        "call a b",
        "pub a b",
        "sub",
        "watch",
        "metrics",
        "stats",
        "rpc list",
        "rpc code",
        "config list",
        "config get a b",
        "config store a b good.json",
        "config delete a b",
        "config edit a b",
        "auth list",
        "--json auth list",
        "auth serverkey",
        "auth publickey",
        "auth list-roles",
        "auth list-groups",
        "auth remove 0",
        "auth remote list",
        "auth why a",
        "auth enroll a",
        "auth admit a",
        "auth list-known-hosts",
        "--json auth list-known-hosts",
        "auth remove-known-host x",
    ],
)];

/// With a platform that is there and does not answer.
const HUNG: &[(&str, &[&str])] = &[(
    "hung",
    &[
        "-t 0.5 list",
        "-t 0.5 status",
        "-t 0.5 --json status",
        "-t 0.5 peerlist",
        "-t 0.5 config list",
        "-t 0.5 auth list",
        "-t 0.5 start pump",
        "-t 0.5 rpc list",
        "-t 0.5 call control peerlist",
    ],
)];

struct Desk<'a> {
    platform: &'a Platform,
    work: PathBuf,
    port: String,
}

impl Desk<'_> {
    fn say(&self, page: &mut String, line: &str) {
        let listener = program("volttron-listener").display().to_string();
        let words: Vec<String> = line.split_whitespace().map(|w| w.replace("LISTENER", &listener)).collect();
        let mut command = self.platform.command("vctl");
        command.args(&words).current_dir(&self.work).env("EDITOR", "vi").env("COLUMNS", "100");
        let input = fs::File::open(self.work.join("note.txt")).expect("the standard input");
        let output = command.stdin(Stdio::from(input)).output().expect("run vctl");
        let _ = writeln!(page, "$ vctl {line}");
        for (mark, bytes) in [("", &output.stdout), ("2> ", &output.stderr)] {
            for line in self.mask(&String::from_utf8_lossy(bytes)).split_inclusive('\n') {
                let _ = writeln!(page, "{mark}{}", line.trim_end_matches('\n').trim_end());
            }
        }
        let _ = writeln!(page, "exit {}\n", output.status.code().unwrap_or(-1));
    }

    fn mask(&self, text: &str) -> String {
        let home = self.platform.home().display().to_string();
        let text = text.replace(&self.work.display().to_string(), "WORK").replace(&home, "HOME");
        let listener = program("volttron-listener");
        let text = text.replace(&listener.display().to_string(), "LISTENER").replace(&self.port, "PORT");
        let own = format!("{}.", "control.connection");
        let text = mask::volatile(&text);
        // The table of agents, whose uuid column is as short as the uuids allow.
        let lines = text.split('\n').map(|line| {
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            let short = first.len() == 1 && first.chars().all(|c| c.is_ascii_hexdigit());
            let line =
                if short && rest.contains("AGENT-VERSION") { format!("U {rest}") } else { line.to_owned() };
            match line.split_once(&own) {
                Some((before, after)) => {
                    let end = after.find(|c: char| !c.is_ascii_hexdigit() && c != '-').unwrap_or(after.len());
                    format!("{before}{own}N{}", &after[end..])
                }
                None => line,
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn compare(&self, tables: &[(&str, &[&str])], wrong: &mut String) {
        let write = std::env::var_os("VOLTTRON_WRITE_SAID").is_some();
        for (name, lines) in tables {
            let mut page = String::new();
            lines.iter().for_each(|line| self.say(&mut page, line));
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vctl/said/{name}.txt"));
            if write {
                fs::write(&file, &page).expect("write what was said");
                continue;
            }
            let should = fs::read_to_string(&file).unwrap_or_default();
            for (is, should) in
                page.split("\n$ ").zip(should.split("\n$ ")).filter(|(is, should)| is != should)
            {
                let _ = writeln!(wrong, "--- {name}: it says\n{is}\n--- and said\n{should}");
            }
            if page.matches("$ vctl").count() != should.matches("$ vctl").count() {
                let _ = writeln!(wrong, "--- {name}: {} has other commands", file.display());
            }
        }
    }
}

fn desk(platform: &Platform) -> (tempfile::TempDir, Desk<'_>) {
    let dir = tempfile::tempdir().expect("a directory");
    let work = dir.path().canonicalize().expect("a path");
    let put = |name: &str, bytes: &[u8]| fs::write(work.join(name), bytes).expect("write a file");
    put("good.json", b"{\"a\": 1}");
    put("broken.json", b"{\"a\": ");
    put("note.txt", b"free text");
    put("site.yml", b"auth:\n  roles:\n    operator: [can_set, can_get]\n");
    put("wrong.yml", b"auth:\n  rolls: {}\n");
    put("empty.csv", b"");
    put("binary", b"\xff\xfe\x00");
    fs::create_dir(work.join("directory")).expect("a directory");
    let huge = fs::File::create(work.join("huge")).expect("a file");
    huge.set_len((64 << 20) + 1).expect("a hole");
    let port = platform.address().replace("tcp://127.0.0.1:", "");
    (dir, Desk { platform, work, port })
}

#[test]
fn every_command_says_what_it_said_before() {
    let mut wrong = String::new();
    let mut platform = Platform::prepare();
    {
        let (_dir, desk) = desk(&platform);
        desk.compare(DOWN, &mut wrong);
    }
    platform.launch();
    {
        let (_dir, desk) = desk(&platform);
        let listener = program("volttron-listener").display().to_string();
        platform.vctl_ok(&["install", &listener, "--vip-identity", "pump", "--tag", "hall"]);
        let file = |name: &str| desk.work.join(name).display().to_string();
        platform.vctl_ok(&["config", "store", "pump", "ahu", &file("good.json")]);
        platform.vctl_ok(&["config", "store", "pump", "note", &file("note.txt"), "--raw"]);
        platform.vctl_ok(&["auth", "add-role", "operator", "can_set"]);
        platform.vctl_ok(&["auth", "add-group", "staff", "operator"]);
        desk.compare(UP, &mut wrong);
        let pid = Pid::from_raw(i32::try_from(platform.pid()).expect("a pid")).expect("a pid");
        kill_process(pid, Signal::STOP).expect("stop the platform");
        desk.compare(HUNG, &mut wrong);
        kill_process(pid, Signal::CONT).expect("let the platform go on");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Another user of the machine, who may not read the home.
#[test]
fn somebody_who_may_not_read_the_home_is_told_so() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Where the program was built may be out of reach, too.
    let open = tempfile::tempdir().expect("a directory");
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).expect("open the directory");
    fs::copy(program("vctl"), open.path().join("vctl")).expect("copy vctl");
    let mut platform = Platform::start();
    platform.use_programs_of(open.path());
    for args in [&["status"][..], &["list"], &["config", "list"], &["auth", "list"], &["tag", "x"]] {
        let output = platform.command("vctl").args(args).uid(65534).gid(65534).output().expect("run vctl");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains("ermission denied"), "{args:?}: {output:?}");
        assert!(text.contains(&*platform.home().to_string_lossy()), "{args:?}: {text}");
    }
}
