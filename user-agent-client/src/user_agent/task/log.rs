//! What the log says about a session, beside the events that the application gets.
//!
//! At `info` what happens on the channel, at `debug` each message and request, at `trace` what is kept and the pings. It never
//! holds URLs, identities or ids, which are capabilities, and no contents.

use std::sync::Arc;

use push_protocol::SubscriptionName;
use push_protocol::session::user_agent::{Action, Change, Event, Outcome, Say};

/// Enters what is about to be done. `label` names subscriptions as their owner does.
pub(super) fn action(action: &Action, label: impl Fn(SubscriptionName) -> Arc<str>) {
    match action {
        Action::Connect => tracing::info!("connecting"),
        Action::Disconnect(farewell) => tracing::info!(?farewell, "closing the channel"),
        Action::Tell(Event::Connected) => tracing::info!("connected"),
        Action::Tell(Event::Disconnected { why, again_in }) => {
            tracing::info!(?why, ?again_in, "disconnected");
        }
        Action::Tell(Event::Empty) => tracing::info!("no more messages wait at the service"),
        Action::Say(say) => said(say, label),
        Action::HandOver { message, attempt } => {
            tracing::debug!(
                subscription = message.name().map(label).as_deref(),
                attempt,
                "a message arrived"
            );
        }
        Action::Save(change) => tracing::trace!(change = kind(change), "kept"),
        Action::TakeBack(_) => tracing::debug!("a message is taken back from the application and waits"),
        Action::Ping => tracing::trace!("ping"),
        // Applications hear of it, and say it if they like.
        Action::Tell(_) => {}
    }
}

/// Enters what the application made of a message.
pub(super) fn judged(outcome: Outcome) {
    tracing::debug!(?outcome, "the application has handled a message");
}

fn said(say: &Say, label: impl Fn(SubscriptionName) -> Arc<str>) {
    match say {
        Say::Hello(identity, wish) => {
            let known = identity.is_some();
            tracing::debug!(known, lowest = wish.lowest.as_str(), extent = ?wish.extent, "sending hello");
        }
        Say::Bring(wish) => {
            tracing::debug!(lowest = wish.lowest.as_str(), extent = ?wish.extent, "requesting messages");
        }
        Say::Register { name, .. } => {
            tracing::debug!(subscription = &*label(*name), "requesting a subscription");
        }
        Say::Unregister(name) => tracing::debug!(subscription = &*label(*name), "ending a subscription"),
        Say::Acknowledge { message, disposition } => {
            tracing::debug!(
                subscription = message.name().map(label).as_deref(),
                ?disposition,
                "acknowledging"
            );
        }
    }
}

fn kind(change: &Change) -> &'static str {
    match change {
        Change::Identified(_) => "who we are to the service",
        Change::Forgotten => "that the service has forgotten us",
        Change::Asked { .. } => "a wish for a subscription",
        Change::ResourceGiven { .. } => "where a subscription is ended",
        Change::Confirmed { .. } => "a subscription",
        Change::RenewalConfirmed(_) => "that a new push resource is known",
        Change::Ending(_) => "the wish to end a subscription",
        Change::Ended(_) => "the end of a subscription",
        Change::Begun(_) => "that the application begins with a message",
        Change::Released(_) => "that the application has a message no more",
        Change::Attempt { .. } => "attempts at a message",
        Change::Recognised { .. } => "what an earlier version knew of a message",
        Change::Done(_) => "that a message is done",
    }
}
