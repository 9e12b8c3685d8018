//! `vcfg` in front of a person.

use std::fs;

use volttron_tests::terminal::Dialogue;

use crate::site::Site;

#[test]
fn every_branch_of_the_questions() {
    let site = Site::new();
    let mut terminal = Dialogue::start(&mut site.command_at_home("volttron-cfg"));
    let port = site.port.to_string();
    let other = site.write("../other.txt", "neither");
    let certificate = site.write("../site.crt", "-----BEGIN CERTIFICATE-----\n");
    let key = site.write("../site.pem", "-----BEGIN PRIVATE KEY-----\n");
    terminal.expect(&format!("Your VOLTTRON_HOME currently set to: {}", site.home().display()));
    terminal.dialogue(&[
        ("Is this the volttron you are attempting to setup? [Y]: ", ""),
        ("What type of message bus (rmq/zmq)? [zmq]: ", ""),
        ("What is the vip address? [tcp://127.0.0.1]: ", ""),
        ("What is the port for the vip address? [22916]: ", &port),
        ("What is the name of this instance? [volttron1]: ", "my_instance"),
        ("Is this instance web enabled? [N]: ", "y"),
        ("What is the protocol for this instance? [https]: ", "ftp"),
        ("Protocol is not valid. Valid entries are http or https.", "https"),
        ("What is the port for this instance? [8443]: ", ""),
        ("Would you like to generate a new web certificate? [Y]: ", "n"),
        ("Enter the SSL certificate public key file: ", ""),
        ("Please enter a non empty value", "nowhere.crt"),
        ("Unable to read file nowhere.crt", other.to_str().unwrap()),
        ("is not PEM text with a certificate", certificate.to_str().unwrap()),
        ("Enter the SSL certificate private key file: ", key.to_str().unwrap()),
        ("Is this an instance of volttron central? [N]: ", ""),
        ("Will this instance be controlled by volttron central? [N]: ", "Y"),
        ("What is the hostname for volttron central? [https://", "central"),
        ("\"central\" is not valid.", "https://central"),
        ("What is the port for volttron central? [8443]: ", "443"),
        ("Should the agent autostart? [N]: ", "N"),
        ("Would you like to install a platform historian? [N]: ", "N"),
        ("Would you like to install a platform driver? [N]: ", "N"),
        ("Would you like to install a listener agent? [N]: ", "y"),
        ("Should the agent autostart? [N]: ", "Y"),
    ]);
    terminal.expect("Finished configuration!");
    let (status, shown) = terminal.end();
    assert!(status.success(), "{shown}");
    let config = site.config();
    for part in [
        "instance-name = my_instance\n",
        ":8443\n",
        &format!("web-ssl-cert = {}\n", certificate.display()),
        "volttron-central-address = https://central:443\n",
    ] {
        assert!(config.contains(part), "{part}: {config}");
    }
    assert!(!site.is_up());
    // The platform says what is missing and runs.
    let up = site.command("volttron").args(["up", "--vhome"]).arg(site.home()).output().unwrap();
    assert!(up.status.success(), "{up:?}");
    let listed = site.vctl(&["status"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("running ["), "{listed:?}");
}

#[test]
fn web_over_http_and_certificates_that_are_there() {
    let site = Site::new();
    let start = |site: &Site| Dialogue::start(&mut site.vcfg());
    let mut terminal = start(&site);
    let port = site.port.to_string();
    terminal.dialogue(&[
        ("(rmq/zmq)? [zmq]: ", ""),
        ("vip address? ", ""),
        ("port for the vip address? ", &port),
        ("name of this instance? ", ""),
        ("web enabled? [N]: ", "Y"),
        ("protocol for this instance? [https]: ", "http"),
        ("port for this instance? [8080]: ", ""),
        ("instance of volttron central? [N]: ", "N"),
        ("controlled by volttron central? [N]: ", ""),
        ("platform historian? [N]: ", ""),
        ("platform driver? [N]: ", ""),
        ("listener agent? [N]: ", ""),
    ]);
    let (status, shown) = terminal.end();
    assert!(status.success() && shown.contains("the web service is not built yet"), "{shown}");
    assert!(site.config().contains(":8080\n"));
    for path in ["certificates/certs/platform_web-server.crt", "certificates/private/platform_web-server.pem"]
    {
        site.write(path, "x");
    }
    let mut terminal = start(&site);
    terminal.dialogue(&[
        ("(rmq/zmq)? [zmq]: ", ""),
        ("vip address? ", ""),
        ("port for the vip address? ", ""),
        ("name of this instance? [volttron1]: ", ""),
        ("web enabled? [N]: ", "Y"),
        ("protocol for this instance? [http]: ", "https"),
        ("port for this instance? [8443]: ", ""),
        ("use these certificates for the web server? [Y]: ", ""),
    ]);
    terminal.expect("central? [N]: ");
    drop(terminal);
    assert!(site.config().contains("certs/platform_web-server.crt\n"), "what was answered is kept");
}

#[test]
fn another_home_is_refused_and_nothing_is_written() {
    let site = Site::new();
    let mut terminal = Dialogue::start(&mut site.command_at_home("vcfg"));
    terminal.dialogue(&[("attempting to setup? [Y]: ", "n")]);
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(1), "{shown}");
    assert!(shown.contains("VOLTTRON_HOME=/your/path"));
    assert!(fs::metadata(site.home()).is_err());
}

