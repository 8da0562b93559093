//! `subscribe`: one subscription, confirmed by the push service, printed for the application server.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use user_agent_client::state::StateError;
use user_agent_client::user_agent::SubscribeError;
use user_agent_client::{Event, Events, Options, State, Subscription, UserAgent};

use super::args::Subscribe;
use super::console::{print_json, say};
use super::control::{self, Command};
use super::exit::{Exit, Failure};
use super::news;
use super::settings;
use super::signals::Signals;

pub(super) async fn subscribe(arguments: Subscribe) -> Result<Exit, Failure> {
    let directory = settings::state_directory(arguments.state.state.clone())?;
    let trust = settings::trust(&arguments.trust)?;
    let mut signals = Signals::listen().map_err(|error| Failure::new(Exit::Failed, error))?;
    let mut state = match State::open(&directory) {
        Err(locked @ StateError::Locked { .. }) => {
            return beside_listen(&directory, &arguments, &mut signals)
                .await
                .unwrap_or_else(|| Err(locked.into()));
        }
        opened => opened?,
    };
    let server = settings::server(
        arguments.server.as_deref(),
        arguments.transport.asked(),
        &state,
        &directory,
    )?;
    let trust = settings::with_remembered_certificates(trust, &arguments.trust, &server, &mut state)?;
    let (agent, mut events) = UserAgent::start(server, trust, state, &Options::default())?;
    let asked = agent.subscribe(&arguments.name, arguments.application_server_key);
    let subscribed = tokio::select! {
        // The first error, because it says more than that the user agent has stopped.
        biased;
        failure = failure_within(&mut events, arguments.timeout) => Err(failure),
        subscribed = asked => subscribed.map_err(Failure::from),
        () = signals.next() => Err(Failure::new(Exit::Interrupted, "interrupted; the request is kept: `listen` or the next `subscribe` sends it again")),
    };
    let printed = match subscribed {
        Ok(subscription) => print(&agent, &subscription).await,
        Err(failure) => Err(failure),
    };
    leave(&agent, events, &mut signals).await;
    printed
}

/// Asks the running `listen` to subscribe; `None` if no `listen` has the directory.
async fn beside_listen(
    directory: &Path,
    arguments: &Subscribe,
    signals: &mut Signals,
) -> Option<Result<Exit, Failure>> {
    settings::warn_of_unused_flags(&arguments.trust);
    let command = Command::Subscribe(control::Subscribe {
        name: arguments.name.clone(),
        application_server_key: arguments.application_server_key.map(|key| key.to_string()),
        server: arguments.server.clone(),
        transport: arguments.transport.asked().map(|transport| transport.to_string()),
        timeout_seconds: arguments.timeout.as_secs(),
    });
    control::ask(directory, command, arguments.timeout, signals).await
}

/// Prints the subscription. If it was renewed, the renewal is confirmed by that.
async fn print(agent: &UserAgent, subscription: &Subscription) -> Result<Exit, Failure> {
    let json = subscription.to_json();
    let json = json.ok_or_else(|| Failure::from(SubscribeError::Stopped))?;
    print_json(&json)?;
    if subscription.replaced {
        agent.confirm_renewal(subscription).await;
    }
    Ok(Exit::Done)
}

/// Waits for the failure of a command that has this much time, and prints meanwhile why it takes long. Messages are not
/// taken: they come again.
pub(super) async fn failure_within(events: &mut Events, within: Duration) -> Failure {
    let until = Instant::now() + within;
    let mut last = None;
    loop {
        let event = tokio::select! {
            event = events.next_news() => event,
            () = sleep_until(until) => {
                let why = last.unwrap_or_else(|| "the push service did not answer".to_owned());
                let why = format!("{why}; stopped waiting after {} s. The request is kept: `listen` or the next \
                     `subscribe` sends it again", within.as_secs());
                return Failure::new(Exit::Unreachable, why);
            }
        };
        match event {
            Some(Event::Failed(error)) => return error.into(),
            Some(Event::Waiting { label, why, .. }) if !why.may_pass() => {
                let why = format!(
                    "{label}: {why}. The request is kept: `listen` or the next `subscribe` sends it again"
                );
                return Failure::new(Exit::Unreachable, why);
            }
            Some(event @ (Event::Disconnected { .. } | Event::Waiting { .. })) => {
                news::sentence(&event).iter().for_each(say);
                last = hindrance(&event).or(last);
            }
            // It is worth a line only after a hindrance.
            Some(Event::Connected) if last.is_none() => {}
            Some(event) => news::sentence(&event).iter().for_each(say),
            None => return SubscribeError::Stopped.into(),
        }
    }
}

/// Why the command takes long, without when it goes on.
fn hindrance(event: &Event) -> Option<String> {
    match event {
        Event::Disconnected { why, .. } => Some(why.trim_end_matches('.').to_owned()),
        Event::Waiting { label, why, .. } => Some(format!("{label}: {why}")),
        _ => None,
    }
}

/// Stops the user agent, which closes its channel. A signal ends the wait for that.
pub(super) async fn leave(agent: &UserAgent, events: Events, signals: &mut Signals) {
    drop(events);
    tokio::select! {
        () = agent.stop() => {}
        () = signals.next() => {}
    }
}
