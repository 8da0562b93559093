//! What a URL of this service names, for an operator who has it from a log of a sender or of a user agent.

use super::routes::{self, Resource, Route};
use crate::broker::{Broker, Named};

/// What a resource URL, or its path alone, names. `None` if it was not made by this service: its origin does not count, because
/// tokens of other services do not open.
pub fn named(broker: &Broker, url: &str) -> Option<Named> {
    let path = match url.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => url,
    };
    let path = routes::unescaped(path.split(['?', '#']).next()?);
    let Route { resource, token } = routes::find(&path)?;
    match resource {
        Resource::Push(kind) => broker.named_push(kind, token),
        Resource::Message => broker.named_message(token),
        Resource::Subscription => broker.named_subscription(token),
        Resource::Set => broker.named_set(token),
        Resource::Receipts => broker.named_receipts(token),
        Resource::Subscribe => None,
    }
}
