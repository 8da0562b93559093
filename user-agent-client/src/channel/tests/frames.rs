//! What the service says, however it cuts it; and what is said to it.

use std::mem;
use std::sync::Arc;

use push_protocol::session::user_agent::{Arrived, ChannelEnd, Disposition, Identity, Say, Wish};
use push_protocol::wire::frame::{write_ping, write_pong, write_text};
use push_protocol::wire::websocket::Reply;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::{Channel, Incoming};
use super::rig::{ROOM, Said, all_said, next_now, open, understood};
use crate::defaults::MESSAGE_BYTES;

fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_text(&mut out, None, |out| out.extend_from_slice(text.as_bytes()));
    out
}

fn notification(id: &str) -> String {
    format!(r#"{{"messageType":"notification","channelID":"c","version":"{id}"}}"#)
}

fn arrived(id: &str) -> Incoming {
    let Incoming::Reply(Reply::Arrived(mut arrived)) = read(&notification(id)) else {
        panic!("a notification");
    };
    arrived.id = id.into();
    Incoming::Reply(Reply::Arrived(arrived))
}

fn read(text: &str) -> Incoming {
    Incoming::Reply(push_protocol::wire::websocket::parse_reply(text).unwrap())
}

fn acknowledge(id: &str) -> Say {
    Say::Acknowledge {
        message: Arc::new(Arrived {
            subscription: "c".into(),
            id: id.into(),
            content: None,
            metadata: None,
        }),
        disposition: Disposition::Delivered,
    }
}

/// A bit of everything, and what it means.
fn conversation() -> (Vec<u8>, Vec<Incoming>) {
    let mut bytes = text(r#"{"messageType":"hello","uaid":"abc","status":200,"use_webpush":true}"#);
    write_ping(&mut bytes, None, b"are you there");
    bytes.extend(text(&notification("one")));
    // A message in three pieces, with a pong between them.
    let (first, rest) = (
        r#"{"messageType":"notif"#,
        r#"ication","channelID":"c","version":"two"}"#,
    );
    bytes.extend([0x01, first.len() as u8]);
    bytes.extend(first.as_bytes());
    write_pong(&mut bytes, None, &[]);
    bytes.extend([0x00, 0x00, 0x80, rest.len() as u8]);
    bytes.extend(rest.as_bytes());
    bytes.extend(b"\x82\x01!");
    bytes.extend(text("[]"));
    bytes.extend(text(&notification(&"long".repeat(100))));
    let life = || Incoming::SignOfLife;
    let hello = Incoming::Reply(Reply::Hello(Identity::parse("abc")));
    let meaning = vec![
        hello,
        life(),
        arrived("one"),
        life(),
        life(),
        life(),
        arrived("two"),
        Incoming::Nonsense,
        Incoming::Nonsense,
        arrived(&"long".repeat(100)),
    ];
    (bytes, meaning)
}

/// WS-CON-3, WS-TYP-1: the same is heard wherever the bytes are cut, and whatever is given up between the pieces.
#[tokio::test]
async fn cut_at_every_byte() {
    let (bytes, meaning) = conversation();
    for cut in 0..bytes.len() {
        let (mut channel, mut service) = open(ROOM).await;
        let mut heard = Vec::new();
        for piece in [&bytes[..cut], &bytes[cut..]] {
            service.write_all(piece).await.unwrap();
            while let Some(incoming) = next_now(&mut channel).await {
                heard.push(incoming);
            }
        }
        assert_eq!(heard, meaning, "cut at {cut}");
    }
}

/// Every byte on its own; and nothing is kept when all is heard: an idle channel owns no buffer.
#[tokio::test]
async fn byte_by_byte_and_idle() {
    let (bytes, meaning) = conversation();
    let (mut channel, mut service) = open(ROOM).await;
    let mut heard = Vec::new();
    for byte in bytes {
        service.write_all(&[byte]).await.unwrap();
        heard.extend(next_now(&mut channel).await);
        assert_eq!(next_now(&mut channel).await, None);
    }
    assert_eq!(heard, meaning);
    assert_eq!(channel.socket.owned_bytes(), 0);
    channel.say(&Say::Hello(None, Wish::default()));
    assert_eq!(next_now(&mut channel).await, None);
    assert_eq!(channel.socket.owned_bytes(), 0);
    assert!(mem::size_of::<Channel>() <= 192, "{}", mem::size_of::<Channel>());
    assert!(mem::size_of_val(&channel.next()) <= 32);
}

/// WS-CON-3, WS-CON-8: pings are answered with the same bytes, without being asked for, each under a mask of its own, also while
/// neither end says anything.
#[tokio::test]
async fn pings_are_answered() {
    let (mut channel, mut service) = open(ROOM).await;
    let payloads = [b"".as_slice(), b"12345", &[7; 125]];
    let mut bytes = Vec::new();
    for payload in payloads {
        write_ping(&mut bytes, None, payload);
    }
    service.write_all(&bytes).await.unwrap();
    for _ in payloads {
        assert_eq!(next_now(&mut channel).await, Some(Incoming::SignOfLife));
    }
    assert_eq!(next_now(&mut channel).await, None);
    let mut masks = Vec::new();
    for payload in payloads {
        let mut head = [0; 6];
        service.read_exact(&mut head).await.unwrap();
        assert_eq!(head[..2], [0x8a, 0x80 | payload.len() as u8]);
        let mut pong = vec![0; payload.len()];
        service.read_exact(&mut pong).await.unwrap();
        let mask = &head[2..];
        let unmasked: Vec<u8> = pong.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b).collect();
        assert_eq!(unmasked, payload);
        masks.push(mask.to_vec());
    }
    masks.dedup();
    assert!(masks.len() > 1);
}

/// WS-PNG-1: what is said arrives, in order, whether it is flushed or only waited after.
#[tokio::test]
async fn says_in_order() {
    let (mut channel, service) = open(ROOM).await;
    channel.say(&Say::Hello(None, Wish::default()));
    channel.ping();
    channel.flush().await;
    channel.say(&acknowledge("one"));
    channel.say(&acknowledge("two"));
    assert_eq!(next_now(&mut channel).await, None);
    drop(channel);
    let ack = |id| {
        format!(r#"{{"messageType":"ack","updates":[{{"channelID":"c","version":"{id}","code":100}}]}}"#)
    };
    let expected = [
        Said::Text(r#"{"messageType":"hello","use_webpush":true}"#.into()),
        Said::Ping(Vec::new()),
        Said::Text(ack("one")),
        Said::Text(ack("two")),
    ];
    assert_eq!(all_said(service).await, expected);
}

/// What was read is there without I/O, and what is said meanwhile goes when it is waited again.
#[tokio::test]
async fn a_burst() {
    let (mut channel, mut service) = open(ROOM).await;
    assert_eq!(channel.try_next(), None);
    for id in ["one", "two", "three"] {
        service.write_all(&text(&notification(id))).await.unwrap();
    }
    assert_eq!(channel.try_next(), None);
    assert_eq!(channel.next().await, arrived("one"));
    for id in ["two", "three"] {
        assert_eq!(channel.try_next(), Some(arrived(id)));
        channel.say(&acknowledge(id));
    }
    assert_eq!(channel.try_next(), None);
    assert_eq!(next_now(&mut channel).await, None);
    drop(channel);
    assert_eq!(all_said(service).await.len(), 2);
}

/// Whatever is given up between two bytes, nothing is lost, doubled or torn: neither what is said nor what is heard.
#[tokio::test]
async fn cancelled_at_any_point() {
    for room in [1, 2, 3, 7, 64] {
        let (mut channel, mut service) = open(room).await;
        let says: Vec<Say> = (0..20).map(|n| acknowledge(&format!("{n}"))).collect();
        let mut answers = conversation().0.into_iter();
        let (mut written, mut heard) = (Vec::new(), Vec::new());
        let mut waiting = says.iter();
        let mut turn = 0;
        loop {
            turn += 1;
            if let Some(say) = waiting.next() {
                channel.say(say);
            }
            if turn % 2 == 0 {
                tokio::select! {
                    biased;
                    () = channel.flush() => {}
                    () = std::future::ready(()) => {}
                }
            } else {
                heard.extend(next_now(&mut channel).await);
            }
            if let Some(byte) = answers.next() {
                service.write_all(&[byte]).await.unwrap();
                heard.extend(next_now(&mut channel).await);
            }
            tokio::select! {
                biased;
                read = service.read_buf(&mut written) => assert!(read.unwrap() > 0),
                () = std::future::ready(()) => if answers.len() == 0 { break },
            }
        }
        assert_eq!(heard, conversation().1);
        let texts = understood(&mut written);
        let texts: Vec<_> = texts
            .iter()
            .filter(|said| matches!(said, Said::Text(_)))
            .collect();
        assert_eq!(texts.len(), says.len());
        for (n, said) in texts.iter().enumerate() {
            let Said::Text(said) = said else { unreachable!() };
            assert!(said.contains(&format!(r#""version":"{n}""#)), "{said}");
        }
    }
}

/// WS-CON-6: the largest message that is taken, and one byte more, in one piece and in many.
#[tokio::test]
async fn too_large() {
    let fits = MESSAGE_BYTES as usize;
    for (bytes, pieces, taken) in [
        (fits, 1, true),
        (fits + 1, 1, false),
        (fits, 4, true),
        (fits + 4, 4, false),
    ] {
        let (mut channel, mut service) = open(ROOM).await;
        let message = format!("{{}}{}", " ".repeat(bytes - 2));
        let parts: Vec<&[u8]> = message.as_bytes().chunks(bytes / pieces).collect();
        for (nth, part) in parts.iter().enumerate() {
            let opcode = u8::from(nth == 0) | if nth + 1 == parts.len() { 0x80 } else { 0 };
            let length = part.len() as u64;
            service
                .write_all(&[opcode, 127 - u8::from(length < 1 << 16)])
                .await
                .unwrap();
            let length = length.to_be_bytes();
            let skip = if part.len() < 1 << 16 { 6 } else { 0 };
            service.write_all(&length[skip..]).await.unwrap();
            service.write_all(part).await.unwrap();
        }
        let last = loop {
            match channel.next().await {
                Incoming::SignOfLife => {}
                incoming => break incoming,
            }
        };
        if taken {
            assert_eq!(last, Incoming::Reply(Reply::SignOfLife));
        } else {
            assert_eq!(last, Incoming::Ended(ChannelEnd::Garbled));
            drop(channel);
            assert_eq!(all_said(service).await, [Said::Close(Some(1009))]);
        }
    }
}
