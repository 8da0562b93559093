//! `probe`: one message all the way through a push service and back, to see whether the service works.
//!
//! Every request goes to the server that the command names, whatever host the service's URLs have: so the probe works where the
//! public name leads nowhere, as in a pod. However it ends, it tries to end its subscription; nothing is kept here.

use std::fmt::{self, Display};
use std::pin::pin;
use std::time::Duration;

use push_protocol::vapid::SigningKey;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::{Instant, sleep, timeout};
use user_agent_client::application_server::{Push, Sender, VapidKey};
use user_agent_client::defaults::PROBE_LEAVE_WITHIN;
use user_agent_client::{
    Event, Events, Message, Options, PushSubscription, ServerUrl, State, Transport, Ttl, UserAgent,
};

use super::args::Probe;
use super::console::{print_line, say};
use super::exit::{Exit, Failure};
use super::settings;
use super::signals::Signals;

/// The name of the subscription, in this process alone.
const LABEL: &str = "probe";

pub(super) async fn probe(arguments: Probe) -> Result<Exit, Failure> {
    let server = ServerUrl::parse(&arguments.server)?;
    let server = match arguments.transport.asked() {
        Some(transport) => server.over(transport)?,
        None => server,
    };
    let is_http2 = server.transport() == Transport::Http2;
    let trust =
        settings::trust(&arguments.trust)?.connecting_to(server.host(), server.port(), server.is_secure());
    let mut signals = Signals::listen().map_err(|error| Failure::new(Exit::Failed, error))?;
    let key = new_key().map_err(|error| Failure::new(Exit::Failed, error))?;
    let idle = arguments.idle.unwrap_or_default();
    // The subscription ends with the probe, and the message with the subscription.
    let ttl = Ttl::from_secs(arguments.timeout.as_secs());
    let (agent, events) = UserAgent::start(server, trust.clone(), State::in_memory(), &Options::default())?;
    let mut round = Round {
        agent,
        events,
        sender: Sender::new(trust).within(arguments.timeout),
        key,
        ttl,
        idle,
        way: Way {
            message: None,
            moving: None,
            may_move: is_http2,
            times: Times::new(),
        },
    };
    let ended = tokio::select! {
        biased;
        () = signals.next() => Err("interrupted".to_owned()),
        ended = timeout(arguments.timeout.saturating_add(idle), round.run()) => match ended {
            Ok(ended) => ended,
            Err(_) => Err(round.way.missing(arguments.timeout)),
        },
    };
    let failed_at = round.way.times.step;
    round.leave(&mut signals).await;
    match ended {
        Ok(()) => print_line(format_args!("ok: {}", round.way.times)).map(|()| Exit::Done),
        Err(why) => {
            let why = format!("the probe failed at the step `{failed_at}`: {why}");
            Err(Failure::new(Exit::Failed, why))
        }
    }
}

fn new_key() -> Result<VapidKey, String> {
    let random = SystemRandom::new();
    let key = SigningKey::generate_pkcs8(&random).and_then(|der| SigningKey::from_pkcs8(&der, &random));
    let key = key.map_err(|error| error.to_string())?;
    VapidKey::new(key, None).map_err(|error| error.to_string())
}

/// One message's way.
struct Round {
    agent: UserAgent,
    events: Events,
    sender: Sender,
    key: VapidKey,
    ttl: Ttl,
    /// For how long the channel has nothing to carry before the message is sent.
    idle: Duration,
    way: Way,
}

/// How far the message has come.
struct Way {
    /// The message, from its arrival on.
    message: Option<Message>,
    /// Why there is no channel, while the user agent moves to the origin of its new subscription. Over HTTP/2 only: requests and
    /// messages go to the origins of the service's URLs.
    moving: Option<String>,
    may_move: bool,
    times: Times,
}

impl Round {
    /// All steps, or a sentence about the one that failed. Cancel safe: [`leave`](Self::leave) cleans up behind any of them.
    async fn run(&mut self) -> Result<(), String> {
        let agent = self.agent.clone();
        let application_server = *self.key.public_key();
        let subscribed = self
            .watch(agent.subscribe(LABEL, Some(application_server)))
            .await?;
        let subscription = subscribed.map_err(|error| error.to_string())?;
        while self.way.moving.is_some() {
            let event = self.events.next().await;
            self.way.heard(event)?;
        }
        let subscription = subscription.push_subscription();
        let subscription = subscription.ok_or("the push service gave the subscription no push resource")?;
        if !self.idle.is_zero() {
            self.way.times.begin(Step::Idle);
            self.watch(sleep(self.idle)).await?;
        }
        let body = self.send(&subscription).await?;
        let message = self.receive().await?;
        if message.data().is_none_or(|data| data.bytes() != body) {
            return Err("a message arrived that is not the one that was sent".to_owned());
        }
        self.way.times.begin(Step::Acknowledge);
        message.acknowledge();
        // The user agent sends it before it answers, and before it asks for the end of the subscription.
        self.watch(agent.subscriptions()).await?;
        self.way.times.begin(Step::Unsubscribe);
        let unsubscribed = self.watch(agent.unsubscribe(LABEL)).await?;
        unsubscribed.map_err(|error| error.to_string())?;
        self.watch(agent.wait_until_unsubscribed()).await?;
        self.way.times.end();
        Ok(())
    }

