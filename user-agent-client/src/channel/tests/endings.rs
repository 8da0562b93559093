//! How a channel ends: by the service, by us, by mistake, and in silence.

use std::time::Duration;

use push_protocol::session::user_agent::{ChannelEnd, Farewell, Say, Wish};
use push_protocol::wire::frame::{write_close, write_ping};
use push_protocol::wire::websocket::Reply;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, join};
use tokio::time::{Instant, timeout};

use super::super::{Channel, Incoming};
use super::rig::{ROOM, Said, agreement, all_said, next_now, open, read_request, understood, url};
use crate::defaults::{CLOSE_WITHIN, UNWRITTEN_BYTES};

const LIFE: Incoming = Incoming::Reply(Reply::SignOfLife);

/// WS-CLS-1, RFC 6455 §5.5.1: the service's code is told, after what it said before, and is answered once.
#[tokio::test]
async fn the_service_closes() {
    for code in [
        None,
        Some(1000),
        Some(1001),
        Some(1011),
        Some(1012),
        Some(1013),
        Some(4774),
    ] {
        let (mut channel, mut service) = open(ROOM).await;
        let mut bytes = b"\x81\x02{}".to_vec();
        match code {
            None => bytes.extend(b"\x88\0"),
            Some(code) => write_close(&mut bytes, None, code, "why"),
        }
        bytes.extend(b"\x81\x02{}");
        service.write_all(&bytes).await.unwrap();
        assert_eq!(channel.next().await, LIFE);
        assert_eq!(channel.try_next(), None, "the end needs I/O");
        let ended = Incoming::Ended(ChannelEnd::Closed(code));
        assert_eq!(channel.next().await, ended);
        let said = code.map(|_| "why".into());
        assert_eq!(channel.take_explanation(), said, "the reason is for people");
        assert_eq!(channel.next().await, ended);
        assert_eq!(channel.try_next(), Some(ended));
        channel.say(&Say::Hello(None, Wish::default()));
        channel.flush().await;
        drop(channel);
        assert_eq!(all_said(service).await, [Said::Close(Some(code.unwrap_or(1000)))]);
    }
}

/// WS-CLS-1: 4774, which means "stay away", is heard also if the service hung up and nothing can be said any more.
#[tokio::test]
async fn a_code_outlives_the_connection() {
    for flush in [false, true] {
        let (mut channel, mut service) = open(ROOM).await;
        let mut bytes = b"\x81\x02{}".to_vec();
        write_close(&mut bytes, None, 4774, "");
        service.write_all(&bytes).await.unwrap();
        drop(service);
        channel.say(&Say::Hello(None, Wish::default()));
        if flush {
            channel.flush().await;
        }
        assert_eq!(channel.next().await, LIFE);
        assert_eq!(
            channel.next().await,
            Incoming::Ended(ChannelEnd::Closed(Some(4774)))
        );
    }
}

/// WS-CON-3: what is not RFC 6455 ends the channel, and the service is told why.
#[tokio::test]
async fn mistakes_of_the_service() {
    let rows: [(&[u8], u16); 9] = [
        (b"\x81\x82\0\0\0\0{}", 1002),
        (b"\xc1\x02{}", 1002),
        (b"\x83\x00", 1002),
        (b"\x80\x00", 1002),
        (b"\x89\x7e\x00\x7e", 1002),
        (b"\x88\x01!", 1002),
        (b"\x88\x02\x03\xed", 1002),
        (b"\x81\x01\xff", 1007),
        (b"\x81\x7f\0\0\0\x01\0\0\0\0", 1009),
    ];
    for (bytes, code) in rows {
        let (mut channel, mut service) = open(ROOM).await;
        service.write_all(b"\x81\x02{}").await.unwrap();
        service.write_all(bytes).await.unwrap();
        assert_eq!(channel.next().await, LIFE);
        assert_eq!(
            channel.next().await,
            Incoming::Ended(ChannelEnd::Garbled),
            "{bytes:x?}"
        );
        channel.close(Farewell::ProtocolError).await;
        assert_eq!(all_said(service).await, [Said::Close(Some(code))]);
    }
}

/// A connection that breaks is lost, between two frames and within one, and also if only one half of it is closed.
#[tokio::test]
async fn the_connection_breaks() {
    for rest in [b"".as_slice(), b"\x81", b"\x81\x05{\"a"] {
        let (mut channel, mut service) = open(ROOM).await;
        service.write_all(b"\x81\x02{}").await.unwrap();
        service.write_all(rest).await.unwrap();
        service.shutdown().await.unwrap();
        channel.say(&Say::Hello(None, Wish::default()));
        assert_eq!(channel.next().await, LIFE);
        assert_eq!(channel.next().await, Incoming::Ended(ChannelEnd::Lost));
        assert_eq!(format!("{channel:?}"), "Channel(Lost)");
        drop(service);
        channel.flush().await;
        channel.close(Farewell::Leaving).await;
    }
}

