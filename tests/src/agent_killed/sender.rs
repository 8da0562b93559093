//! An application server of the test: encrypts, sends over one connection, and opens the next when it breaks.
//!
//! It tells the checker the truth: a request that has begun is known to the checker before its first byte leaves, and an answer is
//! entered before the next request begins.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::Ledger;
use super::sent::RequestResult;
use super::world::World;
use crate::application_server::{Http, Push, Unanswered};
use crate::chance::Chance;
use crate::recipient::Recipient;
use crate::within;

/// Between two messages of one sender. Chosen, because all of them together then send more than the user agent prints: it is
/// rarely without work when it is killed.
const PAUSE: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(4));

/// Sends to one subscription while the storm lasts.
pub(super) async fn send<B: Ledger>(
    world: Arc<World<B>>,
    subscription: usize,
    recipient: Recipient,
    mut chance: Chance,
) {
    while world.goes_on().await {
        let Ok(mut http) = Http::connect(&world.connector().await).await else {
            tokio::task::yield_now().await;
            continue;
        };
        while world.goes_on().await {
            let filler = chance.below(world.most_filler());
            if push(&world, &mut http, subscription, &recipient, filler)
                .await
                .is_err()
            {
                break;
            }
            tokio::time::sleep(chance.between(PAUSE)).await;
        }
    }
}

/// Sends one last message, which must be accepted.
pub(super) async fn closing_word<B: Ledger>(world: &World<B>, subscription: usize, recipient: &Recipient) {
    let http = Http::connect(&world.connector().await).await;
    let mut http = http.expect("the service takes connections");
    let sent = push(world, &mut http, subscription, recipient, 0).await;
    sent.expect("the last messages are answered");
}

async fn push<B: Ledger>(
    world: &World<B>,
    http: &mut Http,
    subscription: usize,
    recipient: &Recipient,
    filler: usize,
) -> Result<(), Unanswered> {
    let (message, text) = world.checker().sent().begin(subscription, filler);
    let push = Push::new(&recipient.push_resource, "")
        .ttl(86_400)
        .body(recipient.encrypt(&text));
    let status = within("a push is answered or fails", http.try_push(&push))
        .await?
        .status;
    let result = match status {
        StatusCode::CREATED => RequestResult::Accepted,
        _ if status.is_server_error() => RequestResult::Unknown,
        _ => {
            world
                .checker()
                .breach(&format!("message {message} was answered {status}"));
            RequestResult::Unknown
        }
    };
    world.enter(|checker| checker.sent().answered(subscription, message, result));
    Ok(())
}
