//! `listen`: each message is handled, and acknowledged when that is done.
//!
//! ```text
//! Events ──► message ──► Handler: command, desktop, line ──► acknowledge
//!   │                                    └──► fail: it comes again
//!   └──────► news ──► standard error
//! ```
//!
//! **Invariant:** a message is acknowledged only after all handlers are done with it, and is taken only when work on it can
//! begin: until then it stays with the push service, and survives a crash.

mod commands;
mod delivery;
mod exec;
mod handler;
mod lines;
#[cfg(feature = "notify")]
mod notify;
mod remaining;
mod renewals;
mod sentences;
pub(super) mod supervisor;
mod work;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};
use user_agent_client::network::NetworkChanges;
use user_agent_client::user_agent::Limits;
use user_agent_client::{Event, Events, Options, State, UserAgent, defaults};

use super::args::Listen;
use super::console::say;
use super::control::Control;
use super::exit::{Exit, Failure};
use super::news;
use super::settings;
use super::signals::Signals;
use commands::Commands;
use exec::Exec;
use handler::Handler;
use remaining::Remaining;
use renewals::Renewals;
use sentences::{SentenceKind, Sentences};
use supervisor::Supervisor;
use work::{Worked, handle, pass_on};

pub(super) async fn listen(arguments: Listen) -> Result<Exit, Failure> {
    let directory = settings::state_directory(arguments.state.state.clone())?;
    let trust = settings::trust(&arguments.trust)?;
    let mut signals = Signals::listen().map_err(|error| Failure::new(Exit::Failed, error))?;
    let mut state = open(&directory)?;
    let server = settings::server(
        arguments.server.as_deref(),
        arguments.transport.asked(),
        &state,
        &directory,
    )?;
    let trust = settings::with_remembered_certificates(trust, &arguments.trust, &server, &mut state)?;
    let supervisor = Arc::new(Supervisor::new(directory.join(HANDLERS_LOCK)));
    let commands = commands(&arguments, &state, &supervisor)?;
    if commands.are_any() || arguments.on_renew.is_some() {
        // Commands of an earlier `listen` end first: its messages come again.
        begin(&supervisor, &directory, &mut signals).await?;
    }
    say(format_args!("listening to {server}"));
    let (agent, events) = UserAgent::start(server.clone(), trust, state, &options(&arguments))?;
    let listener = Listener {
        control: Control::open(&directory, &agent, &server),
        agent,
        handler: Arc::new(Handler::new(&arguments, commands)),
        on_renew: on_renew(&arguments, &supervisor),
        supervisor,
        renewals: Renewals::default(),
        may_be_renewed: false,
        working: JoinSet::new(),
        stopping: watch::Sender::new(false),
        sentences: Sentences::default(),
        jobs: arguments.jobs.get(),
        remaining: Remaining::as_asked(&arguments),
    };
    listener.run(events, &mut signals).await
}

/// The file that the supervisor locks, in the state directory.
const HANDLERS_LOCK: &str = "handlers.lock";

/// A state that has a subscription. A directory that is missing is not made: most likely its name is wrong.
fn open(directory: &Path) -> Result<State, Failure> {
    user_agent_client::state::read(directory)?;
    let state = State::open(directory)?;
    if state.subscriptions().next().is_none() {
        return Err(Failure::usage(format_args!(
            "there is no subscription in {}: make one with `subscribe`",
            directory.display()
        )));
    }
    Ok(state)
}

fn commands(arguments: &Listen, state: &State, supervisor: &Arc<Supervisor>) -> Result<Commands, Failure> {
    let subscriptions: Vec<_> = state.subscriptions().collect();
    let labels: Vec<_> = subscriptions
        .iter()
        .map(|subscription| &*subscription.label)
        .collect();
    Commands::new(arguments, &labels, Arc::clone(supervisor))
}

fn options(arguments: &Listen) -> Options {
    let limits = Limits {
        attempts: arguments.attempts.get(),
        ..defaults::limits()
    };
    Options {
        limits: Arc::new(limits),
        lowest_urgency: arguments.urgency,
        until_empty: arguments.until_empty,
        jobs: Some(arguments.jobs),
    }
}

