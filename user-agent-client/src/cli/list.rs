//! `list`: what a state directory holds.

use serde::Serialize;
use user_agent_client::PushSubscription;
use user_agent_client::Subscription;
use user_agent_client::state;

use super::args::{Format, List};
use super::console::{print_json, print_line};
use super::exit::{Exit, Failure};
use super::settings;

/// A subscription as `--format json` prints it.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    state: &'static str,
    created: u64,
    application_server_key: Option<String>,
    subscription: Option<PushSubscription>,
}

pub(super) fn list(arguments: List) -> Result<Exit, Failure> {
    let directory = settings::state_directory(arguments.state.state)?;
    for subscription in state::read(&directory)?.subscriptions() {
        match arguments.format {
            Format::Text => print_line(format_args!(
                "{}\t{}",
                subscription.label,
                state_of(&subscription)
            ))?,
            Format::Json => print_json(&json(&subscription))?,
        }
    }
    Ok(Exit::Done)
}

fn json(subscription: &Subscription) -> String {
    let listed = Listed {
        name: &subscription.label,
        state: state_of(subscription),
        created: subscription.created,
        application_server_key: subscription.application_server.map(|key| key.to_string()),
        subscription: subscription.push_subscription(),
    };
    serde_json::to_string(&listed).expect("strings and numbers always serialize")
}

fn state_of(subscription: &Subscription) -> &'static str {
    match subscription {
        Subscription {
            push_resource: None, ..
        } => "waiting",
        Subscription { replaced: true, .. } => "renewed",
        _ => "ready",
    }
}
