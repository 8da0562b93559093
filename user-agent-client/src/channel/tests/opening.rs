//! The upgrade: what is asked, what is taken for a yes, and what for a no.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use push_protocol::session::user_agent::ChannelEnd;
use push_protocol::wire::frame::write_text;
use push_protocol::wire::websocket::Reply;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::net::TcpListener;

use super::super::{Channel, Incoming};
use super::rig::{ROOM, agree, agreement, answered, field, read_request, url};
use crate::connection::OpenError;
use crate::defaults::{EXPLANATION_BYTES, EXPLANATION_WITHIN, RETRY_AFTER_MOST, UPGRADE_HEAD_BYTES};
use crate::server_url::ServerUrl;
use crate::tls::Trust;

/// WS-CON-1, WS-CON-2: the exact request; its key is another one each time.
#[tokio::test]
async fn asks_by_the_letter() {
    let mut keys = Vec::new();
    for (url, target, host) in [
        (
            "ws://push.example.net/Secret%2f?a=b",
            "/Secret%2f?a=b",
            "push.example.net",
        ),
        ("ws://[::1]:8080", "/", "[::1]:8080"),
        ("wss://push.example.net:443/", "/", "push.example.net"),
    ] {
        let (ours, mut theirs) = duplex(ROOM);
        let url = ServerUrl::parse(url).unwrap();
        let service = async {
            let request = read_request(&mut theirs).await;
            drop(theirs);
            request
        };
        let (refused, request) = tokio::join!(Channel::upgrade(ours, &url), service);
        assert_eq!(refused.unwrap_err().to_channel_end(), ChannelEnd::Lost);
        let key = field(&request, "Sec-WebSocket-Key");
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: user-agent-client/{version}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: push-notification\r\n\r\n"
        );
        assert_eq!(request, expected);
        assert_eq!(STANDARD.decode(key).unwrap().len(), 16);
        keys.push(key.to_owned());
    }
    keys.dedup();
    assert_eq!(keys.len(), 3);
}

/// WS-CON-2: whatever subprotocol the service names or doesn't name; and what HTTP allows beside it.
#[tokio::test]
async fn takes_any_yes() {
    for more in [
        "",
        "Sec-WebSocket-Protocol: push-notification\r\n",
        "Sec-WebSocket-Protocol: something-else\r\n",
        "Sec-WebSocket-Extensions:\r\n",
        "Server: x\r\nSet-Cookie: \u{fc}\r\n",
    ] {
        answered(|request| agreement(request, more).into()).await.unwrap();
    }
    let interim = |request: &str| {
        let agreement = agreement(request, "");
        format!("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n{agreement}")
    };
    answered(|request| interim(request).into()).await.unwrap();
}

/// What the service says in one breath with its yes is heard, however the bytes are cut.
#[tokio::test]
async fn a_hasty_service() {
    let whole = answered(|request| {
        let mut answer = Vec::from(agreement(request, ""));
        write_text(&mut answer, None, |out| out.extend_from_slice(b"{}"));
        answer
    });
    let hello = Incoming::Reply(Reply::SignOfLife);
    assert_eq!(whole.await.unwrap().next().await, hello);

    let (ours, mut theirs) = duplex(1);
    let url = url();
    let slow = async {
        agree(&mut theirs).await;
        theirs.write_all(b"\x81\x02{}").await.unwrap();
    };
    let slowly = async { Channel::upgrade(ours, &url).await.unwrap().next().await };
    assert_eq!(tokio::join!(slowly, slow).0, hello);
}

/// WS-CON-1: what is no yes, as the session and as people are told it.
#[tokio::test]
async fn refusals() {
    let refused = |status, retry_after: Option<u64>| ChannelEnd::Refused {
        status,
        retry_after: retry_after.map(Duration::from_secs),
    };
    let many = "x: y\r\n".repeat(100);
    let rows: [(&str, ChannelEnd, &str); 16] = [
        (
            "HTTP/1.1 404 Not Found\r\n\r\n",
            refused(404, None),
            "secret in it",
        ),
        (
            "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n\r\n",
            refused(503, Some(7)),
            "in 7 seconds",
        ),
        (
            "HTTP/1.1 503 Busy\r\nretry-after: Fri, 01 Jan 2100 00:00:00 GMT\r\n\r\n",
            ChannelEnd::Refused {
                status: 503,
                retry_after: Some(RETRY_AFTER_MOST),
            },
            "busy",
        ),
        (
            "HTTP/1.1 429 \r\nRetry-After: soon\r\n\r\n",
            refused(429, None),
            "later",
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>",
            refused(200, None),
            "a web page",
        ),
        (
            "HTTP/1.1 403 No\r\nContent-Length: 26\r\n\r\n{\"detail\":\"Ask the owner\"}more",
            refused(403, None),
            "the service says: Ask the owner",
        ),
        (
            "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nBusy \r\n9;x=y\r\nuntil ten\r\n0\r\n\r\n",
            refused(503, None),
            "the service says: Busy until ten",
        ),
        (
            "HTTP/1.1 429 Slow\r\n\r\nslower \u{1b}[2J, at /secret/1",
            refused(429, None),
            "the service says: slower \\u{1b}[2J, at /…",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: /secret\r\n\r\n",
            refused(302, None),
            "not followed",
        ),
        (
            "<!DOCTYPE html><html></html>\r\n\r\n",
            ChannelEnd::Garbled,
            "is not HTTP/1.1",
        ),
        (
            "SSH-2.0-OpenSSH_9.2p1\r\n",
            ChannelEnd::Garbled,
            "is not HTTP/1.1",
        ),
        (
            "\u{15}\u{3}\u{3}\0\u{2}\u{2}\u{28}",
            ChannelEnd::Garbled,
            "wss://",
        ),
        ("HTTP/1.1 101 Ok\r\n\r\n", ChannelEnd::Garbled, "another protocol"),
        (
            &format!("HTTP/1.1 101 Ok\r\n{many}\r\n"),
            ChannelEnd::Garbled,
            "too many",
        ),
        ("", ChannelEnd::Lost, "was lost"),
        ("HTTP/1.1 101 Switching", ChannelEnd::Lost, "was lost"),
    ];
    for (answer, ended, words) in rows {
        let error = answered(|_| answer.into()).await.unwrap_err();
        assert_eq!(error.to_channel_end(), ended, "{answer}");
        let sentence = error.to_string();
        assert!(sentence.contains(words), "{sentence}");
        assert!(!sentence.contains("/secret"), "{sentence}");
    }
}

