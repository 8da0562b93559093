//! Stalled peers: how much they cost, and who is woken when they go on.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Wake, Waker};

use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, split};

use super::{ROOMY, VERSIONS, connected, is_pending, varied};
use crate::defaults::{TLS_PLAINTEXT_BYTES, TLS_RECORD_OVERHEAD_BYTES};

/// Counts how often a task is woken.
#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Woken {
    fn times(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_stalled_peer_costs_one_record() {
    // While the peer does not read, writes are pending and one record is all that is kept; when it reads on, all
    // arrives.
    for version in VERSIONS {
        let (mut ours, mut theirs) = connected(version, 4_096).await;
        let sent = varied(200_000);
        let mut accepted = 0;
        while !is_pending(ours.write(&sent[accepted..])).await {
            // Taken as far as it went: a write that is polled once either waits or accepts.
            accepted += TLS_PLAINTEXT_BYTES;
        }
        assert_eq!(accepted, TLS_PLAINTEXT_BYTES);
        assert!(ours.records.owned_bytes() <= TLS_PLAINTEXT_BYTES + TLS_RECORD_OVERHEAD_BYTES);
        let write_rest = async {
            ours.write_all(&sent[accepted..]).await.unwrap();
            ours.shutdown().await.unwrap();
        };
        let mut read = Vec::new();
        let (outcome, ()) = tokio::join!(theirs.read_to_end(&mut read), write_rest);
        outcome.unwrap();
        assert!(read == sent);
        assert_eq!(ours.records.owned_bytes(), 0);
    }
}

#[tokio::test]
async fn what_a_cancelled_write_left_goes_out_while_reading() {
    // Ciphertext that the socket did not take is sent by polling reads alone, without another write or flush.
    let (mut ours, mut theirs) = connected(&TLS13, 1_000).await;
    let sent = varied(5_000);
    assert_eq!(ours.write(&sent).await.unwrap(), sent.len());
    assert!(is_pending(ours.write(b"never accepted")).await);
    let mut read = vec![0; sent.len()];
    let mut nothing = [0; 1];
    tokio::select! {
        biased;
        _ = ours.read(&mut nothing) => panic!("the peer sends nothing"),
        outcome = theirs.read_exact(&mut read) => { outcome.unwrap(); }
    }
    assert!(read == sent);
}

#[tokio::test]
async fn a_read_that_replaces_a_writers_waker_wakes_it() {
    // Of two tasks that share a stream, the one that waits to write is woken when the other's read comes between it and
    // the socket.
    let (mut ours, _theirs) = connected(&TLS13, 1_000).await;
    let (writer, reader) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
    let (writer_waker, reader_waker) = (Waker::from(Arc::clone(&writer)), Waker::from(Arc::clone(&reader)));
    let mut writing = Context::from_waker(&writer_waker);
    let mut reading = Context::from_waker(&reader_waker);
    let bytes = varied(5_000);
    assert!(Pin::new(&mut ours).poll_write(&mut writing, &bytes).is_ready());
    assert!(Pin::new(&mut ours).poll_write(&mut writing, &bytes).is_pending());
    let mut room = [0; 16];
    assert!(
        Pin::new(&mut ours)
            .poll_read(&mut reading, &mut ReadBuf::new(&mut room))
            .is_pending()
    );
    assert_eq!((writer.times(), reader.times()), (1, 0));
}

#[tokio::test]
async fn a_task_that_polls_both_does_not_spin() {
    // While the peer is stalled, a task that waits to read and to write is not woken by its own polls; when a read then
    // sends what the write waits for, it is.
    let (mut ours, mut theirs) = connected(&TLS13, 1_000).await;
    let task = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&task));
    let mut cx = Context::from_waker(&waker);
    let bytes = varied(1_500);
    assert!(Pin::new(&mut ours).poll_write(&mut cx, &bytes).is_ready());
    let mut room = [0; 16];
    for _ in 0..3 {
        assert!(Pin::new(&mut ours).poll_write(&mut cx, &bytes).is_pending());
        assert!(
            Pin::new(&mut ours)
                .poll_read(&mut cx, &mut ReadBuf::new(&mut room))
                .is_pending()
        );
    }
    assert_eq!(task.times(), 0);
    // The peer takes what is in the pipe, a part of the record: this wakes the task for the socket's sake.
    assert!(is_pending(theirs.read(&mut [0; 16])).await);
    assert_eq!(task.times(), 1);
    assert!(
        Pin::new(&mut ours)
            .poll_read(&mut cx, &mut ReadBuf::new(&mut room))
            .is_pending()
    );
    assert!(ours.records.outgoing().is_empty());
    assert_eq!(task.times(), 2);
}

#[tokio::test]
async fn a_reader_and_a_writer_in_two_tasks_both_finish() {
    // With the halves in tasks of their own and a pipe that is always full, no wake-up is lost.
    let (ours, theirs) = connected(&TLS13, 700).await;
    let sent = varied(300_000);
    let (mut ours_read, mut ours_write) = split(ours);
    let (mut theirs_read, mut theirs_write) = split(theirs);
    let echo = tokio::spawn(async move {
        let mut some = vec![0; 3_000];
        loop {
            let count = theirs_read.read(&mut some).await.unwrap();
            if count == 0 {
                return theirs_write.shutdown().await.unwrap();
            }
            theirs_write.write_all(&some[..count]).await.unwrap();
            theirs_write.flush().await.unwrap();
        }
    });
    let bytes = sent.clone();
    let writer = tokio::spawn(async move {
        ours_write.write_all(&bytes).await.unwrap();
        ours_write.shutdown().await.unwrap();
    });
    let mut read = Vec::new();
    ours_read.read_to_end(&mut read).await.unwrap();
    writer.await.unwrap();
    echo.await.unwrap();
    assert!(read == sent);
}

#[tokio::test]
async fn nothing_is_owned_while_waiting() {
    // A connection that waits for its next message owns no buffer, after traffic both ways.
    for version in VERSIONS {
        let (mut ours, mut theirs) = connected(version, ROOMY).await;
        let mut read = [0; 100];
        theirs.write_all(&read).await.unwrap();
        theirs.flush().await.unwrap();
        ours.read_exact(&mut read).await.unwrap();
        ours.write_all(&read).await.unwrap();
        ours.flush().await.unwrap();
        assert!(is_pending(ours.read(&mut read)).await);
        assert_eq!(ours.records.owned_bytes(), 0);
    }
}
