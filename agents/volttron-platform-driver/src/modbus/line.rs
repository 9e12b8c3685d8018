//! Connections to Modbus TCP servers: one kept-alive connection per (host, port), used by one operation at a time,
//! under a cap on open sockets.
//!
//! Devices behind one gateway share its line, so their requests queue up instead of fighting over the gateway. Knows
//! requests and replies, nothing of registers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_modbus::client::{Client as _, Context, tcp};
use tokio_modbus::prelude::{ExceptionCode, Request, Response, Slave, SlaveContext as _};

use super::registry::Table;

/// How long an operation may wait for a socket to become free under the cap.
const SOCKET_WAIT: Duration = Duration::from_secs(30);

/// Why a request brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The device answered with an exception; the connection is fine.
    Exception(ExceptionCode),
    /// No usable answer; the connection is closed.
    Lost(String),
}

/// What a read brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// From a table of bits, exactly as many as asked for.
    Bits(Vec<bool>),
    /// From a table of words, exactly as many as asked for.
    Words(Vec<u16>),
}

/// All lines of the agent.
pub struct Lines {
    by_endpoint: Mutex<HashMap<(String, u16), Weak<Line>>>,
    sockets: Option<Arc<Semaphore>>,
    cap: usize,
    /// Operations waiting for a socket: while there are any, finished operations close theirs.
    waiting: AtomicUsize,
}

impl Lines {
    /// `cap` bounds open sockets; `None` means no bound.
    pub fn new(cap: Option<usize>) -> Arc<Self> {
        let cap_or_max = cap.map_or(usize::MAX, |cap| cap.max(1));
        Arc::new(Self {
            by_endpoint: Mutex::default(),
            sockets: cap.map(|cap| Arc::new(Semaphore::new(cap.clamp(1, Semaphore::MAX_PERMITS)))),
            cap: cap_or_max,
            waiting: AtomicUsize::new(0),
        })
    }

    /// The line to an endpoint, shared with every device there. Does not connect.
    pub fn line(self: &Arc<Self>, host: &str, port: u16) -> Arc<Line> {
        let mut lines = self.by_endpoint.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|_, line| line.strong_count() > 0);
        let key = (host.to_ascii_lowercase(), port);
        if let Some(line) = lines.get(&key).and_then(Weak::upgrade) {
            return line;
        }
        let line = Arc::new(Line {
            host: host.to_owned(),
            port,
            connection: AsyncMutex::new(None),
            connects: AtomicU64::new(0),
            lines: self.clone(),
        });
        lines.insert(key, Arc::downgrade(&line));
        line
    }

    /// Closes one connection that nobody uses at the moment.
    fn close_an_idle_one(&self) {
        let lines: Vec<Arc<Line>> = {
            let lines = self.by_endpoint.lock().unwrap_or_else(PoisonError::into_inner);
            lines.values().filter_map(Weak::upgrade).collect()
        };
        for line in lines {
            if let Ok(mut connection) = line.connection.try_lock()
                && connection.take().is_some()
            {
                return;
            }
        }
    }

    async fn permit(&self) -> Result<Option<OwnedSemaphorePermit>, String> {
        let Some(sockets) = &self.sockets else { return Ok(None) };
        if let Ok(permit) = sockets.clone().try_acquire_owned() {
            return Ok(Some(permit));
        }
        let _waiting = Waiting::new(&self.waiting);
        self.close_an_idle_one();
        match timeout(SOCKET_WAIT, sockets.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Some(permit)),
            _ => Err(format!("all {} sockets that max_open_sockets allows are in use", self.cap)),
        }
    }
}

/// Counts an operation as waiting, also when its future is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One endpoint.
pub struct Line {
    host: String,
    port: u16,
    connection: AsyncMutex<Option<Connection>>,
    connects: AtomicU64,
    lines: Arc<Lines>,
}

struct Connection {
    context: Context,
    /// It has carried an answer before, so a failure may only mean that the device closed it while idle.
    used: bool,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Line {
    /// Waits for the line and holds it until the session is dropped. `keep` leaves the connection open afterwards.
    pub async fn session(&self, unit: u8, limit: Duration, keep: bool) -> Session<'_> {
        Session { line: self, connection: self.connection.lock().await, unit, limit, keep }
    }

    /// Connections opened so far.
    pub fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }

    async fn open(&self, limit: Duration) -> Result<Connection, Failure> {
        let permit = self.lines.permit().await.map_err(Failure::Lost)?;
        let stream = match timeout(limit, TcpStream::connect((self.host.as_str(), self.port))).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.lost(format_args!("cannot connect: {error}"))),
            Err(_) => return Err(self.lost(format_args!("cannot connect within {limit:?}"))),
        };
        // Requests are small and wait for their answers; a failure to set this only costs latency.
        let _ = stream.set_nodelay(true);
        self.connects.fetch_add(1, Ordering::Relaxed);
        Ok(Connection { context: tcp::attach(stream), used: false, _permit: permit })
    }

    fn lost(&self, what: std::fmt::Arguments<'_>) -> Failure {
        Failure::Lost(format!("{}:{}: {what}", self.host, self.port))
    }
}

/// Exclusive use of a line for one operation.
pub struct Session<'a> {
    line: &'a Line,
    connection: AsyncGuard<'a, Option<Connection>>,
    unit: u8,
    limit: Duration,
    keep: bool,
}

