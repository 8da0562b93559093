//! Those who do nothing but wrong: one connection after the other, each of them flooded until the service ends it.

use std::io;

use push_tests::connector::Connector;
use push_tests::raw_http2::{FrameReader, INITIAL_WINDOW_SIZE, connect, flag, frame, kind, request, setting};
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;

/// A way to flood.
#[derive(Clone, Copy)]
pub(crate) struct Flood {
    /// What it is called.
    pub(crate) name: &'static str,
    settings: fn() -> Vec<u8>,
    /// What is sent next, by its number; nothing: the connection is held.
    portion: fn(&Aim, u32) -> Vec<u8>,
    hears: Hears,
}

/// What a flood does with what it is sent.
#[derive(Clone, Copy)]
enum Hears {
    /// Throws it away.
    All,
    /// Takes no byte of it.
    Nothing,
    /// Resets every promised stream, and monitors again when some have been.
    Refusing,
}

/// What floods know of the service: a subscription of theirs, with messages that wait.
#[derive(Clone)]
pub(crate) struct Aim {
    /// Where the service listens.
    pub(crate) connector: Connector,
    /// The path of its push resource.
    pub(crate) push: String,
    /// The path of its set.
    pub(crate) set: String,
}

/// All of them.
pub(crate) const FLOODS: &[Flood] = &[
    Flood {
        name: "pings",
        settings: Vec::new,
        portion: |_, _| frame(kind::PING, 0, 0, &[0; 8]).repeat(500),
        hears: Hears::All,
    },
    Flood {
        name: "settings",
        settings: Vec::new,
        portion: |_, n| frame(kind::SETTINGS, 0, 0, &setting(INITIAL_WINDOW_SIZE, n)).repeat(500),
        hears: Hears::All,
    },
    Flood {
        name: "priorities and windows of one byte",
        settings: Vec::new,
        portion: |_, _| {
            let priority = frame(kind::PRIORITY, 0, 3, &[0, 0, 0, 0, 16]);
            let window = frame(kind::WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes());
            [priority, window].concat().repeat(250)
        },
        hears: Hears::All,
    },
    Flood {
        name: "pings, and nothing read",
        settings: Vec::new,
        portion: |_, _| frame(kind::PING, 0, 0, &[0; 8]).repeat(500),
        hears: Hears::Nothing,
    },
    Flood {
        name: "rapid resets",
        settings: Vec::new,
        portion: |aim, n| {
            streams(n, 30, |stream| {
                let get = request("GET", &aim.push, &[]);
                let reset = frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes());
                [whole(stream, &get), reset].concat()
            })
        },
        hears: Hears::All,
    },
    Flood {
        name: "provoked resets",
        settings: Vec::new,
        portion: |aim, n| {
            streams(n, 30, |stream| {
                let window = frame(kind::WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
                [post(aim, stream), window].concat()
            })
        },
        hears: Hears::All,
    },
    Flood {
        name: "endless field blocks",
        settings: Vec::new,
        portion: |aim, n| match n {
            0 => frame(kind::HEADERS, 0, 1, &request("GET", &aim.push, &[])),
            _ => frame(kind::CONTINUATION, 0, 1, &[]).repeat(500),
        },
        hears: Hears::All,
    },
    Flood {
        name: "empty bodies in pieces",
        settings: Vec::new,
        portion: |aim, n| match n {
            0 => post(aim, 1),
            _ => frame(kind::DATA, 0, 1, &[]).repeat(500),
        },
        hears: Hears::All,
    },
    Flood {
        name: "long lists of fields",
        settings: Vec::new,
        portion: |aim, n| {
            let fields = [("a", ""); 450];
            let get = request("GET", &aim.push, &fields);
            streams(n, 30, |stream| whole(stream, &get))
        },
        hears: Hears::All,
    },
    Flood {
        name: "requests that never end",
        settings: Vec::new,
        portion: |aim, n| {
            let field = "v".repeat(15_000);
            let block = request("POST", &aim.push, &[("ttl", "60"), ("v", &field)]);
            match n {
                0 => streams(0, 256, |stream| {
                    frame(kind::HEADERS, flag::END_HEADERS, stream, &block)
                }),
                _ => Vec::new(),
            }
        },
        hears: Hears::All,
    },
    // Before those that attach so often that the service makes them wait.
    Flood {
        name: "readers of events that stall",
        settings: no_window,
        portion: |aim, n| {
            let get = request("GET", &aim.set, &[("accept", "text/event-stream")]);
            monitors(n, 4, &get)
        },
        hears: Hears::All,
    },
    Flood {
        name: "readers of pushes that stall",
        settings: no_window,
        portion: |aim, n| monitors(n, 4, &request("GET", &aim.set, &[])),
        hears: Hears::All,
    },
    Flood {
        name: "256 monitors that open no window",
        settings: no_window,
        portion: |aim, n| monitors(n, 256, &request("GET", &aim.set, &[])),
        hears: Hears::All,
    },
    Flood {
        name: "promises refused",
        settings: Vec::new,
        portion: |aim, n| match n {
            0 => whole(1, &request("GET", &aim.set, &[])),
            _ => Vec::new(),
        },
        hears: Hears::Refusing,
    },
];

