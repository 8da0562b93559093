//! Channels that monitor (RFC 8030 §6, §6.1, §6.3): by HTTP/2 server push, or by Server-Sent Events for peers without push.
//!
//! One task for a session. On one HTTP/2 connection all monitors of a user agent share a session: the session wants the union of
//! what they want (PR-15). Of two pushed monitors of the same resource only the newer one counts (R30-MON-18). The task carries out
//! what the session decides: it reads pages, writes messages one after the other to the monitor that asked for them, and answers
//! the monitoring requests when they are over.
//!
//! Acknowledgements come by DELETE, on any connection of any node, and storage announces them to the seat (PR-18).
//!
//! Guarantees: of bodies, a task holds a page and one message that is being written; a monitor that takes nothing is ended
//! for that reason; the task ends with its last monitor, and gives its seat up. It does not know how requests to monitor are
//! spelled.

mod checks;
mod connection;
mod entering;
mod events;
mod finish;
mod leaving;
mod link;
mod outlet;
mod parcel;
mod push;
mod request;
mod task;
#[cfg(test)]
mod tests;
mod writing;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use http::Response;
use tokio::sync::{mpsc, oneshot};

pub use self::connection::MonitorLink;
use self::events::Events;
pub use self::link::{ConnectionPoll, PushLink};
use self::outlet::Outlet;
use self::push::Pushes;
use self::request::Monitor;
use super::shared::Shared;
use crate::defaults::EVENTS_BUFFERED;
use crate::resources::{Form, Monitoring};

/// Events on their way to the connection, behind the head of their response.
pub struct EventStream {
    /// What is to be sent first.
    pub head: Response<()>,
    /// What follows, piece by piece. When the queue ends, the response ends.
    pub pieces: mpsc::Receiver<Bytes>,
    /// Fails when the monitoring is over, even while its last pieces still have to be taken.
    pub over: oneshot::Receiver<Infallible>,
}

/// Monitors by server push. Resolves when the request is over, and was answered.
pub(super) async fn by_push(
    shared: &Arc<Shared>,
    monitoring: &Monitoring,
    respond: SendResponse<Bytes>,
    link: &Arc<MonitorLink>,
) {
    let (request, over) = oneshot::channel();
    let pushes = Pushes::new(respond, Arc::clone(link.pushes()), monitoring.common.clone());
    let monitor = monitor(shared, monitoring, Outlet::Push(Box::new(pushes)), request);
    begin(shared, monitoring, monitor, Some(link));
    let _ = over.await;
}

/// Monitors by Server-Sent Events. `Err` is the answer to a request that gets no events.
pub(super) async fn by_events(
    shared: &Arc<Shared>,
    monitoring: &Monitoring,
    link: Option<&Arc<MonitorLink>>,
) -> Result<EventStream, Box<Response<Bytes>>> {
    let last = match monitoring.form {
        Form::Events { last } => last,
        Form::Push => None,
    };
    let (request, over) = oneshot::channel();
    let (begun, begins) = oneshot::channel();
    let (pieces, taken) = mpsc::channel(EVENTS_BUFFERED);
    let events = Events::new(begun, pieces, last, monitoring.common.clone());
    let monitor = monitor(shared, monitoring, Outlet::Events(Box::new(events)), request);
    begin(shared, monitoring, monitor, link);
    let head = begins
        .await
        .unwrap_or_else(|_| Err(Box::new(finish::trouble(&monitoring.common))))?;
    Ok(EventStream {
        head,
        pieces: taken,
        over,
    })
}

fn monitor(
    shared: &Shared,
    monitoring: &Monitoring,
    outlet: Outlet,
    request: oneshot::Sender<Infallible>,
) -> Monitor {
    let waits = monitoring.wait.filter(|wait| !wait.is_zero());
    Monitor {
        interest: monitoring.interest(),
        outlet,
        until: waits.map(|wait| shared.now().after(wait)),
        has_delivered: false,
        is_replaced: false,
        is_checked: monitoring.monitored.subscription.is_none(),
        _request: request,
    }
}

fn begin(shared: &Arc<Shared>, monitoring: &Monitoring, monitor: Monitor, link: Option<&Arc<MonitorLink>>) {
    let once = monitoring.wait.is_some_and(|wait| wait.is_zero());
    let (user_agent, queue_kind) = (monitoring.monitored.user_agent, monitoring.monitored.queue);
    entering::enter(shared, user_agent, queue_kind, monitor, link, once);
}

/// Whether a peer takes server push: it has not switched push off, and takes at least one stream at a time.
///
/// `h2` does not show the setting, but it looks at the setting before it looks at the fields of a promise. So a promise with a
/// field that is not allowed is refused for the one reason or for the other, and is never sent.
pub fn can_push(respond: &mut SendResponse<Bytes>, link: &MonitorLink) -> bool {
    let mut impossible = http::Request::new(());
    let connection = http::HeaderValue::from_static("close");
    impossible
        .headers_mut()
        .insert(http::header::CONNECTION, connection);
    let refused = respond.push_request(impossible).err();
    link.pushes().waste_stream_id();
    let is_off = refused.is_some_and(|error| error.to_string().contains("disabled server push"));
    link.pushes().takes_any() && !is_off
}