#[test]
fn a_signal_takes_the_platform_down_that_was_started() {
    let site = Site::new();
    let mut command = site.vcfg();
    let mut terminal = Dialogue::start(command.args(["--agent", "listener"]));
    terminal.expect("Should the agent autostart? [N]: ");
    let platform = site.pid();
    terminal.signal(rustix::process::Signal::TERM);
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(143), "{shown}");
    volttron_tests::wait::until("the end of the platform", std::time::Duration::from_secs(30), || {
        (!site.is_up() && !std::path::Path::new(&format!("/proc/{platform}")).exists()).then_some(())
    });
}

#[test]
fn every_agent_a_new_certificate_and_central_here() {
    let site = Site::new();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().port().to_string();
    let port = site.port.to_string();
    let mut terminal = Dialogue::start(&mut site.vcfg());
    terminal.dialogue(&[
        ("What type of message bus (rmq/zmq)? [zmq]: ", "ampq"),
        ("Message type is not valid. Valid entries are zmq or rmq.", "zmq"),
        ("What is the vip address? [tcp://127.0.0.1]: ", "127.0.0.1"),
        ("Address is not valid.", ""),
        ("What is the port for the vip address? [22916]: ", "70000"),
        ("Port is not valid.", &taken),
        ("ERROR: That address has already been bound to.", "tcp://192.0.2.1"),
        ("What is the port for the vip address? ", &port),
        ("cannot be bound on this machine", "tcp://127.0.0.1"),
        ("What is the port for the vip address? ", &port),
        ("What is the name of this instance? [volttron1]: ", "site1"),
        ("Is this instance web enabled? [N]: ", "yes"),
        ("Invalid response. Proper responses are:", "Y"),
        ("What is the protocol for this instance? [https]: ", ""),
        ("What is the port for this instance? [8443]: ", "0"),
        ("Port is not valid.", ""),
        ("Would you like to generate a new web certificate? [Y]: ", ""),
        ("Create new root CA? [Y]: ", "Y"),
        ("Country: [US]: ", ""),
        ("State: ", "state"),
        ("Location: ", "location"),
        ("Organization: ", "org"),
        ("Organization Unit: ", "unit"),
        ("Is this an instance of volttron central? [N]: ", "Y"),
        ("Should the agent autostart? [N]: ", "N"),
        ("Will this instance be controlled by volttron central? [N]: ", "Y"),
        ("Should the agent autostart? [N]: ", "N"),
        ("Would you like to install a platform historian? [N]: ", "Y"),
        ("Should the agent autostart? [N]: ", "Y"),
        ("Would you like to install a platform driver? [N]: ", "Y"),
        ("Would you like to install a fake device on the platform driver? [N]: ", "Y"),
        ("Should the agent autostart? [N]: ", "N"),
        ("Would you like to install a listener agent? [N]: ", "Y"),
        ("Should the agent autostart? [N]: ", "N"),
    ]);
    terminal.expect("Finished configuration!");
    let (status, shown) = terminal.end();
    assert!(status.success() && shown.contains("certificates are not made yet"), "{shown}");
    let listed = site.vctl(&["list"]);
    let rows = String::from_utf8_lossy(&listed.stdout).lines().count();
    assert!(rows >= 3, "{listed:?}");
    assert!(site.home().join("agents/platform.historian/AUTOSTART").exists());
    assert!(!site.is_up());
}

#[test]
fn a_message_bus_that_is_not_built_ends_it() {
    let site = Site::new();
    let mut terminal = Dialogue::start(&mut site.vcfg());
    terminal.dialogue(&[("(rmq/zmq)? [zmq]: ", "rmq")]);
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(1), "{shown}");
    assert!(shown.contains("the RabbitMQ message bus is not built yet"), "{shown}");
}

#[test]
fn a_platform_that_runs_is_asked_about_and_agents_may_be_replaced() {
    let site = Site::new();
    let up = site.command("volttron").args(["up", "--vhome"]).arg(site.home()).output().unwrap();
    assert!(up.status.success(), "{up:?}");
    let mut terminal = Dialogue::start(&mut site.vcfg());
    terminal.dialogue(&[("Would you like to continue? [Y]: ", "N")]);
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(1), "{shown}");
    for overwrite in [None, Some("N"), Some("Y")] {
        let mut terminal = Dialogue::start(site.vcfg().args(["--agent", "listener"]));
        terminal.dialogue(&[("Would you like to continue? [Y]: ", "")]);
        if let Some(answer) = overwrite {
            let question =
                "Agent listener is already installed. Do you want to overwrite the current agent? [N]: ";
            terminal.dialogue(&[(question, answer)]);
        }
        if overwrite != Some("N") {
            terminal.dialogue(&[("Should the agent autostart? [N]: ", "N")]);
        }
        let (status, shown) = terminal.end();
        assert!(status.success(), "{shown}");
    }
    assert!(site.is_up());
}
