//! The questions, in their order. What an answer leads to is written at once, so that answers are not lost when a later
//! one ends the program.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::Path;

use volttron_utils::files::read_bounded;
use volttron_utils::home::{Home, expand};

use super::agents::{self, Agents, DRIVER, HISTORIAN, LISTENER, Offer};
use super::args::Cli;
use super::asker::{Asker, Question};
use super::settings::Settings;
use super::{CfgError, RUNNING, STOP_FIRST, no_rabbitmq};
use crate::options::hostname;

const AUTOSTART: &str = "Should the agent autostart?";
const NO_WEB: &str = "Note: the web service is not built yet. Nothing will listen at this address.";
const NO_CERTIFICATE: &str = "Note: certificates are not made yet. Without one a web service over https cannot start, so \
                              nothing about it is written. Run vcfg again with files of your own (answer N to the question \
                              about a new certificate).";
/// Largest certificate file that is looked at.
const PEM_MAX_BYTES: u64 = 1 << 20;
const BAD_PORT: &str = "Port is not valid.";

/// Asks everything, or installs the agents that the command line names.
pub(super) fn run(home: Home, asker: Asker<'_>, settings: Settings, cli: &Cli) -> Result<(), CfgError> {
    let running = home.running().is_some();
    let agents = Agents::new(&home, cli.verbose);
    let mut wizard =
        Wizard { home, asker, settings, agents, running, central_here: false, failed: Vec::new() };
    wizard.may_go_on()?;
    if cli.agent.is_empty() {
        wizard.confirm_home(cli)?;
        wizard.everything()?;
    } else {
        wizard.named_agents(cli)?;
    }
    if let Err(error) = wizard.agents.finish() {
        return Err(CfgError::Refused(error.to_string()));
    }
    if wizard.failed.is_empty() { Ok(()) } else { Err(CfgError::Agents(wizard.failed.join(", "))) }
}

struct Wizard<'a> {
    home: Home,
    asker: Asker<'a>,
    settings: Settings,
    agents: Agents,
    /// The platform ran before anything was asked.
    running: bool,
    /// Volttron Central shall be here.
    central_here: bool,
    /// What was not installed.
    failed: Vec<String>,
}

