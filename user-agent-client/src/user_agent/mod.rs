//! One user agent: a task that holds the channel, a handle to ask things of it, and a stream of what happens.
//!
//! The task is a thin driver of [the session](push_protocol::session::user_agent), which decides everything; the task
//! opens sockets, decrypts, keeps, and hands over. One process may run thousands of user agents: each is one task, and
//! while idle it holds no buffer.
//!
//! **No task outlives its handles**: it ends with [`UserAgent::stop`], or when [`Events`] is dropped.

mod event;
mod link;
mod task;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

pub use event::Event;
use futures_core::Stream;
use push_protocol::Urgency;
pub use push_protocol::session::user_agent::{Counters, GiveUpReason, Limits};
use push_protocol::vapid::PublicKey;
use tokio::sync::oneshot;

use crate::defaults;
use crate::message::Message;
use crate::queue;
pub use crate::request_error::RequestError;
use crate::server_url::{ServerUrl, Transport};
use crate::state::{State, StateError};
use crate::subscription::Subscription;
use crate::tls::Trust;
use task::{Call, Task};

/// A handle to a user agent that runs. Cheap to clone.
///
/// Every method is cancel safe: a call that is dropped was made, or was not made at all. What was asked for by then stays
/// asked for.
#[derive(Clone, Debug)]
pub struct UserAgent {
    calls: queue::Sender<Call>,
}

/// What happens to a user agent: messages in their order, and news before them, in theirs. Also a [`Stream`].
///
/// Read it, or drop it. Up to [`NEWS`](defaults::NEWS) news wait to be read, and further ones are lost: then
/// [`subscriptions`](UserAgent::subscriptions) says how the subscriptions are. Messages that aren't read wait with the
/// service. Dropping it stops the user agent: messages that were not taken out of it come again.
#[derive(Debug)]
pub struct Events {
    asks: queue::Sender<()>,
    /// A message was asked for and has not come.
    has_asked: bool,
    messages: queue::Receiver<Message>,
    news: queue::Receiver<Event>,
}

/// How a user agent behaves. The default suits a machine with one of them.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its bounds, by default [`defaults::limits`].
    pub limits: Arc<Limits>,
    /// Nothing less urgent is wanted (RFC 8030 §5.3): as [`set_lowest_urgency`](UserAgent::set_lowest_urgency), from the
    /// beginning. By default [`Urgency::VeryLow`], which is everything.
    pub lowest_urgency: Urgency,
    /// What waits is wanted, and no more (RFC 8030 §6): when all of it is done, [`Event::Empty`] says so. Over HTTP/2 only:
    /// with a WebSocket, [`UserAgent::start`] refuses it. By default `false`.
    pub until_empty: bool,
    /// How many messages the application works on at once, if it says so. If there are several subscriptions, each gets one job less
    /// than that, so that a job is left to the others. By default [`Events`] gives as many messages as are asked for.
    // PR-46.
    pub jobs: Option<NonZeroUsize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Arc::new(defaults::limits()),
            lowest_urgency: Urgency::VeryLow,
            until_empty: false,
            jobs: None,
        }
    }
}

