//! A whole user agent against a service in the same process.

mod http2;
mod messages;
mod pauses;
mod service;
mod subscriptions;
mod troubles;
mod writing;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use service::{IDENTITY, Peer, Said, Service, endpoint, hello};

use super::*;
use crate::state::State;

/// How long a test waits for what takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(15);

async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, event).await;
    outcome.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Impatient, so that no test waits.
fn options() -> Options {
    let mut limits = defaults::limits();
    limits.backoff_base = Duration::from_millis(1);
    limits.backoff_least = Duration::from_millis(1);
    limits.retry_base = Duration::from_millis(1);
    limits.ask_again_after = Duration::from_millis(1);
    limits.forgotten_apart = Duration::from_millis(1);
    let limits = Arc::new(limits);
    Options {
        limits,
        ..Options::default()
    }
}

fn start(service: &Service, state: State) -> (UserAgent, Events) {
    UserAgent::start(service.url(), Trust::system(), state, &options()).unwrap()
}

/// A user agent with one subscription, `news`, on an open channel.
async fn subscribed(service: &Service, state: State) -> (UserAgent, Events, Peer, Subscription) {
    let (agent, events) = start(service, state);
    let (subscription, peer) = within("a subscription", async {
        let subscribing = agent.subscribe("news", None);
        let confirming = async {
            let (mut peer, _) = service.welcome(IDENTITY).await;
            peer.confirms(1).await;
            peer
        };
        tokio::join!(subscribing, confirming)
    })
    .await;
    (agent, events, peer, subscription.unwrap())
}

/// The next message, whatever else happens before.
async fn message(events: &mut Events) -> Message {
    let next = async {
        loop {
            match events.next().await {
                Some(Event::Message(message)) => return message,
                Some(_) => {}
                None => panic!("the user agent has stopped"),
            }
        }
    };
    within("a message", next).await
}

async fn renewed(events: &mut Events) -> Subscription {
    let next = async {
        loop {
            match events.next().await {
                Some(Event::Renewed(subscription)) => return subscription,
                Some(_) => {}
                None => panic!("the user agent has stopped"),
            }
        }
    };
    within("a renewed subscription", next).await
}

fn ack(version: &str, code: u64) -> Said {
    Said::Ack(version.into(), code)
}

async fn expect(peer: &mut Peer, said: Said) {
    assert_eq!(within("something is said", peer.hears()).await, said);
}