impl Wizard<'_> {
    fn may_go_on(&mut self) -> Result<(), CfgError> {
        if !self.running {
            return Ok(());
        }
        self.asker.tell(RUNNING);
        if self.asker.yes("continue", "Would you like to continue?", true)? {
            return Ok(());
        }
        Err(CfgError::Known(STOP_FIRST.to_owned()))
    }

    fn confirm_home(&mut self, cli: &Cli) -> Result<(), CfgError> {
        if cli.vhome.is_some() {
            return Ok(());
        }
        self.asker.tell(&format!("\nYour VOLTTRON_HOME currently set to: {}\n", self.home.path().display()));
        if self.asker.yes("home", "Is this the volttron you are attempting to setup?", true)? {
            return Ok(());
        }
        Err(CfgError::Known(
            "\nPlease execute with VOLTTRON_HOME=/your/path vcfg, or vcfg --vhome /your/path.\n".to_owned(),
        ))
    }

    fn everything(&mut self) -> Result<(), CfgError> {
        if !self.running {
            self.message_bus()?;
            self.vip_address()?;
            self.name()?;
            self.web()?;
        }
        self.controlled()?;
        for (offer, question) in [
            (HISTORIAN, "Would you like to install a platform historian?"),
            (DRIVER, "Would you like to install a platform driver?"),
            (LISTENER, "Would you like to install a listener agent?"),
        ] {
            if self.asker.yes(offer.key, question, false)? {
                self.agent(offer)?;
            }
        }
        self.asker.tell("Finished configuration!\n");
        if !self.running {
            self.asker.tell("Start the platform with: volttron up\n");
        }
        self.asker.tell(&format!("Settings can be changed in {}\n", self.home.config_file().display()));
        Ok(())
    }

    fn named_agents(&mut self, cli: &Cli) -> Result<(), CfgError> {
        let (known, unknown): (Vec<_>, Vec<_>) =
            cli.agent.iter().partition(|name| agents::NAMES.contains(&name.as_str()));
        for name in unknown {
            self.asker.tell(&format!("\"{name}\" not configurable with this tool"));
        }
        if !known.is_empty() {
            self.confirm_home(cli)?;
        }
        for name in known {
            match [HISTORIAN, DRIVER, LISTENER].into_iter().find(|offer| offer.tag == name) {
                Some(offer) => self.agent(offer)?,
                None if name == "vc" => self.central()?,
                None => self.central_platform()?,
            }
        }
        Ok(())
    }

    fn message_bus(&mut self) -> Result<(), CfgError> {
        let present = self.settings.get("message-bus")?;
        let default = present.as_deref().filter(|bus| *bus == "zmq" || *bus == "rmq").unwrap_or("zmq");
        let question = Question {
            key: "message-bus",
            text: "What type of message bus (rmq/zmq)?",
            default: Some(default),
        };
        let bus = self.asker.ask(question, |text| match text {
            "zmq" | "rmq" => Ok(text.to_owned()),
            _ => Err("Message type is not valid. Valid entries are zmq or rmq.".to_owned()),
        })?;
        if bus == "rmq" {
            return Err(no_rabbitmq());
        }
        self.settings.change(&[("message-bus", &bus)])
    }

    fn vip_address(&mut self) -> Result<(), CfgError> {
        let present = self.settings.get("vip-address")?.filter(|text| text.starts_with("tcp://"));
        let present = present.as_deref().unwrap_or("tcp://127.0.0.1:22916");
        let (mut address, mut port) = match present.rsplit_once(':') {
            Some((address, port)) if valid_port(port).is_ok() => (address.to_owned(), port.to_owned()),
            _ => (present.to_owned(), "22916".to_owned()),
        };
        loop {
            let question =
                Question { key: "vip-address", text: "What is the vip address?", default: Some(&address) };
            address = self.asker.ask(question, |text| host_of(text, &["tcp"]))?;
            let question = Question {
                key: "vip-port",
                text: "What is the port for the vip address?",
                default: Some(&port),
            };
            port = self.asker.ask(question, valid_port)?;
            match trial_bind(&address, &port) {
                Ok(()) => break,
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                    self.asker.again("\nERROR: That address has already been bound to.")?;
                }
                Err(e) => {
                    self.asker
                        .again(&format!("\nERROR: {address}:{port} cannot be bound on this machine: {e}"))?;
                }
            }
        }
        self.settings.change(&[("vip-address", &format!("{address}:{port}"))])
    }

    fn name(&mut self) -> Result<(), CfgError> {
        let present = self.settings.get("instance-name")?;
        let question = Question {
            key: "instance-name",
            text: "What is the name of this instance?",
            default: Some(present.as_deref().unwrap_or("volttron1")),
        };
        let name = self.asker.text(question)?;
        self.settings.name(&name)
    }

    fn web(&mut self) -> Result<(), CfgError> {
        if !self.asker.yes("web", "Is this instance web enabled?", false)? {
            return Ok(());
        }
        let present = self.settings.get("bind-web-address")?;
        let default = present.as_deref().and_then(|url| url.split_once("://")).map_or("https", |(s, _)| s);
        let question = Question {
            key: "web-protocol",
            text: "What is the protocol for this instance?",
            default: Some(default),
        };
        let protocol = self.asker.ask(question, |text| match text {
            "http" | "https" => Ok(text.to_owned()),
            _ => Err("Protocol is not valid. Valid entries are http or https.".to_owned()),
        })?;
        let address = format!("{protocol}://{}", hostname().to_lowercase());
        self.asker.tell(&format!("Web address set to: {address}"));
        let default = if protocol == "https" { "8443" } else { "8080" };
        let question =
            Question { key: "web-port", text: "What is the port for this instance?", default: Some(default) };
        let port = self.asker.ask(question, valid_port)?;
        let address = format!("{address}:{port}");
        if protocol == "http" {
            self.settings.change(&[("bind-web-address", &address)])?;
            self.asker.tell(NO_WEB);
        } else if let Some((certificate, key)) = self.certificate()? {
            self.settings.change(&[
                ("bind-web-address", &address),
                ("web-ssl-cert", &certificate),
                ("web-ssl-key", &key),
            ])?;
            self.asker.tell(NO_WEB);
        } else {
            self.asker.tell(NO_CERTIFICATE);
        }
        if self.asker.yes("central", "Is this an instance of volttron central?", false)? {
            self.central()?;
        }
        Ok(())
    }

    /// The files of a certificate and its key for the web service; none if there are none.
    fn certificate(&mut self) -> Result<Option<(String, String)>, CfgError> {
        let place = |dir: &str, end: &str| {
            let path = self.home.certificates().join(dir).join(format!("platform_web-server.{end}"));
            path.display().to_string()
        };
        let (certificate, key) = (place("certs", "crt"), place("private", "pem"));
        if readable(&certificate).is_ok() && readable(&key).is_ok() {
            self.asker.tell(&format!("\nThere is a certificate and its key:\n{certificate}\n{key}\n"));
            let question = "Do you want to use these certificates for the web server?";
            if self.asker.yes("web-use-certificate", question, true)? {
                return Ok(Some((certificate, key)));
            }
        }
        if self.asker.yes("web-certificate", "Would you like to generate a new web certificate?", true)? {
            self.authority()?;
            return Ok(None);
        }
        let question = |key, text| Question { key, text, default: None };
        let certificate = self
            .asker
            .ask(question("web-cert-file", "Enter the SSL certificate public key file:"), |answer| {
                pem_with(answer, "CERTIFICATE-----", "a certificate")
            })?;
        let key = self
            .asker
            .ask(question("web-key-file", "Enter the SSL certificate private key file:"), |answer| {
                pem_with(answer, "PRIVATE KEY-----", "a private key")
            })?;
        Ok(Some((certificate, key)))
    }

    /// The questions about an authority for certificates, if there is none yet.
    fn authority(&mut self) -> Result<(), CfgError> {
        let name = self.settings.get("instance-name")?.unwrap_or_default();
        if self.home.certificates().join("certs").join(format!("{name}-root-ca.crt")).exists() {
            return Ok(());
        }
        self.asker.tell("WARNING! CA certificate does not exist.");
        if !self.asker.yes("web-ca", "Create new root CA?", true)? {
            return Ok(());
        }
        self.asker.tell("\nPlease enter the following details for web server certificate:");
        for (key, text, default) in [
            ("web-country", "\tCountry:", Some("US")),
            ("web-state", "\tState:", None),
            ("web-location", "\tLocation:", None),
            ("web-organization", "\tOrganization:", None),
            ("web-organization-unit", "\tOrganization Unit:", None),
        ] {
            self.asker.text(Question { key, text, default })?;
        }
        Ok(())
    }

    fn central(&mut self) -> Result<(), CfgError> {
        self.central_here = true;
        self.absent("vc", "Volttron Central", "central-autostart")
    }

    fn controlled(&mut self) -> Result<(), CfgError> {
        if self.asker.yes("controlled", "Will this instance be controlled by volttron central?", false)? {
            self.central_platform()?;
        }
        Ok(())
    }

    fn central_platform(&mut self) -> Result<(), CfgError> {
        let address = if self.central_here {
            self.settings.get("bind-web-address")?
        } else {
            Some(self.central_address()?)
        };
        if let Some(address) = address {
            self.settings.change(&[("volttron-central-address", &address)])?;
            self.asker.tell(&format!("Volttron central address set to {address}"));
        }
        self.settings.name_as_started()?;
        self.absent("vcp", "Volttron Central Platform", "controlled-autostart")
    }

    fn central_address(&mut self) -> Result<String, CfgError> {
        let present = match self.settings.get("volttron-central-address")? {
            Some(address) => Some(address),
            None => self.settings.get("bind-web-address")?,
        };
        let present = present.unwrap_or_else(|| format!("https://{}", hostname().to_lowercase()));
        let (host, port) = match present.rsplit_once(':') {
            Some((host, port)) if valid_port(port).is_ok() => (host.to_owned(), port.to_owned()),
            _ => (present.clone(), "8443".to_owned()),
        };
        let question = Question {
            key: "central-host",
            text: "What is the hostname for volttron central?",
            default: Some(&host),
        };
        let host = self.asker.ask(question, |text| {
            host_of(text, &["http", "https"]).map_err(|_| {
                format!("{text:?} is not valid. It begins with http:// or https:// and has no port; that is asked next.")
            })
        })?;
        let question = Question {
            key: "central-port",
            text: "What is the port for volttron central?",
            default: Some(&port),
        };
        let port = self.asker.ask(question, valid_port)?;
        Ok(format!("{host}:{port}"))
    }

    /// An agent that does not exist here. Its question is asked all the same: scripts answer it.
    fn absent(&mut self, tag: &str, name: &str, key: &str) -> Result<(), CfgError> {
        self.asker.tell(&format!("Configuring {tag}."));
        self.asker.tell(&format!(
            "Note: {name} is not built yet and not installed; the next answer has no effect."
        ));
        self.asker.yes(key, AUTOSTART, false)?;
        Ok(())
    }

    fn agent(&mut self, offer: Offer) -> Result<(), CfgError> {
        let tag = offer.tag;
        let before = self.agents.installed(offer).map_err(|e| CfgError::Refused(e.to_string()))?;
        if self.running && before.is_some() {
            let question =
                format!("Agent {tag} is already installed. Do you want to overwrite the current agent?");
            if !self.asker.yes("overwrite", &question, false)? {
                return Ok(());
            }
        }
        self.asker.tell(&format!("Configuring {tag}."));
        self.settings.name_as_started()?;
        let source = agents::source_of(offer.package);
        self.asker.tell(&format!("Installing {source} ..."));
        let agent = match self.agents.install(offer, &source) {
            Ok(agent) => Some(agent),
            Err(error) => {
                self.asker.tell(&format!(
                    "ERROR: {tag} not installed correctly! {error}\nTry: vctl install PATH --tag {tag}{}, where PATH is \
                     the program or the sources of {}.",
                    before.as_ref().map_or("", |_| " --force"),
                    offer.package
                ));
                self.failed.push(tag.to_owned());
                None
            }
        };
        if offer == DRIVER {
            self.fake_device(agent.is_some())?;
        }
        let default = before.is_some_and(|row| !row.priority.is_empty());
        let on = self.asker.yes(&format!("{}-autostart", offer.key), AUTOSTART, default)?;
        if let Some(agent) = agent
            && on != default
            && let Err(error) = self.agents.autostart(&agent, on)
        {
            self.asker.tell(&format!("ERROR: autostart of {tag} is not changed: {error}"));
            self.failed.push(format!("{tag} (autostart)"));
        }
        Ok(())
    }

    fn fake_device(&mut self, installed: bool) -> Result<(), CfgError> {
        let question = "Would you like to install a fake device on the platform driver?";
        if self.asker.yes("fake-device", question, false)?
            && installed
            && let Err(error) = self.agents.add_fake_device()
        {
            self.asker.tell(&format!("ERROR: the fake device is not stored: {error}"));
            self.failed.push("fake device".to_owned());
        }
        Ok(())
    }
}

