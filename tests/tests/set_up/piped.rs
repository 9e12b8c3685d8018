//! `vcfg` with all its answers in a pipe, in the order that scripts know.

use std::fs;

use serde_json::Value;

use crate::site::{Site, stderr, stdout, with_input};

fn tags(site: &Site) -> Vec<String> {
    let mut tags = Vec::new();
    for name in ["listener", "platform_driver", "platform_historian", "vc", "vcp"] {
        let listed = stdout(&site.vctl(&["list"]));
        if listed.split_whitespace().any(|word| word == name) {
            tags.push(name.to_owned());
        }
    }
    tags
}

#[test]
fn no_agents() {
    let site = Site::new();
    let port = site.port.to_string();
    let answers = ["zmq", "tcp://127.0.0.15", &port, "site 1", "N", "N", "N", "N", "N"];
    let output = site.answer(&[], &answers);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(&output).contains("Finished configuration!"));
    let config = site.config();
    assert_eq!(
        config,
        format!(
            "[volttron]\nmessage-bus = zmq\nvip-address = tcp://127.0.0.15:{port}\ninstance-name = \"site 1\"\n"
        )
    );
    assert!(!site.is_up());
    // Enter takes what is set already, and nothing else in the file changes.
    let noted = config.replace("message-bus = zmq", "# mine\nmessage-bus = zmq # note\nunknown-key = 7");
    fs::write(site.home().join("config"), &noted).unwrap();
    let output = site.answer(&[], &["", "", "", "", "", "", "", "", "", ""]);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(&output).contains(&format!("What is the port for the vip address? [{port}]: ")));
    assert!(stdout(&output).contains("What is the name of this instance? [site 1]: "));
    assert_eq!(site.config(), noted);
}

#[test]
fn every_agent_central_and_web() {
    let site = Site::new();
    let port = site.port.to_string();
    let answers = [
        "zmq",
        "tcp://127.0.0.1",
        &port,
        "test_zmq",
        // Web with a new certificate, and Volttron Central here.
        "Y",
        "https",
        "8443",
        "Y",
        "Y",
        "US",
        "state",
        "location",
        "org",
        "unit",
        "Y",
        "N",
        // Controlled by it, historian, driver with its fake device, listener.
        "Y",
        "N",
        "Y",
        "N",
        "Y",
        "Y",
        "Y",
        "Y",
        "N",
    ];
    let output = site.answer(&[], &answers);
    let text = stdout(&output);
    assert!(output.status.success(), "{output:?}");
    for part in [
        "certificates are not made yet",
        "Volttron Central is not built yet",
        "Configuring platform_historian.",
        "Would you like to install a fake device on the platform driver? [N]: ",
        "Finished configuration!",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Nothing that a later version would stumble over.
    assert_eq!(
        site.config(),
        format!(
            "[volttron]\nmessage-bus = zmq\nvip-address = tcp://127.0.0.1:{port}\ninstance-name = test_zmq\n"
        )
    );
    assert!(!site.is_up(), "what was started is stopped");
    assert_eq!(tags(&site), ["listener", "platform_driver", "platform_historian"]);
    let agent =
        |identity: &str, file: &str| fs::read_to_string(site.home().join("agents").join(identity).join(file));
    assert_eq!(agent("platform.driver", "AUTOSTART").unwrap(), "50");
    assert!(agent("platform.historian", "AUTOSTART").is_err());
    assert!(agent("platform.historian", "config").unwrap().contains("platform.historian.sqlite"));
    let store = fs::read_to_string(site.home().join("configuration_store/platform.driver.store")).unwrap();
    let store: Value = serde_json::from_str(&store).unwrap();
    assert!(
        store["devices/fake-campus/fake-building/fake-device"]["data"]
            .as_str()
            .unwrap()
            .contains("fakedriver")
    );

    // A second run replaces the driver's program only: keys, uuid, what was configured and its place at the start stay.
    let uuid = agent("platform.driver", "UUID").unwrap();
    let output = site.answer(&["--agent", "platform_driver", "nonsense"], &["N", "", ""]);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(&output).contains("\"nonsense\" not configurable with this tool"));
    assert!(stdout(&output).contains("Should the agent autostart? [Y]: "));
    assert_eq!(agent("platform.driver", "UUID").unwrap(), uuid);
    assert_eq!(agent("platform.driver", "AUTOSTART").unwrap(), "50");

    // What was set up starts, and the fake device is read.
    let up = site.command_at_home("start-volttron").output().unwrap();
    assert!(up.status.success(), "{up:?}");
    let seen = site.vctl(&["--timeout", "60", "sub", "devices/fake-campus", "--count", "1"]);
    assert!(stdout(&seen).contains("fake-device"), "{seen:?}");
}

