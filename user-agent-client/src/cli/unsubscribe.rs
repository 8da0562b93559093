//! `unsubscribe`: a subscription ends here at once, and at the push service as soon as it can be reached.

use user_agent_client::state::StateError;
use user_agent_client::{Options, State, UserAgent};

use super::args::Unsubscribe;
use super::control::{self, Command};
use super::exit::{Exit, Failure};
use super::settings;
use super::signals::Signals;
use super::subscribe::{failure_within, leave};

pub(super) async fn unsubscribe(arguments: Unsubscribe) -> Result<Exit, Failure> {
    let directory = settings::state_directory(arguments.state.state)?;
    let trust = settings::trust(&arguments.trust)?;
    // `State::open` would make the directory; a wrong name has to be reported instead.
    let is_there = user_agent_client::state::read(&directory)?
        .subscription(&arguments.name)
        .is_some();
    if !is_there {
        return Err(Failure::no_subscription(&arguments.name));
    }
    let mut signals = Signals::listen().map_err(|error| Failure::new(Exit::Failed, error))?;
    let mut state = match State::open(&directory) {
        Err(locked @ StateError::Locked { .. }) => {
            settings::warn_of_unused_flags(&arguments.trust);
            let command = Command::Unsubscribe(control::Unsubscribe {
                name: arguments.name,
                timeout_seconds: arguments.timeout.as_secs(),
            });
            let asked = control::ask(&directory, command, arguments.timeout, &mut signals).await;
            return asked.unwrap_or_else(|| Err(locked.into()));
        }
        opened => opened?,
    };
    let server = settings::server(None, None, &state, &directory)?;
    let trust = settings::with_remembered_certificates(trust, &arguments.trust, &server, &mut state)?;
    let (agent, mut events) = UserAgent::start(server, trust, state, &Options::default())?;
    let ended = async {
        agent.unsubscribe(&arguments.name).await?;
        agent.wait_until_unsubscribed().await;
        Ok(Exit::Done)
    };
    let ended = tokio::select! {
        // The first error, because it says more than that the user agent has stopped.
        biased;
        failure = failure_within(&mut events, arguments.timeout) => Err(failure),
        ended = ended => ended,
        () = signals.next() => Err(Failure::new(Exit::Interrupted, "interrupted; the next `listen` or `subscribe` tells the service")),
    };
    leave(&agent, events, &mut signals).await;
    ended
}