fn no_window() -> Vec<u8> {
    setting(INITIAL_WINDOW_SIZE, 0)
}

/// So many monitoring requests, and then nothing.
fn monitors(n: u32, count: u32, get: &[u8]) -> Vec<u8> {
    match n {
        0 => streams(0, count, |stream| whole(stream, get)),
        _ => Vec::new(),
    }
}

/// Something for each of the next `count` streams of a client.
fn streams(n: u32, count: u32, each: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for nth in n * count..(n + 1) * count {
        bytes.extend_from_slice(&each(2 * nth + 1));
    }
    bytes
}

/// A request without a body.
fn whole(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_STREAM | flag::END_HEADERS, stream, block)
}

/// A push whose body is still to come.
fn post(aim: &Aim, stream: u32) -> Vec<u8> {
    let block = request(
        "POST",
        &aim.push,
        &[("ttl", "60"), ("content-encoding", "aes128gcm")],
    );
    frame(kind::HEADERS, flag::END_HEADERS, stream, &block)
}

impl Flood {
    /// Floods one connection until the service ends it.
    pub(crate) async fn one_connection(&self, aim: &Aim) -> io::Result<()> {
        let (ear, mut mouth) = connect(aim.connector.address, &(self.settings)()).await?;
        let mut n = 0;
        loop {
            let portion = (self.portion)(aim, n);
            n += 1;
            if portion.is_empty() {
                break;
            }
            if matches!(self.hears, Hears::Nothing) {
                mouth.write_all(&portion).await?;
            } else if n == 1 {
                mouth.write_all(&portion).await?;
                let rest = (self.portion)(aim, n);
                if rest.is_empty() {
                    break;
                }
                return self.both_ways(aim, ear, mouth, n).await;
            }
        }
        self.hear(aim, ear, mouth).await;
        Ok(())
    }

    /// Speaks and hears at the same time, so that neither waits for the other.
    async fn both_ways(
        &self,
        aim: &Aim,
        mut ear: FrameReader,
        mut mouth: OwnedWriteHalf,
        mut n: u32,
    ) -> io::Result<()> {
        let speaking = async {
            loop {
                mouth.write_all(&(self.portion)(aim, n)).await?;
                n += 1;
            }
        };
        tokio::select! {
            said = speaking => said,
            () = async { while ear.hear().await.is_some() {} } => Ok(()),
        }
    }

    async fn hear(&self, aim: &Aim, mut ear: FrameReader, mut mouth: OwnedWriteHalf) {
        let mut refused = 0;
        while let Some(heard) = ear.hear().await {
            if !matches!(self.hears, Hears::Refusing) || heard.kind != kind::PUSH_PROMISE {
                continue;
            }
            let promised = heard.payload[..4].try_into().map(u32::from_be_bytes);
            let mut answer = frame(
                kind::RST_STREAM,
                0,
                promised.expect("a stream"),
                &7_u32.to_be_bytes(),
            );
            refused += 1;
            if refused % 8 == 0 {
                answer.extend(whole(2 * (refused / 8) + 1, &request("GET", &aim.set, &[])));
            }
            if mouth.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}
