//! An application server of the test: sends over one connection to each node, and opens the next when it breaks.
//!
//! It keeps the books honest: a request that has begun is in them before its first byte leaves, and an answer is
//! entered before the next request begins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::books::{MessageKey, NodeNumber, Outcome, Stage};
use super::{Phase, SENDERS, World};
use crate::application_server::{Http, Push, Unanswered};
use crate::chance::Chance;
use crate::door::Door;
use crate::within;

/// Topics in use per subscription: few, so that messages are replaced.
const TOPICS: usize = 3;
/// Subscriptions that have ended are tried less often, by so much.
const ENDED_ONCE_IN: usize = 20;
/// Sends to every sixteenth subscription while the storm lasts, each message at a node chosen by chance.
pub(super) async fn send(world: Arc<World>, number: usize, mut chance: Chance) {
    let mut connections: BTreeMap<NodeNumber, Http> = BTreeMap::new();
    while *world.phase.borrow() == Phase::Storm {
        let mine: Vec<usize> = (number..world.books().subscriptions()).step_by(SENDERS).collect();
        let subscription = mine[chance.below(mine.len())];
        let stage = world.books().stage(subscription);
        if stage != Stage::Active && !chance.one_in(ENDED_ONCE_IN) {
            tokio::task::yield_now().await;
            continue;
        }
        let Some((node, door)) = world.doors.any_but(None, &mut chance).await else {
            return;
        };
        let mut http = match connections.remove(&node) {
            Some(http) => http,
            None => match connect(&door, number).await {
                Ok(http) => http,
                Err(_) => {
                    tokio::task::yield_now().await;
                    continue;
                }
            },
        };
        let topic = chance.one_in(10).then(|| chance.below(TOPICS));
        if push(&world, &mut http, subscription, topic).await.is_ok() {
            connections.insert(node, http);
            tokio::time::sleep(chance.between((Duration::ZERO, world.pause))).await;
        }
    }
}

/// Sends one last message to every subscription that is there, each of which must be accepted.
pub(super) async fn closing_words(world: &World) {
    let door = world.doors.of(0).await.expect("the service is up");
    let mut http = connect(&door, 0).await.expect("the service takes connections");
    let active = world.books().active();
    for subscription in active {
        let accepted = push(world, &mut http, subscription, None).await;
        accepted.expect("the last messages are answered");
    }
}

/// Every fourth sender speaks HTTP/2.
async fn connect(door: &Door, number: usize) -> Result<Http, Unanswered> {
    match number % 4 {
        3 => Http::connect_http2(door).await,
        _ => Http::connect(door).await,
    }
}

async fn push(
    world: &World,
    http: &mut Http,
    subscription: usize,
    topic: Option<usize>,
) -> Result<(), Unanswered> {
    let stage = world.books().stage(subscription);
    let (key, push_resource, text) = world.books().begin(subscription, topic);
    let mut message = Push::new(&push_resource, &text).ttl(86_400);
    if let Some(topic) = topic {
        message = message.header("topic", &format!("topic-{topic}"));
    }
    let status = within("a push is answered or fails", http.try_push(&message))
        .await?
        .status;
    enter(world, key, stage, status);
    Ok(())
}

fn enter(world: &World, key: MessageKey, stage_before: Stage, status: StatusCode) {
    let mut books = world.books();
    let outcome = match status {
        StatusCode::CREATED if matches!(stage_before, Stage::Ended(_)) => {
            books.breach(format!(
                "message {key:?} was accepted after its subscription had ended"
            ));
            Outcome::Unknown
        }
        StatusCode::CREATED => Outcome::Accepted,
        StatusCode::GONE if books.stage(key.0) != Stage::Active => Outcome::Refused,
        StatusCode::TOO_MANY_REQUESTS => Outcome::Refused,
        _ if status.is_server_error() => Outcome::Unknown,
        _ => {
            books.breach(format!(
                "message {key:?} to a subscription that is there was answered {status}"
            ));
            Outcome::Refused
        }
    };
    books.answered(key, outcome);
}
