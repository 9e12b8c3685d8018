//! Serving a directory over HTTP on loopback: whole files, GET only, one thread per connection.
//!
//! It answers `config.json` with its own address, so that a registry made for one port can be served on another.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::layout::config;

/// A running server; it ends with this value.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Server {
    /// Serves `dir` on this port of loopback; 0 is any free one.
    pub fn start(dir: &Path, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let address = listener.local_addr()?;
        let over = Arc::new(AtomicBool::new(false));
        let (dir, ended) = (dir.to_owned(), Arc::clone(&over));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                let dir = dir.clone();
                // A client that goes away is no fault of ours.
                thread::spawn(move || drop(converse(&stream, &dir, address)));
            }
        });
        Ok(Self { address, over })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The registry as cargo names it.
    pub fn index(&self) -> String {
        format!("sparse+{}/", self.url())
    }

    /// Lines of a cargo configuration that let this registry stand for crates.io.
    pub fn in_place_of_crates_io(&self) -> String {
        format!(
            "[source.crates-io]\nreplace-with = \"here\"\n\n[source.here]\nregistry = \"{}\"\n",
            self.index()
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// Answers the requests of one connection.
fn converse(stream: &TcpStream, dir: &Path, own: SocketAddr) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
                break;
            }
        }
        let (status, body) = answer(&request, dir, own);
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        writer.write_all(head.as_bytes())?;
        writer.write_all(&body)?;
    }
}

fn answer(request: &str, dir: &Path, own: SocketAddr) -> (&'static str, Vec<u8>) {
    let Some(path) = request.strip_prefix("GET /").and_then(|rest| rest.split([' ', '?']).next()) else {
        return ("405 Method Not Allowed", Vec::new());
    };
    if path == "config.json" {
        return ("200 OK", config(&format!("http://{own}")).to_string().into_bytes());
    }
    let path = PathBuf::from(path);
    if path.components().any(|part| !matches!(part, Component::Normal(_))) {
        return ("404 Not Found", Vec::new());
    }
    match fs::read(dir.join(path)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// The answers to several requests on one connection.
    fn ask(server: &Server, requests: &str) -> String {
        let mut stream = TcpStream::connect(server.address).expect("connect");
        stream.write_all(requests.as_bytes()).expect("send");
        stream.shutdown(std::net::Shutdown::Write).expect("end");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("receive");
        text
    }

    #[test]
    fn files_of_the_directory_are_served_and_no_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let inside = dir.path().join("served");
        fs::create_dir_all(inside.join("to/ki")).expect("directories");
        fs::write(inside.join("to/ki/tokio"), "lines").expect("write");
        fs::write(dir.path().join("secret"), "secret").expect("write");
        let server = Server::start(&inside, 0).expect("a server");
        let both = ask(
            &server,
            "GET /to/ki/tokio HTTP/1.1\r\nHost: a\r\n\r\nGET /no/thing HTTP/1.1\r\nHost: a\r\n\r\n",
        );
        assert!(both.starts_with("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlinesHTTP/1.1 404 "), "{both}");
        assert!(ask(&server, "GET /config.json HTTP/1.1\r\n\r\n").contains(&server.url()));
        for path in ["/../secret", "//etc/hostname", "/to/../../secret"] {
            let answer = ask(&server, &format!("GET {path} HTTP/1.1\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        }
        assert!(ask(&server, "POST /to/ki/tokio HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
    }
}