/// PR-16: an explanation that doesn't end takes nothing from the refusal, and no more than its bound is read of one without end.
#[tokio::test(start_paused = true)]
async fn explanations_without_end() {
    for flood in [false, true] {
        let (ours, mut theirs) = duplex(1_000);
        let url = url();
        let service = async {
            read_request(&mut theirs).await;
            let head = b"HTTP/1.1 403 No\r\nContent-Length: 1000000\r\n\r\nbecause";
            theirs.write_all(head).await.unwrap();
            let mut written = 0;
            while flood && theirs.write_all(b" and because").await.is_ok() {
                written += 12;
            }
            (theirs, written)
        };
        let begin = tokio::time::Instant::now();
        let (error, (_theirs, written)) = tokio::join!(Channel::upgrade(ours, &url), service);
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("status 403") && error.contains("says: because"),
            "{error}"
        );
        assert!(begin.elapsed() <= 2 * EXPLANATION_WITHIN);
        assert!(written < EXPLANATION_BYTES + 4_000, "{written}");
    }
}

/// RFC 6455 §4.1: a yes that is wrong in one place is no yes.
#[tokio::test]
async fn half_a_yes() {
    let twice = "Sec-WebSocket-Accept: x\r\n";
    let rows: [(&str, &str, &str, &str); 5] = [
        (
            "Sec-WebSocket-Accept: ",
            "Sec-WebSocket-Accept: x",
            "",
            "Sec-WebSocket-Accept",
        ),
        ("Upgrade: WebSocket", "Upgrade: h2c", "", "another protocol"),
        ("keep-alive, upgrade", "keep-alive", "", "another protocol"),
        (
            "",
            "",
            "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            "extension",
        ),
        ("", "", twice, "Sec-WebSocket-Accept"),
    ];
    for (from, to, more, words) in rows {
        let answer = |request: &str| agreement(request, more).replacen(from, to, 1).into();
        let error = answered(answer).await.unwrap_err();
        assert_eq!(error.to_channel_end(), ChannelEnd::Garbled);
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// A head without an end is given up when it is too long, and so are interim answers without one.
#[tokio::test]
async fn endless_heads() {
    for piece in [
        "x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let (ours, mut theirs) = duplex(1_000);
        let url = url();
        let service = async {
            read_request(&mut theirs).await;
            theirs.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
            if !piece.ends_with('\n') {
                theirs.write_all(b"HTTP/1.1 101 Ok\r\n").await.unwrap();
            }
            let mut written = 0;
            while theirs.write_all(piece.as_bytes()).await.is_ok() {
                written += piece.len();
            }
            written
        };
        let (error, written) = tokio::join!(Channel::upgrade(ours, &url), service);
        assert!(
            matches!(error, Err(OpenError::NotWebSocket("its answer is too long"))),
            "{error:?}"
        );
        assert!(written < UPGRADE_HEAD_BYTES + 4_000, "{written}");
    }
}

/// WS-CON-1: over TCP, by name, from the URL alone; and where no server is.
#[tokio::test]
async fn connects() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = ServerUrl::parse(&format!("ws://localhost:{port}/")).unwrap();
    let trust = Trust::with_certificates("/nowhere");
    let service = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        agree(&mut stream).await;
        stream.write_all(b"\x81\x02{}").await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
    };
    let user_agent = async {
        // In clear no certificate is asked for.
        let mut channel = Channel::open(&url, &trust).await.unwrap();
        assert_eq!(channel.next().await, Incoming::Reply(Reply::SignOfLife));
        assert_eq!(format!("{channel:?}"), "Channel(open)");
    };
    tokio::join!(user_agent, service);
    drop(listener);
    let error = Channel::open(&url, &trust).await.unwrap_err();
    assert_eq!(error.to_channel_end(), ChannelEnd::Unreachable);
    assert!(
        error
            .to_string()
            .contains(&format!("cannot connect to localhost:{port}")),
        "{error}"
    );
}