/// An address of these schemes with a host and nothing behind it, without slashes at the end.
fn host_of(text: &str, schemes: &[&str]) -> Result<String, String> {
    let bad = || "Address is not valid.".to_owned();
    let text = text.trim().trim_end_matches('/');
    let (scheme, host) = text.split_once("://").ok_or_else(bad)?;
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let fits = match bare {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains([':', '/', '?', '#', '@', '[', ']', ' ', '"']),
    };
    if schemes.contains(&scheme) && fits { Ok(text.to_owned()) } else { Err(bad()) }
}

fn valid_port(text: &str) -> Result<String, String> {
    match text.trim().parse::<u16>() {
        Ok(port) if port > 0 => Ok(port.to_string()),
        _ => Err(BAD_PORT.to_owned()),
    }
}

/// A file that can be read; its path.
fn readable(text: &str) -> Result<String, io::Error> {
    let path = expand(text.trim());
    fs::File::open(&path)
        .and_then(|file| file.metadata())
        .and_then(|meta| if meta.is_file() { Ok(path) } else { Err(io::Error::other("this is not a file")) })
}

/// A file that can be what it is said to be; its path.
fn pem_with(answer: &str, mark: &str, what: &str) -> Result<String, String> {
    let path = readable(answer).map_err(|e| format!("\nUnable to read file {answer}: {e}"))?;
    let text = read_bounded(Path::new(&path), PEM_MAX_BYTES)
        .map_err(|e| format!("\nUnable to read file {answer}: {e}"))?;
    let fits = text.lines().any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(mark));
    if fits { Ok(path) } else { Err(format!("\nERROR: {answer} is not PEM text with {what}.")) }
}

fn trial_bind(address: &str, port: &str) -> io::Result<()> {
    let host = address.split_once("://").map_or(address, |(_, host)| host);
    // What binding to every interface is called on the bus.
    let host = if host == "*" { "0.0.0.0" } else { host };
    TcpListener::bind(format!("{host}:{port}")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_ports() {
        for (text, fits) in [
            ("tcp://127.0.0.1", true),
            ("tcp://host.example/", true),
            ("tcp://[::1]", true),
            ("tcp://*", true),
            ("tcp://127.0.0.1:1", false),
            ("tcp://", false),
            ("127.0.0.1", false),
            ("http://a", false),
            ("tcp://a b", false),
            ("tcp://[x]", false),
        ] {
            assert_eq!(host_of(text, &["tcp"]).is_ok(), fits, "{text}");
        }
        for (text, fits) in [("1", true), ("65535", true), ("0", false), ("65536", false), ("x", false)] {
            assert_eq!(valid_port(text).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn a_bound_address_is_noticed() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port().to_string();
        assert_eq!(trial_bind("tcp://127.0.0.1", &port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(held);
        assert!(trial_bind("tcp://127.0.0.1", &port).is_ok());
    }
}
