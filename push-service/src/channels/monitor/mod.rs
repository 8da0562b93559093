//! Channels of those who monitor (RFC 8030 §6, §6.1, §6.3): HTTP/2 server push, and Server-Sent Events for whoever has none.
//!
//! One task for a session. On one HTTP/2 connection all monitors of a user agent share one: what is wanted is the union of
//! what they want (PR-15). Of two that are pushed the same, only the newer one counts (R30-MON-18). The task does what the
//! session decides: it reads pages, writes messages one after the other to the monitor that asked for them, and answers the
//! monitoring requests when they are over.
//!
//! What is acknowledged comes from elsewhere, by DELETE on any connection of any node, and storage tells the seat (PR-18).
//!
//! Guarantees: of bodies, a task holds a page and one message that is being written; a monitor that takes nothing is ended
//! for that reason; the task ends with its last monitor, and gives its seat up. It deliberately doesn't know how requests
//! to monitor are spelled.

mod asking;
mod end;
mod events;
mod leaving;
pub(crate) mod link;
mod outlet;
mod push;
mod task;
mod writing;

use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use http::Response;
use push_protocol::UserAgentId;
use push_protocol::session::{Interest, Moment};
use tokio::sync::{mpsc, oneshot};

use self::events::Events;
use self::link::PushLink;
use self::outlet::Outlet;
use self::push::Pushes;
use self::task::MonitorTask;
use super::Channels;
use crate::broker::Goods;
use crate::defaults::EVENTS_BUFFERED;
use crate::resources::{Form, Monitoring};

/// One monitoring request.
pub(super) struct Monitor {
    interest: Interest,
    outlet: Outlet,
    /// When it's over whatever has come.
    until: Option<Moment>,
    /// Whether something was brought.
    has_brought: bool,
    /// A newer one has its place: it ends when what it was brought has arrived.
    is_replaced: bool,
    /// The subscription that it names is looked for, once the seat is taken: what ends before that is not told.
    is_checked: bool,
    /// Dropped when the request is over.
    _request: oneshot::Sender<std::convert::Infallible>,
}

/// Events on their way to the connection, behind the head of their response.
pub struct EventStream {
    /// What is to be sent first.
    pub head: Response<()>,
    /// What follows, piece by piece; its end is the end.
    pub pieces: mpsc::Receiver<Bytes>,
    /// Fails when the monitoring is over, also while its last pieces are still to be taken.
    pub over: oneshot::Receiver<std::convert::Infallible>,
}

impl Channels {
    /// Monitors by server push. Resolves when the request is over, and was answered.
    ///
    /// The peer must take pushes: [`can_push`] says so.
    pub async fn monitor_by_push(
        self: &Arc<Self>,
        monitoring: &Monitoring,
        respond: SendResponse<Bytes>,
        link: &Arc<PushLink>,
    ) {
        let (request, over) = oneshot::channel();
        let pushes = Pushes::new(respond, Arc::clone(link), monitoring.common.clone());
        let monitor = self.monitor(monitoring, Outlet::Push(Box::new(pushes)), request);
        self.begin(monitoring, monitor, Some(link));
        let _ = over.await;
    }

    /// Monitors by Server-Sent Events. `Err` is the answer to one who gets none.
    ///
    /// Dropping what it returns ends the monitoring.
    pub async fn monitor_by_events(
        self: &Arc<Self>,
        monitoring: &Monitoring,
        link: Option<&Arc<PushLink>>,
    ) -> Result<EventStream, Box<Response<Bytes>>> {
        let last = match monitoring.form {
            Form::Events { last } => last,
            Form::Push => None,
        };
        let (request, over) = oneshot::channel();
        let (begun, begins) = oneshot::channel();
        let (pieces, taken) = mpsc::channel(EVENTS_BUFFERED);
        let events = Events::new(begun, pieces, last, monitoring.common.clone());
        let monitor = self.monitor(monitoring, Outlet::Events(Box::new(events)), request);
        self.begin(monitoring, monitor, link);
        let head = begins
            .await
            .unwrap_or_else(|_| Err(Box::new(end::trouble(&monitoring.common))))?;
        Ok(EventStream {
            head,
            pieces: taken,
            over,
        })
    }

    fn monitor(
        &self,
        monitoring: &Monitoring,
        outlet: Outlet,
        request: oneshot::Sender<std::convert::Infallible>,
    ) -> Monitor {
        let waits = monitoring.wait.filter(|wait| !wait.is_zero());
        Monitor {
            interest: monitoring.interest(),
            outlet,
            until: waits.map(|wait| self.now().after(wait)),
            has_brought: false,
            is_replaced: false,
            is_checked: monitoring.monitored.subscription.is_none(),
            _request: request,
        }
    }

    fn begin(self: &Arc<Self>, monitoring: &Monitoring, monitor: Monitor, link: Option<&Arc<PushLink>>) {
        let once = monitoring.wait.is_some_and(|wait| wait.is_zero());
        let (user_agent, goods) = (monitoring.monitored.user_agent, monitoring.monitored.goods);
        self.enter(user_agent, goods, monitor, link, once);
    }

    /// Puts a monitor to its session. One that asks once gets a session of its own, and so does one whose connection has
    /// no other.
    fn enter(
        self: &Arc<Self>,
        user_agent: UserAgentId,
        goods: Goods,
        monitor: Monitor,
        link: Option<&Arc<PushLink>>,
        once: bool,
    ) {
        let (monitor, entering) = match link.filter(|_| !once) {
            None => (monitor, None),
            Some(link) => match link.enter(user_agent, monitor) {
                Ok(()) => return,
                Err((monitor, entering)) => (monitor, Some(entering)),
            },
        };
        let task = MonitorTask::new(
            Arc::clone(self),
            user_agent,
            goods,
            monitor,
            entering,
            link.cloned(),
            once,
        );
        tokio::spawn(task);
    }
}

/// Whether a peer takes server push: it has not switched it off, and takes at least one stream at a time.
///
/// `h2` doesn't tell the setting; but it looks at it before it looks at the fields of a promise, so a promise that can't be
/// sent tells it.
pub fn can_push(respond: &mut SendResponse<Bytes>, link: &PushLink) -> bool {
    let mut impossible = http::Request::new(());
    let connection = http::HeaderValue::from_static("close");
    impossible
        .headers_mut()
        .insert(http::header::CONNECTION, connection);
    let refused = respond.push_request(impossible).err();
    let is_off = refused.is_some_and(|error| error.to_string().contains("disabled server push"));
    link.takes_any() && !is_off
}