impl Session<'_> {
    /// Reads a range of one table.
    pub async fn read(&mut self, table: Table, start: u16, count: u16) -> Result<Data, Failure> {
        let request = match table {
            Table::Coil => Request::ReadCoils(start, count),
            Table::Discrete => Request::ReadDiscreteInputs(start, count),
            Table::Input => Request::ReadInputRegisters(start, count),
            Table::Holding => Request::ReadHoldingRegisters(start, count),
        };
        let wanted = usize::from(count);
        match self.call(request).await? {
            // Replies carry whole bytes of bits; what is beyond the count is padding.
            Response::ReadCoils(mut bits) | Response::ReadDiscreteInputs(mut bits)
                if bits.len() >= wanted =>
            {
                bits.truncate(wanted);
                Ok(Data::Bits(bits))
            }
            Response::ReadInputRegisters(words) | Response::ReadHoldingRegisters(words)
                if words.len() == wanted =>
            {
                Ok(Data::Words(words))
            }
            _ => {
                *self.connection = None;
                Err(self.line.lost(format_args!("the answer is not of the length asked for")))
            }
        }
    }

    /// Writes one coil (FC 5).
    pub async fn write_coil(&mut self, address: u16, on: bool) -> Result<(), Failure> {
        self.call(Request::WriteSingleCoil(address, on)).await.map(drop)
    }

    /// Writes words: with FC 16, or a single one with FC 6.
    pub async fn write_words(&mut self, address: u16, words: &[u16], multiple: bool) -> Result<(), Failure> {
        let request = match words {
            [word] if !multiple => Request::WriteSingleRegister(address, *word),
            _ => Request::WriteMultipleRegisters(address, Cow::Owned(words.to_vec())),
        };
        self.call(request).await.map(drop)
    }

    /// One request and its answer. The connection is out of the line while the answer is awaited, so that dropping this
    /// future closes it: a late answer must not meet the next request. A reused connection that turns out closed is
    /// replaced once; repeating a write is harmless, because Modbus writes set values.
    async fn call(&mut self, request: Request<'static>) -> Result<Response, Failure> {
        loop {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.line.open(self.limit).await?,
            };
            connection.context.set_slave(Slave(self.unit));
            let answer = timeout(self.limit, connection.context.call(request.clone())).await;
            let answer = match answer {
                Ok(Ok(answer)) => answer,
                Ok(Err(tokio_modbus::Error::Transport(_))) if connection.used => continue,
                Ok(Err(error)) => return Err(self.line.lost(format_args!("{}", transport_text(&error)))),
                Err(_) => return Err(self.line.lost(format_args!("no answer within {:?}", self.limit))),
            };
            connection.used = true;
            *self.connection = Some(connection);
            return answer.map_err(Failure::Exception);
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if !self.keep || self.line.lines.waiting.load(Ordering::SeqCst) > 0 {
            *self.connection = None;
        }
    }
}

/// The library reports an end of stream as the last OS error, which then is "success".
fn transport_text(error: &tokio_modbus::Error) -> String {
    match error {
        tokio_modbus::Error::Transport(io) if io.raw_os_error() == Some(0) => {
            "the device closed the connection".into()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// A server that answers every read of holding registers with zeroes and closes each connection after `per_connection`
    /// answers.
    async fn server(per_connection: usize) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    for _ in 0..per_connection {
                        let mut request = [0u8; 12];
                        if stream.read_exact(&mut request).await.is_err() {
                            return;
                        }
                        let bytes = request[11] * 2;
                        let mut answer = request[..4].to_vec();
                        answer.extend_from_slice(&[0, 3 + bytes, request[6], request[7], bytes]);
                        answer.resize(answer.len() + usize::from(bytes), 0);
                        if stream.write_all(&answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        port
    }

    async fn read(line: &Line, keep: bool) -> Result<Data, Failure> {
        line.session(1, Duration::from_secs(10), keep).await.read(Table::Holding, 0, 2).await
    }

    #[tokio::test]
    async fn a_connection_is_kept_and_replaced_when_the_device_closed_it() {
        let lines = Lines::new(None);
        let line = lines.line("127.0.0.1", server(2).await);
        for connects in [1, 1, 2, 2, 3] {
            assert_eq!(read(&line, true).await, Ok(Data::Words(vec![0, 0])));
            assert_eq!(line.connects(), connects);
        }
        assert_eq!(read(&line, false).await, Ok(Data::Words(vec![0, 0])));
        assert_eq!(read(&line, true).await, Ok(Data::Words(vec![0, 0])));
        assert_eq!(line.connects(), 4);
    }

    #[tokio::test]
    async fn idle_connections_give_way_under_the_cap() {
        let port_a = server(100).await;
        let port_b = server(100).await;
        let lines = Lines::new(Some(1));
        let (a, b) = (lines.line("127.0.0.1", port_a), lines.line("127.0.0.1", port_b));
        for _ in 0..3 {
            let (one, two, three) = tokio::join!(read(&a, true), read(&b, true), read(&a, true));
            assert!(one.is_ok() && two.is_ok() && three.is_ok(), "{one:?} {two:?} {three:?}");
        }
        assert!(b.connects() >= 3);
    }

    #[tokio::test]
    async fn devices_of_one_endpoint_share_its_line_while_any_lives() {
        let lines = Lines::new(None);
        let first = lines.line("Host", 502);
        assert!(Arc::ptr_eq(&first, &lines.line("host", 502)));
        assert!(!Arc::ptr_eq(&first, &lines.line("host", 503)));
        drop(first);
        lines.line("other", 1);
        assert_eq!(lines.by_endpoint.lock().expect("lock").len(), 1);
    }

    #[tokio::test]
    async fn a_refused_connection_says_where() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        drop(listener);
        let failure =
            read(&Lines::new(None).line("127.0.0.1", port), true).await.expect_err("nobody listens");
        assert!(
            matches!(&failure, Failure::Lost(text) if text.starts_with(&format!("127.0.0.1:{port}: cannot connect"))),
            "{failure:?}"
        );
    }
}
