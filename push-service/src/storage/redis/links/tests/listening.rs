//! Wake-ups of one server: heard, lost, and looked after.

use std::sync::Mutex;

use push_tests::redis::Gate;
use push_tests::redis::gate::{Way, Which};
use tokio::sync::mpsc;

use super::*;

/// What was heard, in order.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    Message(Bucket, Vec<u8>),
    Gap(Vec<Bucket>),
}

pub(super) struct Listening {
    pub(super) heard: Mutex<mpsc::UnboundedReceiver<Heard>>,
    _task: tokio::task::JoinHandle<()>,
}

struct Teller(mpsc::UnboundedSender<Heard>);

impl ChannelHandler for Teller {
    fn message(&self, bucket: Bucket, payload: &[u8]) {
        let _ = self.0.send(Heard::Message(bucket, payload.to_vec()));
    }

    fn gap(&self, buckets: &[Bucket]) {
        let _ = self.0.send(Heard::Gap(buckets.to_vec()));
    }
}

pub(super) fn channel(bucket: Bucket) -> Vec<u8> {
    [b"wake:{", bucket.tag().as_slice(), b"}:9"].concat()
}

impl Listening {
    pub(super) fn start(primaries: &Arc<Primaries>) -> Self {
        let (tell, heard) = mpsc::unbounded_channel();
        let primaries = Arc::clone(primaries);
        let task = tokio::spawn(async move { primaries.listen(channel, Arc::new(Teller(tell))).await });
        Self {
            heard: Mutex::new(heard),
            _task: task,
        }
    }

    /// Waits until each of these buckets was reported as a gap.
    pub(super) async fn gap(&mut self, what: &str, mut missing: Vec<Bucket>) {
        within(what, async {
            while !missing.is_empty() {
                if let Some(Heard::Gap(buckets)) = self.next().await {
                    missing.retain(|bucket| !buckets.contains(bucket));
                }
            }
        })
        .await;
    }

    /// Waits for a message, and passes over gaps.
    pub(super) async fn message(&mut self, what: &str) -> (Bucket, Vec<u8>) {
        within(what, async {
            loop {
                match self.next().await {
                    Some(Heard::Message(bucket, payload)) => return (bucket, payload),
                    Some(Heard::Gap(_)) => {}
                    None => panic!("no listener"),
                }
            }
        })
        .await
    }

    async fn next(&mut self) -> Option<Heard> {
        self.heard.get_mut().unwrap().recv().await
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self._task.abort();
    }
}

/// PR-13: every bucket is subscribed to, reported once it is, and its messages come with its name.
#[tokio::test]
async fn every_bucket_is_heard() {
    let server = Server::start(Configuration::new()).await;
    let primaries = Arc::new(connect(&server.url()).await);
    assert!(!primaries.subscribed());
    let mut listening = Listening::start(&primaries);
    listening
        .gap("all buckets are subscribed to", Bucket::all().collect())
        .await;
    assert!(primaries.subscribed());
    for bucket in Bucket::all() {
        let publish = [b"SPUBLISH".as_slice(), &channel(bucket), b"\x00\r\nbinary"];
        assert_eq!(server.command(&publish).await.integer(), 1);
        assert_eq!(
            listening.message("a message").await,
            (bucket, b"\x00\r\nbinary".to_vec())
        );
    }
}

/// PR-14: a connection that the server closes is replaced, and then every bucket is reported.
#[tokio::test]
async fn a_killed_connection_is_a_gap() {
    let server = Server::start(Configuration::new()).await;
    let primaries = Arc::new(connect(&server.url()).await);
    let mut listening = Listening::start(&primaries);
    listening
        .gap("all buckets are subscribed to", Bucket::all().collect())
        .await;
    let killed = server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    assert_eq!(killed.integer(), 1);
    listening
        .gap("all buckets are subscribed to again", Bucket::all().collect())
        .await;
    assert!(primaries.subscribed());
    let publish = [b"SPUBLISH".as_slice(), &channel(Bucket::new(5)), b"x"];
    assert_eq!(server.command(&publish).await.integer(), 1);
    assert_eq!(listening.message("a message").await.0, Bucket::new(5));
}

/// PR-14: a connection on which nothing comes any more is found by its ping, and replaced.
#[tokio::test]
async fn a_silent_connection_is_a_gap() {
    let server = Server::start(Configuration::new()).await;
    let mut gate = Gate::before(server.address()).await;
    let primaries = Arc::new(connect(&format!("redis://{}", gate.address())).await);
    let mut listening = Listening::start(&primaries);
    listening
        .gap("all buckets are subscribed to", Bucket::all().collect())
        .await;
    gate.stall(Which::Said("SSUBSCRIBE"), Way::ToClient);
    within("the silence is noticed", async {
        while primaries.subscribed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.resume().await;
    listening
        .gap("all buckets are subscribed to again", Bucket::all().collect())
        .await;
    assert!(primaries.subscribed());
}

/// PR-14: a connection that stops listening does not count as one that hears, and may listen again.
#[tokio::test]
async fn listening_can_be_ended_and_begun_again() {
    let server = Server::start(Configuration::new()).await;
    let primaries = Arc::new(connect(&server.url()).await);
    for _ in 0..2 {
        let mut listening = Listening::start(&primaries);
        listening
            .gap("all buckets are subscribed to", Bucket::all().collect())
            .await;
        drop(listening);
        within("the listener is gone", async {
            while primaries.subscribed() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}