/// A service that reads nothing bounds what waits for it: in the end the channel is lost, and closing it takes no time.
#[tokio::test(start_paused = true)]
async fn a_service_that_never_reads() {
    let (mut channel, service) = open(64).await;
    let mut says = 0;
    while next_now(&mut channel).await.is_none() {
        channel.say(&Say::Hello(None, Wish::default()));
        says += 1;
        assert!(channel.socket.owned_bytes() < 2 * UNWRITTEN_BYTES + 4_096);
        assert!(says < UNWRITTEN_BYTES);
    }
    assert!(says > 1_000);
    assert_eq!(channel.next().await, Incoming::Ended(ChannelEnd::Lost));
    assert_eq!(channel.socket.owned_bytes(), 0);
    channel.close(Farewell::Leaving).await;
    drop(service);

    // The service's own reason counts for more, also if no answer to it fits any more behind so many pings of six bytes.
    let (mut channel, mut service) = open(1).await;
    for _ in 0..UNWRITTEN_BYTES / 6 {
        channel.ping();
    }
    let closing = service.write_all(b"\x88\x02\x12\xa6");
    let (ended, closed) = tokio::join!(channel.next(), closing);
    assert_eq!(ended, Incoming::Ended(ChannelEnd::Closed(Some(4774))));
    closed.unwrap();

    for (farewell, patience) in [
        (Farewell::Leaving, CLOSE_WITHIN),
        (Farewell::TimedOut, Duration::ZERO),
    ] {
        let (mut channel, service) = open(64).await;
        channel.say(&Say::Hello(None, Wish::default()));
        channel.say(&Say::Hello(None, Wish::default()));
        assert!(timeout(10 * CLOSE_WITHIN, channel.flush()).await.is_err());
        let before = Instant::now();
        channel.close(farewell).await;
        assert_eq!(before.elapsed().as_secs(), patience.as_secs());
        drop(service);
    }
}

/// A service that reads slowly is not one that doesn't: what it has read is not held any more.
#[tokio::test]
async fn a_slow_service() {
    let (mut channel, mut service) = open(512).await;
    let mut read = vec![0; 480];
    // It never catches up.
    for _ in 0..300 {
        channel.ping();
    }
    for _ in 0..1_000 {
        for _ in 0..80 {
            channel.ping();
        }
        assert_eq!(next_now(&mut channel).await, None);
        service.read_exact(&mut read).await.unwrap();
        assert_eq!(next_now(&mut channel).await, None);
        assert!(channel.socket.owned_bytes() < 4_096);
    }
}

/// A connection that takes nothing more is lost, although the other end does not say so.
#[tokio::test]
async fn a_connection_that_takes_nothing() {
    let ((ours, mut theirs), (out, mut their_in)) = (duplex(ROOM), duplex(ROOM));
    let url = url();
    let agreeing = async {
        let request = read_request(&mut their_in).await;
        theirs
            .write_all(agreement(&request, "").as_bytes())
            .await
            .unwrap();
        drop(their_in);
    };
    let (channel, ()) = tokio::join!(Channel::upgrade(join(ours, out), &url), agreeing);
    let mut channel = channel.unwrap();
    assert_eq!(next_now(&mut channel).await, None);
    channel.ping();
    assert_eq!(channel.next().await, Incoming::Ended(ChannelEnd::Lost));
    drop(theirs);
}

/// WS-CON-8: pings without end, whose answers are not read, end in a lost channel too.
#[tokio::test]
async fn a_flood_of_pings() {
    let (mut channel, mut service) = open(64 * 1024).await;
    let mut pings = Vec::new();
    for _ in 0..1_000 {
        write_ping(&mut pings, None, &[1; 4]);
    }
    for _ in 0..UNWRITTEN_BYTES {
        service.write_all(&pings).await.unwrap();
        loop {
            match next_now(&mut channel).await {
                Some(Incoming::SignOfLife) => {}
                Some(Incoming::Ended(ended)) => return assert_eq!(ended, ChannelEnd::Lost),
                Some(other) => panic!("{other:?}"),
                None => break,
            }
        }
        assert!(channel.socket.owned_bytes() < 2 * UNWRITTEN_BYTES + 4_096);
    }
    panic!("it took all of them");
}

/// WS-CLS-1: each farewell has its code, goes behind all that was said, and waits for the service's answer, but not for
/// more than a second.
#[tokio::test(start_paused = true)]
async fn farewells() {
    for (farewell, code) in [
        (Farewell::Leaving, 1000),
        (Farewell::ProtocolError, 1002),
        (Farewell::TimedOut, 1001),
    ] {
        let (mut channel, service) = open(ROOM).await;
        channel.say(&Say::Hello(None, Wish::default()));
        let before = Instant::now();
        channel.close(farewell).await;
        let patience = if farewell == Farewell::TimedOut {
            0
        } else {
            CLOSE_WITHIN.as_secs()
        };
        assert_eq!(before.elapsed().as_secs(), patience);
        let said = all_said(service).await;
        assert!(
            matches!(said[..], [Said::Text(_), Said::Close(Some(said))] if said == code),
            "{said:?}"
        );
    }
    let (channel, mut service) = open(ROOM).await;
    let answering = async {
        let mut said = vec![0; 8];
        service.read_exact(&mut said).await.unwrap();
        assert_eq!(understood(&mut said), [Said::Close(Some(1000))]);
        // A message that was on its way, and then the answer.
        service.write_all(b"\x81\x02{}\x88\x02\x03\xe8").await.unwrap();
        let mut rest = Vec::new();
        service.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "one farewell is enough");
    };
    let before = Instant::now();
    tokio::join!(channel.close(Farewell::Leaving), answering);
    assert!(before.elapsed().is_zero());
}
