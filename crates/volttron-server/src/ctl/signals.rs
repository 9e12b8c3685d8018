//! Signals that end the program. What a command has half done is cleared away first, if the command listens; a command
//! that waits for an answer at the terminal does not, and ends at once.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// How long a command may take to listen. Longer ones are waiting for something that no signal interrupts.
const PATIENCE: Duration = Duration::from_millis(250);

/// The signals, and the exit codes they give: 1 for Ctrl-C (cli.md section 4), for the others 128 and the number, as shells
/// have it.
fn kinds() -> Vec<(SignalKind, u8)> {
    let mut kinds = vec![(SignalKind::interrupt(), 1), (SignalKind::terminate(), 143)];
    // Under nohup it is to go on.
    if !is_ignored(SignalKind::hangup()) {
        kinds.push((SignalKind::hangup(), 129));
    }
    kinds
}

/// A signal that came, or not yet.
#[derive(Debug)]
pub struct Interruption {
    came: oneshot::Receiver<u8>,
    listens: mpsc::Sender<()>,
}

impl Interruption {
    /// Listens from now on, on a thread of its own, since a command may keep its own one busy.
    pub fn listen() -> io::Result<Self> {
        let (came, receiver) = oneshot::channel();
        let (listens, heard) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let signals = {
            let _in_it = runtime.enter();
            let listened = kinds().into_iter().map(|(kind, code)| Ok((signal(kind)?, code)));
            listened.collect::<io::Result<Vec<_>>>()?
        };
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || runtime.block_on(watch(signals, came, heard)))?;
        Ok(Self { came: receiver, listens })
    }

    /// Waits for a signal; the exit code it gives. Whoever goes on after this has to end soon.
    pub async fn came(self) -> u8 {
        match self.came.await {
            Ok(code) => {
                // Nobody hears it if the other thread has ended, and then nothing ends the process either.
                let _ = self.listens.send(());
                code
            }
            Err(_) => std::future::pending().await,
        }
    }
}

async fn watch(mut signals: Vec<(Signal, u8)>, came: oneshot::Sender<u8>, heard: mpsc::Receiver<()>) {
    let code = next(&mut signals).await;
    let _ = came.send(code);
    if heard.recv_timeout(PATIENCE).is_ok() {
        // It clears away. A second signal is for somebody who cannot wait for that.
        next(&mut signals).await;
    }
    std::process::exit(code.into());
}

async fn next(signals: &mut [(Signal, u8)]) -> u8 {
    let waits = signals.iter_mut().map(|(signal, code)| {
        Box::pin(async {
            signal.recv().await;
            *code
        })
    });
    futures_util::future::select_all(waits).await.0
}

/// Whether the process was started with a signal ignored, which a handler would end.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}
