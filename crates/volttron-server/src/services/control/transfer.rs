//! Receiving a package through a channel (subsystems.md section 7): we ask for pieces and for the checksum of all so far.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha512};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use volttron_client::{CallError, Channel, ChannelError, Cx, RpcError};

/// Largest package, in bytes.
const MAX_BYTES: u64 = 512 << 20;
/// Longest wait for each answer of the other side.
const STEP: Duration = Duration::from_secs(30);
/// Asks for the next piece. The size is what clients of all generations take.
const FETCH: &[u8] = b"[\"fetch\", 1000000]";
const CHECKSUM: &[u8] = b"[\"checksum\"]";
const COMPLETE: &[u8] = b"complete";

/// Why a package did not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransferError {
    /// No channel of that name to that peer.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The connection to the bus.
    #[error(transparent)]
    Bus(#[from] CallError),
    /// Silence.
    #[error("'{peer}' did not send the next piece of the package within {} s", STEP.as_secs())]
    Silent {
        /// The other side.
        peer: String,
    },
    /// The platform stops.
    #[error("the platform stops")]
    Stopping,
    /// What arrived is not what was sent.
    #[error("Checksum mismatch on received file")]
    Checksum,
    /// Nothing was sent.
    #[error("the package is empty")]
    Empty,
    /// Too much was sent.
    #[error("the package is larger than {} MiB", MAX_BYTES >> 20)]
    TooLarge,
    /// It cannot be written.
    #[error("cannot keep the package: {0}")]
    File(#[from] std::io::Error),
}

impl From<TransferError> for RpcError {
    fn from(error: TransferError) -> Self {
        match error {
            // What the original raises.
            TransferError::Checksum => Self::exception("builtins.AssertionError", error.to_string()),
            other => Self::runtime_error(other.to_string()),
        }
    }
}

/// Receives a file from `peer` through the channel `name`, which the peer has open already.
pub(super) async fn receive(cx: &Cx, peer: &str, name: &str, to: &Path) -> Result<(), TransferError> {
    let mut channel = cx.channel_named(peer, name)?;
    let mut file = File::create_new(to).await?;
    let (mut hash, mut received) = (Sha512::new(), 0_u64);
    loop {
        let piece = ask(&mut channel, FETCH).await?;
        if piece == COMPLETE {
            break;
        }
        received += piece.len() as u64;
        if received > MAX_BYTES {
            return Err(TransferError::TooLarge);
        }
        hash.update(&piece);
        file.write_all(&piece).await?;
        if ask(&mut channel, CHECKSUM).await? != hash.clone().finalize().as_slice() {
            return Err(TransferError::Checksum);
        }
    }
    if received == 0 {
        return Err(TransferError::Empty);
    }
    file.flush().await?;
    Ok(())
}

async fn ask(channel: &mut Channel, question: &'static [u8]) -> Result<Bytes, TransferError> {
    channel.send(vec![Bytes::from_static(question)]).await?;
    match tokio::time::timeout(STEP, channel.recv()).await {
        Err(_) => Err(TransferError::Silent { peer: channel.peer().to_owned() }),
        Ok(None) => Err(TransferError::Stopping),
        Ok(Some(Err(gap))) => Err(gap.into()),
        Ok(Some(Ok(frames))) => Ok(frames.into_iter().next().unwrap_or_default()),
    }
}