async fn begin(supervisor: &Supervisor, directory: &Path, signals: &mut Signals) -> Result<(), Failure> {
    tokio::select! {
        begun = supervisor.begin() => begun.map_err(|error| {
            Failure::new(Exit::State, format_args!("{}: commands cannot be run: {error}", directory.display()))
        }),
        () = signals.next() => Err(Failure::new(Exit::Interrupted, "interrupted at start")),
    }
}

fn on_renew(arguments: &Listen, supervisor: &Arc<Supervisor>) -> Option<Arc<Exec>> {
    let line = arguments.on_renew.clone()?;
    let exec = Exec::new(line, arguments.exec_timeout, Arc::clone(supervisor));
    Some(Arc::new(exec))
}

struct Listener {
    agent: UserAgent,
    /// How other commands talk to this one.
    control: Control,
    handler: Arc<Handler>,
    on_renew: Option<Arc<Exec>>,
    supervisor: Arc<Supervisor>,
    /// For which subscriptions `on_renew` was run, and when it is run again.
    renewals: Renewals,
    /// There may be renewed subscriptions for which it was not run.
    may_be_renewed: bool,
    /// What is being worked on, messages and renewed subscriptions. **Invariant:** at most `jobs`.
    working: JoinSet<Worked>,
    jobs: usize,
    remaining: Remaining,
    /// Whether a signal came.
    stopping: watch::Sender<bool>,
    sentences: Sentences,
}

impl Listener {
    /// Handles messages until all are done, a signal comes, or it can't continue.
    async fn run(mut self, mut events: Events, signals: &mut Signals) -> Result<Exit, Failure> {
        let worked = self.work(&mut events, signals).await;
        self.control.close().await;
        // Nothing more is taken; what is in hand is finished, unless a second signal says that there is no time.
        self.stopping.send_replace(true);
        drop(events);
        let is_finished = tokio::select! {
            () = self.finish() => true,
            () = signals.next() => false,
        };
        self.working.shutdown().await;
        if !is_finished {
            // What was in hand is dropped, and so released; that is kept before we go. A further signal doesn't wait for it.
            tokio::select! {
                () = self.agent.stop() => {}
                () = signals.next() => {}
            }
        }
        self.sentences.say_rest();
        self.supervisor.end().await;
        worked?;
        Ok(self.exit(is_finished))
    }

    async fn work(&mut self, events: &mut Events, signals: &mut Signals) -> Result<(), Failure> {
        let mut network = NetworkChanges::new();
        while self.remaining != Remaining::Nothing {
            self.pass_on_renewed().await;
            let has_room = self.has_room();
            let again = self.renewals.next_due().filter(|_| has_room);
            let counts = self.sentences.due();
            tokio::select! {
                biased;
                () = signals.next() => return Ok(()),
                Some(worked) = self.working.join_next() => self.worked(worked).await?,
                () = until(again) => self.may_be_renewed = true,
                () = until(counts) => self.sentences.say_counts(),
                () = network.changed() => self.agent.network_changed().await,
                event = events.next(), if has_room => match event {
                    Some(event) => self.event(event)?,
                    None => return Err(Failure::new(Exit::Failed, "the user agent stopped")),
                },
            }
        }
        Ok(())
    }

    /// Without an end of its own, `listen` is done when a signal comes.
    fn exit(&self, is_finished: bool) -> Exit {
        match self.remaining {
            Remaining::Endless | Remaining::Nothing if is_finished => return Exit::Done,
            Remaining::Endless | Remaining::Nothing => {}
            Remaining::Messages(left) => say(format_args!(
                "interrupted; {left} messages of --count had not arrived"
            )),
            Remaining::Waiting => say("interrupted; more messages may wait"),
        }
        Exit::Interrupted
    }

