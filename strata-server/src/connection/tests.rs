//! A connection over a socket in memory that counts its sends.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use strata_datafusion::session::{Engine, EngineOptions, Session, SessionOptions};
use tokio::io::ReadBuf;
use tokio::sync::watch;

use super::*;
use crate::wire::{Phase, SEND_SIZE};

/// Gives out scripted input, a piece a read, and keeps what is sent, a piece a write.
#[derive(Clone, Default)]
struct Script {
    input: Arc<Mutex<VecDeque<Vec<u8>>>>,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl AsyncRead for Script {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut input = self.input.lock();
        // Silence, not the end: a client that has hung up would be cancelled.
        let Some(piece) = input.front_mut() else { return Poll::Pending };
        let size = piece.len().min(buffer.remaining());
        buffer.put_slice(&piece[..size]);
        piece.drain(..size);
        if piece.is_empty() {
            input.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.sent.lock().push(bytes.to_vec());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("small");
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

/// What a connection sends, a piece a write, when the pieces of `input` come one by one and then Terminate.
async fn sends(input: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let script = Script::default();
    script.input.lock().extend(input.into_iter().chain([frame(b'X', b"")]));
    let (_running, phase) = watch::channel(Phase::Running);
    let engine = Engine::new(database(), EngineOptions::default()).expect("an engine");
    let session = Session::new(engine, SessionOptions::default());
    let ended = Connection::new(Wire::new(script.clone(), phase), session).run().await;
    assert!(matches!(ended, Ended::Terminated), "{ended:?}");
    script.sent.lock().clone()
}

fn prepared_query() -> Vec<u8> {
    [
        frame(b'P', b"\0show server_version\0\0\0"),
        frame(b'B', &[0; 8]),
        frame(b'D', b"P\0"),
        frame(b'E', &[0; 5]),
        frame(b'S', b""),
    ]
    .concat()
}

#[tokio::test]
async fn one_send_a_sync() {
    let sent = sends(vec![prepared_query(), prepared_query()]).await;
    assert_eq!(sent.len(), 2);
    for piece in sent {
        assert!(piece.starts_with(b"1\0\0\0\x042\0\0\0\x04T") && piece.ends_with(b"Z\0\0\0\x05I"));
    }
}

#[tokio::test]
async fn one_send_a_simple_query() {
    let sent = sends(vec![frame(b'Q', b"show server_version; show time zone\0")]).await;
    assert_eq!(sent.len(), 1);
}

#[tokio::test]
async fn large_results_go_out_in_buffers_of_bounded_size() {
    let sent = sends(vec![frame(b'Q', b"select * from generate_series(1, 50000)\0")]).await;
    assert!(sent.len() > 10, "{}", sent.len());
    assert!(sent.iter().all(|piece| piece.len() < 2 * SEND_SIZE));
}

/// A client that waits for an answer it never asked to be flushed gets it.
#[tokio::test]
async fn what_there_is_goes_out_before_waiting() {
    let query = prepared_query();
    let (first, second) = query.split_at(25);
    let sent = sends(vec![first.to_vec(), second.to_vec()]).await;
    assert_eq!(sent.len(), 1, "nothing is complete yet, so nothing is sent");
    let parse = frame(b'P', b"\0show server_version\0\0\0");
    let sent = sends(vec![parse, frame(b'S', b"")]).await;
    assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [5, 6]);
}

fn database() -> strata_core::Database {
    strata_core::Database::in_memory(strata_core::Options::default()).expect("a database")
}
