//! Records that arrive in pieces, and pieces that hold several records.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

use super::{Directory, ROOMY, VERSIONS, acceptor, connected, handshake, is_pending, peer_config, varied};

/// Lets at most `piece` bytes through in one read or write.
struct Chopped {
    io: DuplexStream,
    piece: usize,
}

impl AsyncRead for Chopped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut piece = vec![0; self.piece.min(room.remaining())];
        let mut part = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut part))?;
        room.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Chopped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let piece = self.piece.min(bytes.len());
        Pin::new(&mut self.io).poll_write(cx, &bytes[..piece])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn records_may_be_split_anywhere() {
    // Handshake and messages survive a network that delivers one byte at a time, or any other small number.
    let directory = Directory::new();
    let acceptor = acceptor(&directory);
    for version in VERSIONS {
        for piece in (1..=40).chain([1_000, 16_383]) {
            let (io, theirs) = duplex(ROOMY);
            let config = peer_config(&directory.certificate(), &[version]);
            let (mut ours, mut theirs) = handshake(&acceptor, config, Chopped { io, piece }, theirs).await;
            let (sent, mut read) = (varied(3_000), vec![0; 3_000]);
            theirs.write_all(&sent[..100]).await.unwrap();
            theirs.write_all(&sent[100..]).await.unwrap();
            theirs.flush().await.unwrap();
            ours.read_exact(&mut read).await.unwrap();
            assert_eq!(read, sent);
            ours.write_all(&sent).await.unwrap();
            ours.flush().await.unwrap();
            theirs.read_exact(&mut read).await.unwrap();
            assert_eq!(read, sent);
            assert_eq!(ours.records.owned_bytes(), 0);
        }
    }
}

#[tokio::test]
async fn a_pause_may_be_anywhere_in_a_record() {
    // Wherever a record is cut in two, the first part yields nothing, the second completes it, and nothing is kept.
    let (mut ours, mut theirs) = connected(VERSIONS[1], ROOMY).await;
    let record = 5 + 10 + 1 + 16;
    for cut in 1..record {
        let (near, mut far) = duplex(ROOMY);
        let mut wire = std::mem::replace(&mut ours.io, near);
        theirs.write_all(b"ten bytes.").await.unwrap();
        theirs.flush().await.unwrap();
        let mut bytes = vec![0; record];
        wire.read_exact(&mut bytes).await.unwrap();
        far.write_all(&bytes[..cut]).await.unwrap();
        let mut read = [0; 16];
        assert!(is_pending(ours.read(&mut read)).await);
        assert_eq!(ours.records.held().len(), cut);
        far.write_all(&bytes[cut..]).await.unwrap();
        assert_eq!(ours.read(&mut read).await.unwrap(), 10);
        assert_eq!(&read[..10], b"ten bytes.");
        assert_eq!(ours.records.owned_bytes(), 0);
        ours.io = wire;
    }
}

#[tokio::test]
async fn one_read_may_bring_many_records() {
    // Records that arrive together are all decrypted, in order, also when the reader takes only some of it.
    for version in VERSIONS {
        let (mut ours, mut theirs) = connected(version, ROOMY).await;
        let sent = varied(50_000);
        for part in sent.chunks(777) {
            theirs.write_all(part).await.unwrap();
        }
        theirs.flush().await.unwrap();
        let (mut all, mut some) = (Vec::new(), [0; 1_000]);
        while all.len() < sent.len() {
            let count = ours.read(&mut some).await.unwrap();
            all.extend_from_slice(&some[..count]);
        }
        assert!(all == sent);
        assert_eq!(ours.records.owned_bytes(), 0);
    }
}
