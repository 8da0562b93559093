//! Bytes both ways, and how a connection ends.

use std::io::ErrorKind;

use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};

use super::{ROOMY, VERSIONS, connected, varied};
use crate::defaults::TLS_PLAINTEXT_BYTES;

#[tokio::test]
async fn a_message_goes_each_way() {
    // A message written by either side is read by the other, in TLS 1.2 and 1.3.
    for version in VERSIONS {
        let (mut ours, mut theirs) = connected(version, ROOMY).await;
        let mut read = [0; 5];
        theirs.write_all(b"hello").await.unwrap();
        theirs.flush().await.unwrap();
        ours.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"hello");
        ours.write_all(b"world").await.unwrap();
        ours.flush().await.unwrap();
        theirs.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"world");
    }
}

#[tokio::test]
async fn megabytes_go_both_ways_at_once() {
    // Two megabytes each way at the same time arrive whole, through a pipe far smaller than a record.
    for version in VERSIONS {
        let (ours, theirs) = connected(version, 5_000).await;
        let sent = varied(2 << 20);
        let (mut ours_read, mut ours_write) = split(ours);
        let (mut theirs_read, mut theirs_write) = split(theirs);
        let write_ours = async {
            ours_write.write_all(&sent).await.unwrap();
            ours_write.shutdown().await.unwrap();
        };
        let write_theirs = async {
            theirs_write.write_all(&sent).await.unwrap();
            theirs_write.shutdown().await.unwrap();
        };
        let (mut here, mut there) = (Vec::new(), Vec::new());
        let (read_here, read_there, (), ()) = tokio::join!(
            ours_read.read_to_end(&mut here),
            theirs_read.read_to_end(&mut there),
            write_ours,
            write_theirs
        );
        read_here.unwrap();
        read_there.unwrap();
        assert!(here == sent && there == sent);
    }
}

#[tokio::test]
async fn plaintext_that_finds_no_room_is_kept_and_then_freed() {
    // A reader that takes one byte at a time gets every byte, and afterwards no buffer is left.
    let (mut ours, mut theirs) = connected(&TLS13, ROOMY).await;
    let sent = varied(1_000);
    theirs.write_all(&sent).await.unwrap();
    theirs.flush().await.unwrap();
    for expected in &sent {
        assert_eq!(ours.read_u8().await.unwrap(), *expected);
    }
    assert_eq!(ours.records.owned_bytes(), 0);
}

#[tokio::test]
async fn a_write_is_one_record_at_most() {
    // A write takes no more than what one record carries, and a write of nothing sends nothing.
    let (mut ours, _theirs) = connected(&TLS13, ROOMY).await;
    assert_eq!(ours.write(&varied(100_000)).await.unwrap(), TLS_PLAINTEXT_BYTES);
    assert_eq!(ours.write(&[]).await.unwrap(), 0);
}

#[tokio::test]
async fn keys_are_updated_when_the_peer_asks() {
    // After each of many key updates by the peer, both directions still carry messages.
    let (mut ours, mut theirs) = connected(&TLS13, ROOMY).await;
    let mut read = [0; 4];
    for _ in 0..100 {
        theirs.get_mut().1.refresh_traffic_keys().unwrap();
        theirs.write_all(b"ping").await.unwrap();
        theirs.flush().await.unwrap();
        ours.read_exact(&mut read).await.unwrap();
        ours.write_all(b"pong").await.unwrap();
        ours.flush().await.unwrap();
        theirs.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"pong");
    }
    assert_eq!(ours.records.owned_bytes(), 0);
}

#[tokio::test]
async fn the_peers_close_notify_is_the_end_and_we_may_still_write() {
    // After the peer's close_notify a read gives what came before it, then nothing; our answer still arrives.
    for version in VERSIONS {
        let (mut ours, mut theirs) = connected(version, ROOMY).await;
        theirs.write_all(b"last words").await.unwrap();
        theirs.shutdown().await.unwrap();
        let mut read = Vec::new();
        ours.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"last words");
        assert_eq!(ours.read(&mut [0; 8]).await.unwrap(), 0);
        ours.write_all(b"answer").await.unwrap();
        ours.shutdown().await.unwrap();
        read.clear();
        theirs.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"answer");
    }
}

#[tokio::test]
async fn our_close_notify_is_sent_once_and_reading_goes_on() {
    // A shutdown ends our direction cleanly, a second one changes nothing, and what the peer sends is still read.
    for version in VERSIONS {
        let (mut ours, mut theirs) = connected(version, ROOMY).await;
        ours.shutdown().await.unwrap();
        assert_eq!(
            theirs.read(&mut [0; 8]).await.unwrap(),
            0,
            "a close_notify, not a cut"
        );
        theirs.write_all(b"still here").await.unwrap();
        theirs.flush().await.unwrap();
        let mut read = [0; 10];
        ours.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"still here");
        ours.shutdown().await.unwrap();
        assert_eq!(
            ours.write(b"too late").await.unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
    }
}

#[tokio::test]
async fn a_cut_connection_is_not_an_end() {
    // When the connection ends without close_notify, what came before is read, and then there is an error.
    for version in VERSIONS {
        let (mut ours, mut theirs) = connected(version, ROOMY).await;
        theirs.write_all(b"cut").await.unwrap();
        theirs.flush().await.unwrap();
        drop(theirs);
        let mut read = [0; 3];
        ours.read_exact(&mut read).await.unwrap();
        assert_eq!(
            ours.read(&mut read).await.unwrap_err().kind(),
            ErrorKind::UnexpectedEof
        );
        assert_eq!(
            ours.read(&mut read).await.unwrap_err().kind(),
            ErrorKind::UnexpectedEof
        );
    }
}
