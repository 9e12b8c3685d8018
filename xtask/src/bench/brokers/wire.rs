//! The least of MQTT 3.1.1 (QoS 0) and of NATS that publishing and subscribing needs.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::Arc,
};

use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::Broker;
use crate::bench::setup::Outcome;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// Bytes read ahead, and bytes collected before they are written.
const BUFFER_BYTES: usize = 64 * 1024;

/// A connection.
pub struct Client {
    stream: BufReader<Box<dyn Stream>>,
    waiting: Vec<u8>,
    scratch: Vec<u8>,
}

impl Client {
    /// `place` is `PORT` or `PORT,CERTIFICATE`.
    pub fn connect(broker: Broker, place: &str, name: &str) -> Outcome<Self> {
        let (port, certificate) =
            place.split_once(',').map_or((place, None), |(port, path)| (port, Some(path)));
        let mut tcp = TcpStream::connect(("127.0.0.1", port.parse()?))?;
        tcp.set_nodelay(true)?;
        if broker == Broker::Nats {
            // NATS introduces itself before it speaks TLS.
            let mut byte = [0];
            while byte != *b"\n" {
                tcp.read_exact(&mut byte)?;
            }
        }
        let stream: Box<dyn Stream> = match certificate {
            Some(path) => Box::new(rustls::StreamOwned::new(tls(path)?, tcp)),
            None => Box::new(tcp),
        };
        let stream = BufReader::with_capacity(BUFFER_BYTES, stream);
        let mut client = Self { stream, waiting: Vec::new(), scratch: Vec::new() };
        match broker {
            Broker::Mosquitto => {
                let mut body = b"\x00\x04MQTT\x04\x02\x00\x00".to_vec();
                body.extend(text(name));
                client.queue(&packet(0x10, &body))?;
                client.flush()?;
                client.packet()?;
            }
            Broker::Nats => {
                let hello = "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"rust\",\"version\":\"1\",\"protocol\":1}\r\nPING\r\n";
                client.queue(hello.as_bytes())?;
                client.flush()?;
                client.line_that_is("PONG")?;
            }
        }
        Ok(client)
    }

    pub fn subscribe(&mut self, broker: Broker) -> Outcome<()> {
        match broker {
            Broker::Mosquitto => {
                let mut body = b"\x00\x01".to_vec();
                body.extend(text("devices/#"));
                body.push(0);
                self.queue(&packet(0x82, &body))?;
                self.flush()?;
                self.packet()
            }
            Broker::Nats => {
                self.queue(b"SUB devices.> 1\r\nPING\r\n")?;
                self.flush()?;
                self.line_that_is("PONG")
            }
        }
    }

    /// Writes once enough is collected.
    pub fn queue(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    pub fn flush(&mut self) -> Outcome<()> {
        if !self.waiting.is_empty() {
            let to = self.stream.get_mut();
            to.write_all(&self.waiting)?;
            to.flush()?;
            self.waiting.clear();
        }
        Ok(())
    }

    /// Waits for one publication.
    pub fn delivery(&mut self, broker: Broker) -> Outcome<()> {
        match broker {
            Broker::Mosquitto => self.packet(),
            Broker::Nats => {
                let line = self.line()?;
                let Some(size) = line.strip_prefix("MSG ").and_then(|l| l.rsplit(' ').next()) else {
                    if line == "PING" {
                        self.queue(b"PONG\r\n")?;
                        self.flush()?;
                    }
                    return self.delivery(broker);
                };
                self.skip(size.parse::<usize>()? + 2)
            }
        }
    }

    /// Reads one MQTT packet and forgets it.
    fn packet(&mut self) -> Outcome<()> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        let (mut len, mut shift) = (0_usize, 0);
        loop {
            self.stream.read_exact(&mut byte)?;
            len |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        self.skip(len)
    }

    fn skip(&mut self, bytes: usize) -> Outcome<()> {
        self.scratch.resize(bytes, 0);
        Ok(self.stream.read_exact(&mut self.scratch)?)
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err("the broker closed the connection".into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    fn line_that_is(&mut self, wanted: &str) -> Outcome<()> {
        while self.line()? != wanted {}
        Ok(())
    }
}

fn tls(certificate: &str) -> Outcome<rustls::ClientConnection> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&fs::read(certificate)?)?)?;
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(rustls::ClientConnection::new(Arc::new(config), "localhost".try_into()?)?)
}

/// A publication as it goes over the wire.
pub fn publication(broker: Broker, topic: &str, payload: &[u8]) -> Vec<u8> {
    match broker {
        Broker::Mosquitto => packet(0x30, &[text(topic).as_slice(), payload].concat()),
        Broker::Nats => {
            let head = format!("PUB {} {}\r\n", topic.replace('/', "."), payload.len());
            [head.as_bytes(), payload, b"\r\n"].concat()
        }
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut len = body.len();
    loop {
        let more = len > 0x7f;
        packet.push((len & 0x7f) as u8 | if more { 0x80 } else { 0 });
        len >>= 7;
        if !more {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}
