//! Over HTTP/1.1: the same messages, and a connection for each request that is under way.

use std::collections::HashMap;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::service::message_event;
use super::*;
use crate::defaults::HTTP1_ACKNOWLEDGEMENTS;
use push_protocol::session::user_agent::Unregistered;

/// A service that speaks HTTP/1.1 in clear, and a channel to it.
struct Http1Rig {
    channel: Channel,
    listener: TcpListener,
    origin: String,
    known: Durable,
}

/// A connection, as the service sees it.
struct Line(TcpStream);

struct Got {
    method: String,
    path: String,
    fields: HashMap<String, String>,
    body: Vec<u8>,
}

impl Http1Rig {
    async fn new() -> (Self, Line) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let url = ServerUrl::parse(&origin).unwrap();
        let wire = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let trust = Trust::insecure();
        let http1 = Http1::on(Box::new(wire), &url, &trust).await.unwrap();
        let channel = Channel::with(None, Sender::Http1(http1), &url, &url, &trust, Form::Push);
        let (stream, _) = listener.accept().await.unwrap();
        let rig = Self {
            channel: channel.unwrap(),
            listener,
            origin,
            known: Durable::default(),
        };
        (rig, Line(stream))
    }

    /// A set is monitored; also the connection on which its events come.
    async fn monitoring() -> (Self, Line) {
        let (mut rig, mut line) = Self::new().await;
        let set = rig.set();
        rig.channel
            .say(&Say::Hello(Some(set.clone()), Wish::default()), &rig.known);
        let got = rig.gets(&mut line).await;
        assert_eq!(
            (got.method.as_str(), got.path.as_str()),
            ("GET", "/subscriptions/a")
        );
        assert_eq!(got.fields["accept"], "text/event-stream");
        assert_eq!(rig.origin, format!("http://{}", got.fields["host"]));
        line.begins_events().await;
        assert_eq!(rig.channel.next().await, Incoming::WithoutPush);
        assert_eq!(rig.channel.next().await, Incoming::Monitoring(set));
        (rig, line)
    }

    fn set(&self) -> Identity {
        Identity::of_set(&format!("{}/subscriptions/a", self.origin)).unwrap()
    }

    /// The next connection, while the channel is held.
    async fn line(&mut self) -> Line {
        tokio::select! {
            accepted = self.listener.accept() => Line(accepted.unwrap().0),
            incoming = self.channel.next() => panic!("{incoming:?}"),
        }
    }

    async fn gets(&mut self, line: &mut Line) -> Got {
        tokio::select! {
            got = line.gets() => got,
            incoming = self.channel.next() => panic!("{incoming:?}"),
        }
    }

    fn acknowledge(&mut self, path: &str) {
        let message = Arrived {
            subscription: "".into(),
            id: path.into(),
            content: None,
            metadata: None,
        };
        let say = Say::Acknowledge {
            message: Arc::new(message),
            disposition: Disposition::Delivered,
        };
        self.channel.say(&say, &self.known);
    }

    async fn next_but_life(&mut self) -> Incoming {
        loop {
            match self.channel.next().await {
                Incoming::SignOfLife => {}
                incoming => return incoming,
            }
        }
    }
}

impl Line {
    async fn gets(&mut self) -> Got {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let mut first = lines.next().unwrap().split(' ');
        let (method, path) = (first.next().unwrap().into(), first.next().unwrap().into());
        let fields = lines.filter_map(|line| line.split_once(": "));
        let fields: HashMap<_, _> = fields
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = fields
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        Got {
            method,
            path,
            fields,
            body,
        }
    }