impl UserAgent {
    /// Starts one on the current runtime. It connects at once, and again and again, until it is stopped.
    ///
    /// # Errors
    ///
    /// [`StateError::OtherService`] if the state belongs to a service on another host: showing that one our identity would
    /// tell it a secret, and lose every subscription. [`StateError::OtherTransport`] if its subscriptions were made over the
    /// other transport. [`StateError::NeverEmpty`] if [`Options::until_empty`] is asked for over a WebSocket. Else
    /// [`StateError`] if it can't be kept which service this is.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start(
        server: ServerUrl,
        trust: Trust,
        mut state: State,
        options: &Options,
    ) -> Result<(Self, Events), StateError> {
        if options.until_empty && server.transport() == Transport::WebSocket {
            return Err(StateError::NeverEmpty);
        }
        state.set_server(&server)?;
        let (calls, called) = queue::channel(defaults::CALLS);
        // One message at a time is asked for, so there is always room.
        let (asks, asked) = queue::channel(1);
        let (messages, taken) = queue::channel(1);
        let (news, heard) = queue::channel(defaults::NEWS);
        let task = Task::new(server, trust, state, options, asked, messages, news);
        tokio::spawn(Box::new(task).run(called));
        let events = Events {
            asks,
            has_asked: false,
            messages: taken,
            news: heard,
        };
        Ok((Self { calls }, events))
    }

    /// Makes a subscription of this name, or finds it again: then it is the same, with the same keys and push resource.
    /// Resolves when the service has confirmed it, which takes as long as there is no network: give it a deadline. After
    /// that, [`Event::Subscribed`] or [`Event::Refused`] gives the result.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`].
    pub async fn subscribe(
        &self,
        label: &str,
        application_server: Option<PublicKey>,
    ) -> Result<Subscription, SubscribeError> {
        let (reply, answer) = oneshot::channel();
        let call = Call::Subscribe {
            label: label.into(),
            application_server,
            reply,
        };
        self.calls.send(call).await.map_err(|_| SubscribeError::Stopped)?;
        answer.await.unwrap_or(Err(SubscribeError::Stopped))
    }

    /// Ends a subscription: no message of it arrives from now on, and the service is told as soon as it can be
    ///. Whether there was one.
    ///
    /// # Errors
    ///
    /// [`SubscribeError::Stopped`].
    // WP-SUB-10.
    pub async fn unsubscribe(&self, label: &str) -> Result<bool, SubscribeError> {
        let (reply, answer) = oneshot::channel();
        let label = label.into();
        let call = Call::Unsubscribe { label, reply };
        self.calls.send(call).await.map_err(|_| SubscribeError::Stopped)?;
        answer.await.unwrap_or(Err(SubscribeError::Stopped))
    }

    /// Waits until the service has confirmed that every ended subscription is gone, or the user agent has stopped.
    pub async fn wait_until_unsubscribed(&self) {
        self.ask(|reply| Call::WaitUntilUnsubscribed { reply }).await;
    }

    /// The subscriptions, by name; none if the user agent has stopped.
    pub async fn subscriptions(&self) -> Vec<Subscription> {
        self.ask(|reply| Call::Subscriptions { reply })
            .await
            .unwrap_or_default()
    }

    /// The application server knows the push resource and keys of this subscription, as [`Event::Renewed`] gave it. If the
    /// subscription has yet others by now, they are left to tell.
    pub async fn confirm_renewal(&self, subscription: &Subscription) {
        if let Some(push_resource) = subscription.push_resource.clone() {
            let call = Call::ConfirmRenewal {
                name: subscription.name,
                push_resource,
                p256dh: subscription.p256dh(),
            };
            let _ = self.calls.send(call).await;
        }
    }

    /// Wants messages of this urgency and above from now on (RFC 8030 §5.3); [`Urgency::VeryLow`] is everything. What is less
    /// urgent stays with the service until it expires, or until less is asked for. What has come by then is handed over. It
    /// holds while this user agent runs, on every channel; the state doesn't keep it.
    ///
    /// The service hears of it at once, or with the next channel; of changes within [`WISH_EVERY`](defaults::WISH_EVERY) (5 s)
    /// it hears the last. Over a WebSocket this needs a service that knows urgency: Mozilla's closes the channel of a user
    /// agent that sends it, again and again. Of a user agent that has stopped, nothing changes.
    ///
    /// Cancel safe: dropped before it is ready, it changes nothing.
    pub async fn set_lowest_urgency(&self, lowest: Urgency) {
        let _ = self.calls.send(Call::SetLowestUrgency(lowest)).await;
    }

    /// The machine has another network, or one again: the channel is probed, or a wait for one ends.
    /// [`NetworkChanges`](crate::network::NetworkChanges) knows when.
    pub async fn network_changed(&self) {
        let _ = self.calls.send(Call::NetworkChanged).await;
    }

    /// What happened to messages so far; nothing if the user agent has stopped.
    pub async fn counters(&self) -> Counters {
        self.ask(|reply| Call::Counters { reply })
            .await
            .unwrap_or_default()
    }

    /// Stops: nothing more is handed over, what the application still has may be finished within
    /// [`Limits::stop_within`] and otherwise comes again, acknowledgements are sent, the channel is closed. Resolves when all is done and the state
    /// directory is free.
    pub async fn stop(&self) {
        let _ = self.calls.send(Call::Stop).await;
        self.calls.closed().await;
    }

    async fn ask<T>(&self, call: impl FnOnce(oneshot::Sender<T>) -> Call) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(call(reply)).await.ok()?;
        answer.await.ok()
    }
}

impl Events {
    /// The next one; `None` when the user agent has stopped. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll_event(context)).await
    }

    /// The next one that is no message; `None` when the user agent has stopped. For a program that subscribes or
    /// unsubscribes and leaves: messages are not asked for, so none is attempted, and all of them come again on the next
    /// channel. Cancel safe.
    pub async fn next_news(&mut self) -> Option<Event> {
        self.news.recv().await
    }

    /// News first: there is little of it, and it may explain what follows. A message leaves the task only when it is asked
    /// for here: what waits there was not attempted, and what the application was done with before is kept by then.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        if let Poll::Ready(Some(event)) = self.news.poll_recv(context) {
            return Poll::Ready(Some(event));
        }
        if !self.has_asked {
            // The last one that was asked for has come, so there is room; a task that has stopped says so below.
            let _ = self.asks.try_send(());
            self.has_asked = true;
        }
        let message = ready!(self.messages.poll_recv(context));
        self.has_asked = false;
        Poll::Ready(message.map(|message| Event::Message(message.seen())))
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(context)
    }
}

/// Why there is no subscription, or why one doesn't end.
#[derive(Debug)]
#[non_exhaustive]
pub enum SubscribeError {
    /// There is one of this name, for another application server: `InvalidStateError` in a browser.
    // WP-SUB-6.
    OtherKey,
    /// The service won't make it; its status and words. Most likely the application server's key is not one.
    Refused(RequestError),
    /// The name can't be one, or there are too many subscriptions.
    State(StateError),
    /// The user agent has stopped. If that is because this could not be kept, [`Event::Failed`] says why.
    Stopped,
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherKey => f.write_str(
                "a subscription of this name exists for another application server key: end it first, or \
                 choose another name",
            ),
            Self::Refused(why) => write!(f, "the push service refused the subscription: {why}"),
            Self::State(error) => error.fmt(f),
            Self::Stopped => f.write_str("the user agent has stopped"),
        }
    }
}

impl std::error::Error for SubscribeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // It speaks for itself, so what is behind it comes next.
            Self::State(error) => error.source(),
            Self::OtherKey | Self::Refused(..) | Self::Stopped => None,
        }
    }
}
