//! A network that fails: a gate in front of one address that passes bytes, stalls or is cut.
//!
//! It knows nothing of what is spoken, but for words that it was told to listen for: a connection whose client has said
//! one of them can be stalled alone. Over TLS it hears nothing.
//!
//! **Invariant:** a stalled connection loses nothing; what stood still goes on, in order, when the gate passes again.
//! Nothing is read ahead but one chunk, so a peer that goes on writing feels the kernel's buffers fill.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::within;

/// The words that a gate listens for unless it is told others: whoever says one listens to announcements. Both are part
/// of other commands' names, so a pattern's subscriber is one as well.
pub const SUBSCRIBERS: [&str; 2] = ["SUBSCRIBE", "SSUBSCRIBE"];

/// What is read at once. Chosen: a page or two of messages.
const CHUNK_BYTES: usize = 16 * 1024;

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

/// Carries one connection until both sides have ended, or one has failed, or nobody is behind the gate.
async fn carry(client: TcpStream, passage: &Passage) -> io::Result<()> {
    let server = TcpStream::connect(passage.target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let said = watch::Sender::new(Vec::new());
    let lane = |way| Lane {
        passage,
        way,
        orders: passage.order.subscribe(),
        said: said.subscribe(),
    };
    tokio::try_join!(
        lane(Way::ToServer).run(from_client, to_server, Ear::new(&passage.words, &said)),
        lane(Way::ToClient).run(from_server, to_client, Ear::deaf(&said)),
    )?;
    Ok(())
}

/// One way of one connection.
struct Lane<'a> {
    passage: &'a Passage,
    way: Way,
    orders: watch::Receiver<Order>,
    said: watch::Receiver<Vec<&'static str>>,
}

impl Lane<'_> {
    async fn run(
        mut self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        mut ear: Ear<'_>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let length = from.read(&mut buffer).await?;
            let mut chunk = &buffer[..length];
            for word in ear.hear(chunk) {
                let counts = &self.passage.counts;
                counts.send_modify(|counts| *counts.said.entry(word).or_default() += 1);
            }
            self.wait_until_stalled_is(false).await;
            if chunk.is_empty() {
                return to.shutdown().await;
            }
            while !chunk.is_empty() {
                self.wait_until_stalled_is(false).await;
                tokio::select! {
                    biased;
                    () = self.wait_until_stalled_is(true) => {}
                    written = to.write(chunk) => {
                        let written = written?;
                        chunk = &chunk[written..];
                        self.count(written);
                    }
                }
            }
        }
    }

    async fn wait_until_stalled_is(&mut self, stalled: bool) {
        while self.is_stalled() != stalled {
            // The other ends live as long as the connection.
            tokio::select! {
                _ = self.orders.changed() => {}
                _ = self.said.changed() => {}
            }
        }
    }

    fn is_stalled(&mut self) -> bool {
        let order = *self.orders.borrow_and_update();
        let said = self.said.borrow_and_update();
        match order {
            Order::Stall(which, way) => {
                let this_one = match which {
                    Which::All => true,
                    Which::Said(word) => said.contains(&word),
                };
                this_one && (way == Way::Both || way == self.way)
            }
            Order::Pass | Order::Cut => false,
        }
    }

    fn count(&self, written: usize) {
        self.passage.counts.send_modify(|counts| match self.way {
            Way::ToServer => counts.to_server_bytes += written as u64,
            Way::ToClient | Way::Both => counts.to_client_bytes += written as u64,
        });
    }
}

/// Listens for words in what a client says, each once.
struct Ear<'a> {
    words: Vec<&'static str>,
    said: &'a watch::Sender<Vec<&'static str>>,
    /// The end of what was heard: a word may come in two chunks.
    recent: Vec<u8>,
}

impl<'a> Ear<'a> {
    fn new(words: &[&'static str], said: &'a watch::Sender<Vec<&'static str>>) -> Self {
        Self {
            words: words.to_vec(),
            said,
            recent: Vec::new(),
        }
    }

    fn deaf(said: &'a watch::Sender<Vec<&'static str>>) -> Self {
        Self::new(&[], said)
    }

    /// The words that are said for the first time.
    fn hear(&mut self, chunk: &[u8]) -> Vec<&'static str> {
        let longest = self.words.iter().map(|word| word.len()).max().unwrap_or(0);
        if longest == 0 {
            return Vec::new();
        }
        self.recent.extend_from_slice(chunk);
        let (recent, words) = (&self.recent, &mut self.words);
        let is_said = |word: &&str| {
            let mut places = recent.windows(word.len());
            places.any(|place| place.eq_ignore_ascii_case(word.as_bytes()))
        };
        let (heard, unheard) = words.drain(..).partition(is_said);
        *words = unheard;
        let heard: Vec<&'static str> = heard;
        if !heard.is_empty() {
            self.said.send_modify(|said| said.extend(&heard));
        }
        self.recent
            .drain(..self.recent.len().saturating_sub(longest.saturating_sub(1)));
        heard
    }
}