    async fn writes(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn answers(&mut self, status: u16, fields: &str) {
        let length = if status == 204 {
            ""
        } else {
            "Content-Length: 0\r\n"
        };
        self.writes(&format!("HTTP/1.1 {status} X\r\n{fields}{length}\r\n"))
            .await;
    }

    async fn begins_events(&mut self) {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        self.writes(head).await;
    }

    async fn chunk(&mut self, text: &str) {
        self.writes(&format!("{:x}\r\n{text}\r\n", text.len())).await;
    }
}

/// R30-SUB-2, R30-SUB-7, R30-MON-2, R30-ACK-1, R30-EXP-4: subscribe, listen, acknowledge and unsubscribe over HTTP/1.1; a
/// connection whose answer has ended is asked again.
#[tokio::test]
async fn a_life_over_http1() {
    let (mut rig, mut line) = Http1Rig::new().await;
    rig.channel.say(&Say::Hello(None, Wish::default()), &rig.known);
    assert_eq!(rig.channel.next().await, Incoming::WithoutSet);
    let register = Say::Register {
        name: name(1),
        application_server: None,
    };
    rig.channel.say(&register, &rig.known);
    let got = rig.gets(&mut line).await;
    assert_eq!((got.method.as_str(), got.path.as_str()), ("POST", "/subscribe"));
    assert!(got.body.is_empty());
    let refusal = "HTTP/1.1 403 No\r\nContent-Length: 23\r\n\r\n{\"detail\":\"Not to you\"}";
    line.writes(refusal).await;
    let Incoming::SubscriptionNotMade(_, _, why) = rig.channel.next().await else {
        panic!("a refusal is expected")
    };
    assert!(why.to_string().contains("Not to you"), "{why}");

    rig.channel.say(&register, &rig.known);
    rig.gets(&mut line).await;
    let origin = rig.origin.clone();
    let fields = format!(
        "Location: /subscription/1\r\nLink: <{origin}/push/1>; rel=\"urn:ietf:params:push\"\r\n\
         Link: <{origin}/subscriptions/a>; rel=\"urn:ietf:params:push:set\"\r\n"
    );
    line.answers(201, &fields).await;
    assert!(matches!(rig.channel.next().await, Incoming::SubscriptionMade(..)));
    let got = rig.gets(&mut line).await;
    assert_eq!(got.fields["accept"], "text/event-stream");
    line.begins_events().await;
    assert_eq!(rig.channel.next().await, Incoming::WithoutPush);
    let event = message_event(&origin, "/message/1", 1, b"body");
    let (one, other) = event.split_at(30);
    line.chunk(one).await;
    assert_eq!(rig.channel.next().await, Incoming::SignOfLife);
    line.chunk(other).await;
    let Incoming::Pushed(pushed) = rig.next_but_life().await else {
        panic!("a message is expected")
    };
    assert_eq!(
        (&*pushed.path, &pushed.content.unwrap().body[..]),
        ("/message/1", &b"body"[..])
    );

    rig.acknowledge("/message/1");
    let mut second = rig.line().await;
    let got = rig.gets(&mut second).await;
    assert_eq!((got.method.as_str(), got.path.as_str()), ("DELETE", "/message/1"));
    second.answers(204, "").await;
    assert_eq!(rig.channel.next().await, Incoming::SignOfLife);
    assert!(rig.channel.acknowledgements.is_empty());

    rig.known.apply(&Change::Asked {
        name: name(1),
        application_server: None,
    });
    let resource = SubscriptionResource::parse(&format!("{origin}/subscription/1"));
    rig.known.apply(&Change::ResourceGiven {
        name: name(1),
        resource: resource.unwrap(),
    });
    rig.channel.say(&Say::Unregister(name(1)), &rig.known);
    let got = rig.gets(&mut second).await;
    assert_eq!(
        (got.method.as_str(), got.path.as_str()),
        ("DELETE", "/subscription/1")
    );
    second.answers(204, "").await;
    assert_eq!(
        rig.channel.next().await,
        Incoming::Unregistered(name(1), Unregistered::Done, None)
    );

    rig.acknowledge("/message/2");
    let leaving = tokio::spawn(rig.channel.close(Farewell::Leaving));
    let got = second.gets().await;
    assert_eq!(got.path, "/message/2");
    second.answers(204, "").await;
    leaving.await.unwrap();
    assert_eq!(line.0.read(&mut [0]).await.unwrap_or(0), 0, "it has left");
}

/// R30-ACK-5: a connection that the server closed while it was idle, or when it was asked again, costs no acknowledgement.
#[tokio::test]
async fn an_idle_connection_that_is_closed() {
    let (mut rig, _events) = Http1Rig::monitoring().await;
    for _ in 0..2 {
        rig.acknowledge("/message/1");
        let mut line = rig.line().await;
        rig.gets(&mut line).await;
        line.answers(204, "").await;
        assert_eq!(rig.channel.next().await, Incoming::SignOfLife);
        drop(line);
    }
    rig.acknowledge("/message/2");
    let mut line = rig.line().await;
    rig.gets(&mut line).await;
    line.answers(204, "").await;
    assert_eq!(rig.channel.next().await, Incoming::SignOfLife);
    rig.acknowledge("/message/3");
    // Asked again, and closed without an answer.
    rig.gets(&mut line).await;
    drop(line);
    let mut line = rig.line().await;
    assert_eq!(rig.gets(&mut line).await.path, "/message/3");
}

/// R30-LB-4: only so many connections are used for acknowledgements.
#[tokio::test]
async fn a_few_connections() {
    let (mut rig, _events) = Http1Rig::monitoring().await;
    for number in 0..2 * HTTP1_ACKNOWLEDGEMENTS {
        rig.acknowledge(&format!("/message/{number}"));
    }
    let mut lines = Vec::new();
    for _ in 0..HTTP1_ACKNOWLEDGEMENTS {
        let mut line = rig.line().await;
        rig.gets(&mut line).await;
        lines.push(line);
    }
    lines[0].answers(204, "").await;
    assert_eq!(rig.channel.next().await, Incoming::SignOfLife);
    assert!(rig.gets(&mut lines[0]).await.path.starts_with("/message/"));
}

/// PR-36, WS-PNG-1: there is no ping, so another request asks whether the service is there, on another connection; a stream
/// that breaks ends the channel.
#[tokio::test]
async fn a_ping_is_a_request() {
    let (mut rig, mut events) = Http1Rig::monitoring().await;
    rig.channel.ping();
    let mut line = rig.line().await;
    let got = rig.gets(&mut line).await;
    assert_eq!(got.path, "/subscriptions/a");
    line.begins_events().await;
    assert_eq!(rig.channel.next().await, Incoming::SignOfLife);
    events
        .chunk("event: end\ndata: {\"status\":200,\"detail\":\"\"}\n\n")
        .await;
    line.chunk(&message_event(&rig.origin, "/message/1", 1, b""))
        .await;
    assert!(matches!(rig.next_but_life().await, Incoming::Pushed(_)));
    drop(line);
    assert_eq!(rig.next_but_life().await, Incoming::Ended(ChannelEnd::Lost));
}

/// R30-MON-13, R30-MON-17: a set that is gone, and one of which nothing waits, are told by the first answer.
#[tokio::test]
async fn the_first_answer_says_it_all() {
    for (extent, status) in [(Extent::Lasting, 404), (Extent::Waiting, 204)] {
        let (mut rig, mut line) = Http1Rig::new().await;
        let (set, wish) = (
            rig.set(),
            Wish {
                extent,
                ..Wish::default()
            },
        );
        rig.channel.say(&Say::Hello(Some(set.clone()), wish), &rig.known);
        rig.gets(&mut line).await;
        line.answers(status, "").await;
        if status == 404 {
            assert_eq!(rig.channel.next().await, Incoming::Forgotten);
        } else {
            assert_eq!(rig.channel.next().await, Incoming::Monitoring(set));
            assert_eq!(rig.channel.next().await, Incoming::CaughtUp(true));
        }
    }
}

/// R30-ACK-1: an acknowledgement is sent at once, whatever else happens or doesn't.
#[tokio::test]
async fn nothing_has_to_happen_for_an_acknowledgement() {
    let (mut rig, _events) = Http1Rig::monitoring().await;
    rig.acknowledge("/message/1");
    let Http1Rig {
        mut channel,
        listener,
        ..
    } = rig;
    let holding = tokio::spawn(async move { channel.next().await });
    let mut line = Line(listener.accept().await.unwrap().0);
    assert_eq!(line.gets().await.path, "/message/1");
    line.answers(204, "").await;
    assert_eq!(holding.await.unwrap(), Incoming::SignOfLife);
}
