//! A network that fails: a gate in front of one address that passes bytes, stalls or is cut.
//!
//! It knows nothing of what is spoken, but for words that it was told to listen for: a connection whose client has said
//! one of them can be stalled alone. Over TLS it hears nothing.
//!
//! **Invariant:** a stalled connection loses nothing; what stood still goes on, in order, when the gate passes again.
//! Nothing is read ahead but one chunk, so a peer that goes on writing feels the kernel's buffers fill.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::lane::carry;
use crate::within;

mod lane;

/// The words that a gate listens for unless it is told others: a client that sends one as a command listens to announcements. The
/// first is part of the second, of PSUBSCRIBE, and of what ends a subscription.
pub const SUBSCRIBERS: [&str; 2] = ["SUBSCRIBE", "SSUBSCRIBE"];

/// A gate in front of one address.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    passage: Arc<Passage>,
    doorman: Option<JoinHandle<()>>,
}

/// Which connections are stalled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// All, and those that come.
    All,
    /// Those whose clients have said this word since they were accepted, in whatever case, and those that will: the chunk
    /// with the word is held back then.
    Said(&'static str),
}

/// Which way nothing gets through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// What clients send.
    ToServer,
    /// What the server sends.
    ToClient,
    /// Neither.
    Both,
}

/// What has come through since the gate was opened.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Connections that were accepted.
    pub accepted: usize,
    /// Connections that are there.
    pub present: usize,
    /// Bytes that were handed to the server.
    pub to_server_bytes: u64,
    /// Bytes that were handed to clients.
    pub to_client_bytes: u64,
    /// For each word, the connections that have said it.
    pub said: BTreeMap<&'static str, usize>,
}

/// What the gate and its connections share.
#[derive(Debug)]
struct Passage {
    target: SocketAddr,
    words: Vec<&'static str>,
    order: watch::Sender<Order>,
    counts: watch::Sender<Counts>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Pass,
    Stall(Which, Way),
    Cut,
}

impl Gate {
    /// Opens a gate, on a free port of the target's own address, and listens for [`SUBSCRIBERS`].
    pub async fn before(target: SocketAddr) -> Self {
        Self::listening_for(&SUBSCRIBERS, target).await
    }

    /// Opens a gate that listens for these words.
    pub async fn listening_for(words: &[&'static str], target: SocketAddr) -> Self {
        let listener = TcpListener::bind((target.ip(), 0)).await.expect("a free port");
        let mut gate = Self {
            address: listener.local_addr().expect("it is bound"),
            passage: Arc::new(Passage {
                target,
                words: words.to_vec(),
                order: watch::Sender::new(Order::Pass),
                counts: watch::Sender::default(),
            }),
            doorman: None,
        };
        gate.let_in(listener);
        gate
    }

    /// Where clients connect instead of the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Keeps connections, and passes nothing this way on those. What stood still for another reason goes on.
    pub fn stall(&self, which: Which, way: Way) {
        if let Which::Said(word) = which {
            assert!(
                self.passage.words.contains(&word),
                "the gate does not listen for {word}"
            );
        }
        assert!(self.doorman.is_some(), "the gate is cut");
        self.passage.order.send_replace(Order::Stall(which, way));
    }

    /// Closes all connections and refuses new ones, until it shall [`resume`](Self::resume).
    pub async fn cut(&mut self) {
        self.passage.order.send_replace(Order::Cut);
        if let Some(doorman) = self.doorman.take() {
            within("the gate closes", doorman)
                .await
                .expect("the gate closes well");
        }
    }

    /// Passes everything: what was stalled goes on, and after a cut clients are let in again.
    pub async fn resume(&mut self) {
        self.passage.order.send_replace(Order::Pass);
        if self.doorman.is_none() {
            let listener = TcpListener::bind(self.address)
                .await
                .expect("the port is still free");
            self.let_in(listener);
        }
    }

    /// What has come through.
    pub fn counts(&self) -> Counts {
        self.passage.counts.borrow().clone()
    }

    /// Waits until what has come through is like this.
    ///
    /// # Panics
    ///
    /// When it isn't in time; `what` says what was waited for.
    pub async fn wait_for(&self, what: &str, like_this: impl FnMut(&Counts) -> bool) -> Counts {
        let mut counts = self.passage.counts.subscribe();
        let found = within(what, counts.wait_for(like_this)).await;
        found.expect("the gate holds the other end").clone()
    }

    fn let_in(&mut self, listener: TcpListener) {
        self.doorman = Some(tokio::spawn(let_in(listener, Arc::clone(&self.passage))));
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(doorman) = &self.doorman {
            doorman.abort();
        }
    }
}

/// Accepts until the gate is cut; connections end with it.
async fn let_in(listener: TcpListener, passage: Arc<Passage>) {
    let mut orders = passage.order.subscribe();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = orders.wait_for(|order| *order == Order::Cut) => break,
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                let present = Present::enter(&passage);
                connections.spawn(async move { carry(client, &present.0).await });
            },
            Some(_) = connections.join_next() => {}
        }
    }
    connections.shutdown().await;
}

/// A connection that is counted as long as it is there.
struct Present(Arc<Passage>);

impl Present {
    fn enter(passage: &Arc<Passage>) -> Self {
        passage.counts.send_modify(|counts| {
            counts.accepted += 1;
            counts.present += 1;
        });
        Self(Arc::clone(passage))
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.counts.send_modify(|counts| counts.present -= 1);
    }
}
