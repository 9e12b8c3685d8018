//! The endpoint: `GET /metrics`, a few requests at a time, each with a time limit.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use super::{MetricsAddress, Sources, text};

/// Connections served at a time; further ones wait in the listener's queue.
const CONNECTIONS: usize = 8;
/// How long a client may take for its request, and how long it may keep a connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(2);

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A bound endpoint, removed from the file system when it is dropped.
pub struct Endpoint {
    listener: Listener,
    path: Option<PathBuf>,
}

impl Endpoint {
    /// Binds; nothing for [`MetricsAddress::Off`]. A socket that a crash left behind is replaced: the caller owns the
    /// home.
    pub fn bind(address: &MetricsAddress) -> io::Result<Option<Self>> {
        Ok(Some(match address {
            MetricsAddress::Off => return Ok(None),
            MetricsAddress::Unix(path) => {
                match std::fs::remove_file(path) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    _ => {}
                }
                let listener = UnixListener::bind(path)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
                Self { listener: Listener::Unix(listener), path: Some(path.clone()) }
            }
            MetricsAddress::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Self { listener: Listener::Tcp(TcpListener::from_std(listener)?), path: None }
            }
        }))
    }

    /// The port, of a TCP endpoint.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(_) => None,
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Serves until it is dropped.
pub async fn serve(endpoint: Endpoint, sources: Sources) -> Infallible {
    let (sources, places) = (Arc::new(sources), Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        // Never closed.
        let Ok(place) = places.clone().acquire_owned().await else { continue };
        let sources = sources.clone();
        let accepted = match &endpoint.listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                tokio::spawn(async move {
                    answer(stream, sources).await;
                    drop(place);
                });
            }),
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                tokio::spawn(async move {
                    answer(stream, sources).await;
                    drop(place);
                });
            }),
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "a connection to the metrics could not be accepted");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, sources: Arc<Sources>) {
    let service = service_fn(move |request| {
        let sources = sources.clone();
        async move { Ok::<_, Infallible>(respond(&request, &sources).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        tracing::debug!(%error, "a request for the metrics failed");
    }
}

async fn respond(request: &Request<Incoming>, sources: &Sources) -> Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "only /metrics is here\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match sources.text().await {
        Ok(text) => with_type(StatusCode::OK, text, text::CONTENT_TYPE),
        Err(error) => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("{error}\n")),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    with_type(status, text.to_owned(), "text/plain; charset=utf-8")
}

fn with_type(status: StatusCode, text: String, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