    /// Whether another message may be worked on; never more than are to come.
    fn has_room(&self) -> bool {
        let working = self.working.len();
        let left = match self.remaining {
            Remaining::Messages(left) => usize::try_from(left).unwrap_or(usize::MAX),
            Remaining::Endless | Remaining::Waiting | Remaining::Nothing => usize::MAX,
        };
        working < self.jobs.min(left)
    }

    fn event(&mut self, event: Event) -> Result<(), Failure> {
        self.control.report(&event);
        if let Some(sentence) = news::sentence(&event) {
            self.sentences.say(SentenceKind::of(&event), sentence);
        }
        match event {
            Event::Message(message) => {
                let stopping = self.stopping.subscribe();
                self.working
                    .spawn(handle(Arc::clone(&self.handler), message, stopping));
            }
            Event::Renewed(_) if self.on_renew.is_none() => self.sentences.say(
                SentenceKind::Subscription,
                "  give the new one to the application server: `list --format json` prints it, and \
                 --on-renew CMD can do it",
            ),
            // Of many news at once some are lost, so that this is only a hint.
            Event::Renewed(_) | Event::Connected => self.may_be_renewed = true,
            Event::Empty => self.remaining = Remaining::Nothing,
            Event::Failed(error) => return Err(error.into()),
            _ => {}
        }
        Ok(())
    }

    /// Runs the command of `--on-renew` for what was renewed, as far as there is room.
    async fn pass_on_renewed(&mut self) {
        let Some(command) = self.on_renew.clone() else {
            return;
        };
        if !self.may_be_renewed || !self.has_room() {
            return;
        }
        for subscription in self.agent.subscriptions().await {
            let is_renewed = subscription.replaced && subscription.push_resource.is_some();
            if !is_renewed {
                continue;
            }
            if !self.has_room() {
                return;
            }
            let key = subscription.p256dh();
            if self.renewals.begin(&subscription.label, &key, Instant::now()) {
                self.working.spawn(pass_on(Arc::clone(&command), subscription));
            }
        }
        self.may_be_renewed = false;
    }

    async fn worked(&mut self, worked: Result<Worked, JoinError>) -> Result<(), Failure> {
        match worked {
            Ok(Worked::Handled) => self.remaining = self.remaining.after_one(),
            Ok(Worked::Failed(why)) => self.sentences.say(SentenceKind::Failed, why),
            Ok(Worked::Unable(why)) => self.sentences.say(SentenceKind::Unable, why),
            Ok(Worked::Released) => {}
            Ok(Worked::Closed(failure)) => return Err(failure),
            Ok(Worked::Renewed {
                subscription,
                failed: None,
            }) => {
                self.renewals.succeeded(&subscription.label);
                // It may have been renewed once more meanwhile.
                self.may_be_renewed = true;
                self.agent.confirm_renewal(&subscription).await;
            }
            Ok(Worked::Renewed {
                subscription,
                failed: Some(why),
            }) => {
                let label = &subscription.label;
                let wait = self.renewals.failed(label, Instant::now());
                let again = news::seconds(wait);
                self.sentences.say(
                    SentenceKind::Subscription,
                    format_args!("{label}: --on-renew failed: {why}; it runs again in {again}"),
                );
            }
            // The message was dropped with its task: it failed.
            Err(error) => self.sentences.say(
                SentenceKind::Failed,
                format_args!("a message handler panicked: {error}"),
            ),
        }
        Ok(())
    }

    /// Finishes the current work, sends the acknowledgements and closes the channel. A message that takes longer than the user
    /// agent waits is released: it comes again, and this does not count as an attempt.
    async fn finish(&mut self) {
        let until = Instant::now() + defaults::STOP_WITHIN;
        while let Ok(Some(worked)) = timeout_at(until, self.working.join_next()).await {
            if let Err(failure) = self.worked(worked).await {
                say(failure.why);
            }
        }
        if !self.working.is_empty() {
            say(format_args!(
                "handlers have {} s to finish; messages of those that do not finish come again",
                defaults::STOP_WITHIN.as_secs()
            ));
        }
        self.agent.stop().await;
    }
}

/// Waits until then; for ever if there is nothing to wait for.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
