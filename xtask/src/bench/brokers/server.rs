//! A broker on a free loopback port, with a certificate of its own if it is to be secured.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::Broker;
use crate::bench::setup::Outcome;

const PATIENCE: Duration = Duration::from_secs(20);

/// A running broker, killed when dropped.
pub struct Server {
    child: Child,
    port: u16,
    certificate: Option<PathBuf>,
    _dir: TempDir,
}

/// Where Debian puts servers, which is not on everybody's path.
fn program(broker: Broker) -> PathBuf {
    let name = broker.name();
    ["/usr/sbin", "/usr/bin", "/usr/local/bin"]
        .iter()
        .map(|dir| PathBuf::from(dir).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| name.into())
}

pub fn is_installed(broker: Broker) -> bool {
    program(broker).exists()
}

impl Server {
    pub fn start(broker: Broker, secured: bool) -> Outcome<Self> {
        let dir = TempDir::new()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let files = if secured {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
            let (certificate, key) = (dir.path().join("certificate.pem"), dir.path().join("key.pem"));
            fs::write(&certificate, made.cert.pem())?;
            fs::write(&key, made.signing_key.serialize_pem())?;
            Some((certificate, key))
        } else {
            None
        };
        let mut command = Command::new(program(broker));
        match broker {
            Broker::Mosquitto => {
                // Without `user` it would leave root, and then could not read the key.
                let mut text = format!(
                    "listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nuser root\n"
                );
                if let Some((certificate, key)) = &files {
                    text += &format!("certfile {}\nkeyfile {}\n", certificate.display(), key.display());
                }
                let file = dir.path().join("mosquitto.conf");
                fs::write(&file, text)?;
                command.arg("-c").arg(file);
            }
            Broker::Nats => {
                command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
                if let Some((certificate, key)) = &files {
                    command.arg("--tls").arg("--tlscert").arg(certificate).arg("--tlskey").arg(key);
                }
            }
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let server = Self { child, port, certificate: files.map(|f| f.0), _dir: dir };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begin.elapsed() > PATIENCE {
                return Err(format!("{} does not listen", broker.name()).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// `PORT` or `PORT,CERTIFICATE`.
    pub fn place(&self) -> String {
        match &self.certificate {
            Some(path) => format!("{},{}", self.port, path.display()),
            None => self.port.to_string(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