    /// Sends a message with a random body, and returns the body.
    async fn send(&mut self, subscription: &PushSubscription) -> Result<[u8; 32], String> {
        let mut body = [0; 32];
        let filled = SystemRandom::new().fill(&mut body);
        filled.map_err(|_| "the system has no random bits".to_owned())?;
        let push = Push {
            ttl: self.ttl,
            ..Push::new(body.to_vec())
        };
        self.way.times.begin(Step::Send);
        let sender = self.sender.clone();
        let mut sending = pin!(sender.send(subscription, &push, Some(&self.key)));
        // It may arrive before its request is answered.
        let sent = loop {
            tokio::select! {
                biased;
                event = self.events.next() => self.way.heard(event)?,
                sent = &mut sending => break sent,
            }
        };
        sent.map_err(|error| error.to_string().trim_end_matches('.').to_owned())?;
        Ok(body)
    }

    async fn receive(&mut self) -> Result<Message, String> {
        self.way.times.begin(Step::Receive);
        loop {
            if let Some(message) = self.way.message.take() {
                return Ok(message);
            }
            let event = self.events.next().await;
            self.way.heard(event)?;
        }
    }

    /// Does `step`, unless an event says first that it will not succeed.
    async fn watch<T>(&mut self, step: impl Future<Output = T>) -> Result<T, String> {
        let mut step = pin!(step);
        loop {
            tokio::select! {
                biased;
                event = self.events.next() => self.way.heard(event)?,
                done = &mut step => return Ok(done),
            }
        }
    }

    /// Ends the subscription if that was not done, and the channel. A signal ends the wait for both.
    async fn leave(&mut self, signals: &mut Signals) {
        let is_left_over = !self.way.times.has_ended && self.way.times.step != Step::Connect;
        let agent = self.agent.clone();
        let unsubscribe = async {
            if is_left_over {
                let _ = agent.unsubscribe(LABEL).await;
                agent.wait_until_unsubscribed().await;
            }
        };
        let has_left = tokio::select! {
            biased;
            () = signals.next() => false,
            left = timeout(PROBE_LEAVE_WITHIN, unsubscribe) => left.is_ok(),
        };
        if !has_left {
            say(
                "the subscription may be left: the push service did not confirm its end, and forgets it after a while",
            );
        }
        tokio::select! {
            biased;
            () = signals.next() => {}
            _ = timeout(PROBE_LEAVE_WITHIN, agent.stop()) => {}
        }
    }
}

impl Way {
    /// Notes what an event means for the probe, or says why it fails.
    fn heard(&mut self, event: Option<Event>) -> Result<(), String> {
        match event {
            Some(Event::Message(arrived)) => {
                self.times.received();
                self.message = Some(arrived);
            }
            Some(Event::Connected) => {
                self.moving = None;
                if self.times.step == Step::Connect {
                    self.times.begin(Step::Subscribe);
                }
            }
            Some(Event::Disconnected { why, .. }) => {
                let why = why.trim_end_matches('.').to_owned();
                if !self.may_move || self.times.step != Step::Subscribe {
                    return Err(why);
                }
                self.moving = Some(why);
            }
            Some(Event::Waiting { why, .. } | Event::Refused { why, .. }) => return Err(why.to_string()),
            Some(Event::Failed(error)) => return Err(error.to_string()),
            None => return Err("the user agent has stopped".to_owned()),
            Some(_) => {}
        }
        Ok(())
    }

    /// What did not happen in time.
    fn missing(&self, within: Duration) -> String {
        let moving = self.moving.as_ref();
        let why = moving.map_or_else(String::new, |why| format!("; the last channel ended: {why}"));
        format!(
            "{}, within {} s{why}",
            self.times.step.missing(),
            within.as_secs()
        )
    }
}

/// Where the message is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Connect,
    Subscribe,
    Idle,
    Send,
    Receive,
    Acknowledge,
    Unsubscribe,
}

impl Step {
    /// What did not happen, if the step takes too long.
    fn missing(self) -> &'static str {
        match self {
            Self::Connect => "there was no channel to the push service",
            Self::Subscribe => "the push service did not confirm the subscription",
            Self::Idle => "the channel was not idle for so long",
            Self::Send => "the push service did not accept the message",
            Self::Receive => "the message did not arrive",
            Self::Acknowledge => "the message was not acknowledged",
            Self::Unsubscribe => "the push service did not confirm the end of the subscription",
        }
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Idle => "idle",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Acknowledge => "acknowledge",
            Self::Unsubscribe => "unsubscribe",
        })
    }
}

/// How long each step took. `receive` counts from the beginning of `send`, because a message may arrive before its request is answered.
struct Times {
    begun: Instant,
    step: Step,
    step_begun: Instant,
    sending_begun: Instant,
    received: Option<Duration>,
    done: Vec<(Step, Duration)>,
    has_ended: bool,
}

impl Times {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            step: Step::Connect,
            step_begun: now,
            sending_begun: now,
            received: None,
            done: Vec::new(),
            has_ended: false,
        }
    }

    /// The current step is done, and another begins.
    fn begin(&mut self, next: Step) {
        let now = Instant::now();
        self.finish(now);
        (self.step, self.step_begun) = (next, now);
        if next == Step::Send {
            self.sending_begun = now;
        }
    }

    /// The last step is done.
    fn end(&mut self) {
        self.finish(Instant::now());
        self.has_ended = true;
    }

    fn finish(&mut self, now: Instant) {
        let took = match self.step {
            Step::Receive => self.received.unwrap_or_else(|| now - self.sending_begun),
            _ => now - self.step_begun,
        };
        self.done.push((self.step, took));
    }

    fn received(&mut self) {
        self.received.get_or_insert_with(|| self.sending_begun.elapsed());
    }
}

impl Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
        for (step, took) in &self.done {
            write!(f, "{step} {:.1} ms, ", millis(*took))?;
        }
        write!(f, "total {:.1} ms", millis(self.begun.elapsed()))
    }
}
