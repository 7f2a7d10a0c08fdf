//! One socket with one read buffer and one write buffer.
//!
//! **Sending.** Messages gather in the write buffer; it goes out in one write when the session is ready for the next query, at Flush, past
//! [`SEND_SIZE`], and before waiting for input. Whoever fills it awaits [`Wire::send_when_full`], which is the backpressure on plans.
//!
//! **Receiving.** The read buffer grows as bytes arrive, never by what a length claims. While a statement runs, [`Wire::watch`] reads
//! ahead by at most [`READ_AHEAD`] bytes: that is how a client that has gone away is noticed and its statement cancelled.
//!
//! **Ending.** All waits here end when the server stops: idle ones once it drains, all others once it cancels.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use strata_datafusion::session::CancelHandle;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use crate::frame::{Cut, Frame, FrameError, cut_frame, cut_startup};
use crate::frontend::DecodeError;

/// The write buffer goes out once it holds so many bytes.
pub const SEND_SIZE: usize = 32 << 10;
/// What one read asks for at first, and at most.
const READ_SIZE: std::ops::RangeInclusive<usize> = 8 << 10..=128 << 10;
/// How much is read ahead of a running statement.
const READ_AHEAD: usize = 1 << 20;
/// Buffers that grew larger are given back once they are empty.
const KEPT_SIZE: usize = 64 << 10;
/// How long a statement may take to notice that it is cancelled before it is dropped.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);
/// How long a farewell may take to send.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);

/// How far the server's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not at all.
    Running,
    /// Connections end once they wait for input.
    Draining,
    /// Running statements are cancelled.
    Cancelling,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The client said goodbye.
    #[error("the client ended the session")]
    Terminated,
    /// The client closed its socket, or never finished starting.
    #[error("the client has gone away")]
    Gone,
    /// The server stops.
    #[error("terminating connection due to administrator command")]
    Stopped,
    /// The stream makes no sense.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A message makes no sense.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A message came where it has no place.
    #[error("{0}")]
    Protocol(&'static str),
    /// The session cannot be had; the client was told.
    #[error("refused: {0}")]
    Refused(String),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A socket and its buffers.
pub struct Wire<S> {
    socket: S,
    input: BytesMut,
    /// What is to be sent: messages are appended here.
    pub output: BytesMut,
    phase: watch::Receiver<Phase>,
    read_size: usize,
    /// The largest frame since the read buffer was made.
    largest: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A fresh connection's.
    pub fn new(socket: S, phase: watch::Receiver<Phase>) -> Self {
        let read_size = *READ_SIZE.start();
        Self { socket, input: BytesMut::new(), output: BytesMut::new(), phase, read_size, largest: 0 }
    }

    /// The next tagged frame; sends what is to be sent before it waits.
    pub async fn frame(&mut self) -> Result<Frame, Ended> {
        loop {
            match cut_frame(&mut self.input)? {
                Cut::Frame(frame) => {
                    self.largest = self.largest.max(frame.body.len());
                    return Ok(frame);
                }
                Cut::Needs(size) => self.receive(size).await?,
            }
        }
    }

    /// The next startup packet.
    pub async fn startup_frame(&mut self) -> Result<Frame, Ended> {
        loop {
            match cut_startup(&mut self.input)? {
                Cut::Frame(frame) => return Ok(frame),
                Cut::Needs(size) => self.receive(size).await?,
            }
        }
    }

    /// Waits for input, of which at least `missing` bytes are wanted, though fewer may come.
    async fn receive(&mut self, missing: usize) -> Result<(), Ended> {
        self.send().await?;
        if self.input.is_empty() {
            if self.largest > KEPT_SIZE {
                self.input = BytesMut::new();
                self.largest = 0;
            }
            if self.output.capacity() > KEPT_SIZE {
                self.output = BytesMut::new();
            }
        }
        // Grows by doubling what has really arrived.
        let size = missing.min(self.input.len()).max(self.read_size);
        let read = tokio::select! {
            biased;
            () = reached(&mut self.phase, Phase::Draining) => return Err(Ended::Stopped),
            read = read(&mut self.socket, &mut self.input, size) => read?,
        };
        if read == 0 {
            return Err(Ended::Gone);
        }
        // A full read promises more; a short one says that the client sends little.
        let next = if read >= size { self.read_size * 2 } else { self.read_size / 2 };
        self.read_size = next.clamp(*READ_SIZE.start(), *READ_SIZE.end());
        Ok(())
    }

    /// Sends all there is.
    pub async fn send(&mut self) -> Result<(), Ended> {
        if self.output.is_empty() {
            return Ok(());
        }
        tokio::select! {
            biased;
            written = self.socket.write_all(&self.output) => written?,
            () = reached(&mut self.phase, Phase::Cancelling) => return Err(Ended::Stopped),
        }
        self.output.clear();
        Ok(())
    }

    /// Sends if there is much to send.
    pub async fn send_when_full(&mut self) -> Result<(), Ended> {
        if self.output.len() >= SEND_SIZE { self.send().await } else { Ok(()) }
    }

    /// Drives a statement's `work` to its end. Cancels it when the client goes away or the server stops, and waits a while for it
    /// to notice before it is dropped.
    pub async fn watch<T>(
        &mut self,
        cancel: &CancelHandle,
        work: impl Future<Output = T>,
    ) -> Result<T, Ended> {
        let mut work = std::pin::pin!(work);
        let ended = loop {
            let room = self.input.len() < READ_AHEAD;
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                read = read(&mut self.socket, &mut self.input, *READ_SIZE.start()), if room => match read {
                    Ok(0) => break Ended::Gone,
                    Ok(_) => {}
                    Err(error) => break Ended::Io(error),
                },
                () = reached(&mut self.phase, Phase::Cancelling) => break Ended::Stopped,
            }
        };
        cancel.cancel();
        // Whatever it comes to, nobody is there to be told.
        let _ = tokio::time::timeout(CANCEL_PATIENCE, work).await;
        Err(ended)
    }

    /// Sends last words, without insisting.
    pub async fn farewell(&mut self) {
        let words = async {
            self.socket.write_all(&self.output).await?;
            self.socket.shutdown().await
        };
        // The client may be gone or deaf; the socket is closed either way.
        let _ = tokio::time::timeout(FAREWELL_PATIENCE, words).await;
    }
}

async fn read<S: AsyncRead + Unpin>(socket: &mut S, input: &mut BytesMut, size: usize) -> io::Result<usize> {
    input.reserve(size);
    socket.read_buf(input).await
}

/// Waits until the server has come so far; a server that is gone has.
pub async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}