#[test]
fn a_running_platform_is_asked_about_and_left_up() {
    let site = Site::new();
    let up = site.command("volttron").args(["up", "--vhome"]).arg(site.home()).output().unwrap();
    assert!(up.status.success(), "{up:?}");
    let pid = site.pid();
    let output = site.answer(&[], &["N"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("volttron-ctl shutdown --platform"), "{output:?}");
    let output = site.answer(&["--agent", "listener"], &["Y", "N"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(tags(&site), ["listener"]);
    // Only what can be done while it runs is asked.
    let output = site.answer(&[], &["Y", "N", "N", "N", "Y", "N"]);
    assert!(output.status.success(), "{output:?}");
    assert!(!stdout(&output).contains("message bus"));
    assert!(
        stdout(&output).contains(
            "Agent listener is already installed. Do you want to overwrite the current agent? [N]: "
        )
    );
    assert_eq!(site.pid(), pid);
}

#[test]
fn wrong_answers_are_asked_again() {
    let site = Site::new();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().port().to_string();
    let port = site.port.to_string();
    let answers = [
        "ampq",
        "zmq",
        "127.0.0.1",
        "tcp://127.0.0.1",
        "70000",
        &taken,
        "tcp://127.0.0.1",
        &port,
        "a",
        "yes",
        "N",
        "N",
        "N",
        "N",
        "N",
    ];
    let output = site.answer(&[], &answers);
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output);
    for part in [
        "Message type is not valid. Valid entries are zmq or rmq.\n",
        "Address is not valid.\n",
        "Port is not valid.\n",
        "\nERROR: That address has already been bound to.\n",
        "Invalid response. Proper responses are:\n('Y', 'y', 'N', 'n')\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(site.config().contains(&format!("vip-address = tcp://127.0.0.1:{port}")));
}

#[test]
fn answers_that_end_and_options_that_cannot_be() {
    let site = Site::new();
    let output = site.answer(&[], &["zmq", "tcp://127.0.0.1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("before the question \"What is the port for the vip address?\""),
        "{output:?}"
    );
    assert_eq!(site.config(), "[volttron]\nmessage-bus = zmq\n");
    for (args, input, code, part) in [
        (&[][..], "rmq", 1, "RabbitMQ message bus is not built yet"),
        (&["--rabbitmq", "single"], "", 1, "RabbitMQ message bus is not built yet"),
        (&["rabbitmq", "federation", "--config", "x.yml"], "", 1, "not built yet"),
        (&["--nope"], "", 2, "usage: vcfg"),
        (&["--agent", "x", "--list-agents"], "", 2, "usage: vcfg"),
        (&["--non-interactive", "--vip-address", "here"], "", 1, "vip-address: \"here\" is not possible"),
        (&["--answers", "nowhere.yml"], "", 1, "nowhere.yml"),
    ] {
        let output = with_input(site.vcfg().args(args), input);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        assert!(stderr(&output).contains(part), "{args:?}: {output:?}");
    }
    assert_eq!(site.config(), "[volttron]\nmessage-bus = zmq\n");
    let output = site.answer(&["--list-agents"], &[]);
    assert_eq!(
        stdout(&output),
        "Agents available to configure:\n\tlistener\n\tplatform_driver\n\tplatform_historian\n\tvc\n\tvcp\n"
    );
}

#[test]
fn nothing_is_asked_when_everything_is_said() {
    let site = Site::new();
    let answers = site.write("../answers.yml", "instance-name: from-file\nlistener: no\n");
    let address = format!("tcp://127.0.0.1:{}", site.port);
    let output = site
        .vcfg()
        .args(["--non-interactive", "--vip-address", &address, "--listener", "--autostart", "--answers"])
        .arg(answers)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!stdout(&output).contains("]: "));
    assert!(site.config().contains(&format!("vip-address = {address}\ninstance-name = from-file\n")));
    assert_eq!(tags(&site), ["listener"]);
    let output = site.answer(&["--instance-name", "renamed", "--secure-agent-users"], &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(site.config().contains("instance-name = \"renamed\"\n"), "{}", site.config());
    assert!(site.config().contains("agent-isolation-mode = True\n"));
}

#[test]
fn an_agent_that_cannot_be_had_is_told_and_the_rest_goes_on() {
    let site = Site::new();
    // Programs elsewhere, without agents beside them, and a registry that is not there.
    let programs = site.dir().join("programs");
    fs::create_dir(&programs).unwrap();
    for name in ["vcfg", "vctl", "volttron"] {
        fs::copy(volttron_tests::programs::program(name), programs.join(name)).unwrap();
    }
    let mut command = std::process::Command::new(programs.join("vcfg"));
    command.env_clear().env("HOME", site.dir()).env("PATH", "/usr/bin:/bin").current_dir(site.dir());
    command.arg("--vhome").arg(site.home());
    let answers = format!("zmq\ntcp://127.0.0.1\n{}\nname\nN\nN\nN\nN\nY\nY", site.port);
    let output = with_input(&mut command, &answers);
    assert_eq!(output.status.code(), Some(10), "{output:?}");
    let text = stdout(&output);
    assert!(
        text.contains("ERROR: listener not installed correctly!") && text.contains("Try: vctl install PATH"),
        "{text}"
    );
    assert!(text.contains("Finished configuration!"));
    assert!(stderr(&output).contains("not installed: listener"));
    assert!(!site.is_up());
}
