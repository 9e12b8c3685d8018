//! Packages that clients send: the stock `vctl`, and clients of older generations (subsystems.md section 7).

use std::collections::HashMap;
use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use volttron_client::{AgentHandle, CallError, Channel};
use volttron_tests::probe;
use volttron_tests::python::interpreter;
use volttron_tests::wait::until;
use volttron_utils::keys::keystore;

use crate::site::{PATIENCE, Site};

/// The stock `vctl`, which as root would do nothing; that it is root does not matter here.
const STOCK_VCTL: &str = "import os, sys
os.getuid = os.geteuid = lambda: 1000
sys.argv[0] = 'vctl'
from volttron.client.commands.control import main
sys.exit(main())";

fn stock_vctl(site: &Site, args: &[&str]) -> Output {
    let mut command = Command::new(&site.python);
    command.args(["-c", STOCK_VCTL]).args(args).env("VOLTTRON_HOME", site.platform.home());
    command.env("IGNORE_ENV_CHECK", "1").output().expect("run the stock vctl")
}

#[test]
fn the_stock_vctl_installs_a_wheel() {
    let Some(python) = interpreter() else { return };
    let site = Site::start(python);
    let wheel = site.wheel("good");
    let config = site.write("tiny.yml", "limits: [1, 2.5]\nname: tiny\n");
    let options = ["--agent-config", &config, "--tag", "sent", "--priority", "30", "--start", "-st", "1"];
    let output = stock_vctl(&site, &[&["install", &wheel], &options[..]].concat());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("installed and started ["), "{output:?}");

    // The default identity of the package.
    until("the agent to be well", PATIENCE, || {
        (site.status("tiny.default")["health"]["message"] == "GOOD").then_some(())
    });
    assert_eq!(site.call("tiny.default", "configuration"), json!({"limits": [1, 2.5], "name": "tiny"}));
    let row = site.platform.vctl_json(&["list"])["tiny.default"].clone();
    assert_eq!((&row["agent_tag"], &row["PRI"]), (&json!("sent"), &json!("30")));

    let named = ["install", &*wheel, "--vip-identity", "tiny.default"];
    let output = stock_vctl(&site, &named);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(20), "{output:?}");
    assert!(complaint.contains("Identity already exists, but not forced!"), "{complaint}");
    let output = stock_vctl(&site, &[&named[..], &["--force", "--start", "-st", "1"]].concat());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(site.names("cache/stage"), [""; 0], "what was received is deleted");
}

/// What the other side of a transfer does wrong.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Checksum,
    Empty,
    Garbage,
}

/// Sends a file as 9.x does.
async fn serve(mut channel: Channel, content: Vec<u8>, fault: Fault) {
    use sha2::{Digest, Sha512};
    let (mut at, mut hash) = (0, Sha512::new());
    while let Some(Ok(question)) = channel.recv().await {
        let question: Value = serde_json::from_slice(&question[0]).expect("a question in JSON");
        let answer = match question[0].as_str() {
            Some("fetch") => {
                let most = usize::try_from(question[1].as_u64().expect("a size")).expect("a size");
                let piece = content[at..content.len().min(at + most)].to_vec();
                at += piece.len();
                hash.update(&piece);
                if piece.is_empty() { b"complete".to_vec() } else { piece }
            }
            Some("checksum") if fault == Fault::Checksum => vec![0; 64],
            Some("checksum") => hash.clone().finalize().to_vec(),
            other => panic!("asked for {other:?}"),
        };
        channel.send(vec![Bytes::from(answer)]).await.expect("send");
    }
}

async fn operator(site: &Site) -> AgentHandle {
    let keys = site.platform.home().join("keystores/control.connection/keystore.json");
    let keys = keystore::load(&keys).expect("the operator's keys");
    probe::connect("control.connection.test", &site.platform.address(), &site.platform.server_key(), keys)
        .await
        .0
}

async fn send(
    operator: &AgentHandle,
    name: &str,
    content: Vec<u8>,
    fault: Fault,
    rest: &[Value],
) -> Result<String, CallError> {
    let channel = operator.cx().channel("control").expect("a channel");
    let mut call = operator.cx().call("control", "install_agent").arg(name).arg(channel.name());
    for value in rest {
        call = call.arg(value);
    }
    let serving = tokio::spawn(serve(channel, content, fault));
    let answer = call.timeout(Duration::from_secs(120)).send().await;
    serving.abort();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_arrives_whole_or_not_at_all() {
    let Some(python) = interpreter() else { return };
    let site = Site::start(python);
    let operator = operator(&site).await;
    let wheel = fs::read(site.wheel("good")).expect("the wheel");
    let name = "tiny_agent-1.2-py3-none-any.whl";
    let old = |identity: &str, force: bool| [json!(identity), Value::Null, Value::Null, json!(force)];

    let wrong: HashMap<&str, (&str, Vec<u8>, Fault, &str)> = HashMap::from([
        ("checksum", (name, wheel.clone(), Fault::Checksum, "Checksum mismatch on received file")),
        ("empty", (name, Vec::new(), Fault::Empty, "the package is empty")),
        ("garbage", (name, b"no wheel".repeat(300_000), Fault::Garbage, "damaged")),
        ("name", ("..", wheel.clone(), Fault::None, "cannot be the name of a package file")),
        ("kind", ("tiny.txt", wheel.clone(), Fault::None, "not a program")),
    ]);
    for (what, (name, content, fault, expected)) in wrong {
        let error = send(&operator, name, content, fault, &old("tiny", false)).await.expect_err(what);
        assert!(error.to_string().contains(expected), "{what}: {error}");
    }
    assert_eq!((site.names("agents").len(), site.names("bin").len()), (0, 0));

    // 9.x, with keys of the caller's own.
    let keys = volttron_utils::keys::KeyPair::generate();
    let (public, secret) = (json!(keys.public.to_string()), json!(keys.secret.reveal().to_string()));
    let uuid = send(
        &operator,
        name,
        wheel.clone(),
        Fault::None,
        &[json!("tiny"), public.clone(), secret, json!(false)],
    )
    .await
    .expect("installed");
    assert_eq!(site.read(format!("agents/{uuid}/IDENTITY")), "tiny");
    assert!(site.read("agents/tiny/keystore.json").contains(public.as_str().expect("text")));
    let error =
        send(&operator, name, wheel.clone(), Fault::None, &old("tiny", false)).await.expect_err("taken");
    assert!(error.to_string().contains("Identity already exists, but not forced!"), "{error}");
    // Early 10.x, by force: the configuration is the seventh.
    let early = [&old("tiny", true)[..], &[json!({"early": true})]].concat();
    send(&operator, name, wheel, Fault::None, &early).await.expect("installed again");
    assert_eq!(
        serde_json::from_str::<Value>(&site.read("agents/tiny/config")).expect("JSON"),
        json!({"early": true})
    );
    assert!(site.read("agents/tiny/keystore.json").contains(public.as_str().expect("text")), "the keys stay");
    until("what was received to be deleted", PATIENCE, || site.names("cache/stage").is_empty().then_some(()));
}
