//! Events that the application gets.

use std::sync::Arc;
use std::time::Duration;

use push_protocol::session::user_agent::GiveUpReason;

use crate::message::Message;
use crate::request_error::RequestError;
use crate::state::StateError;
use crate::subscription::Subscription;

/// Something that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A push message.
    Message(Message),
    /// The channel is open, and the service has not answered our hello for
    /// [`DELAYED_AFTER`](crate::defaults::DELAYED_AFTER): some services delay a user agent that connects often.
    Delayed,
    /// The channel is open and the service knows us.
    Connected,
    /// There is no channel.
    Disconnected {
        /// Why, in a sentence.
        why: String,
        /// When the next attempt begins; `None`: not before [the network
        /// changes](super::UserAgent::network_changed) or something is asked for, or never, because it stops.
        again_in: Option<Duration>,
    },
    /// No server push gets through to the service over HTTP/2: it has none, or a proxy drops it. Its messages come as
    /// Server-Sent Events, and nothing is lost by it. Said once.
    WithoutPush,
    /// A subscription that was asked for earlier is confirmed.
    Subscribed(Subscription),
    /// A subscription has another push resource and other keys, because the service had forgotten the old one
    /// (`pushsubscriptionchange`). Give them to the application server, then call
    /// [`confirm_renewal`](super::UserAgent::confirm_renewal); until then it is said again at each start.
    // WP-RFR-2.
    Renewed(Subscription),
    /// The service won't make this subscription, and it is gone.
    Refused {
        /// Which.
        label: Arc<str>,
        /// The service's status and words.
        why: RequestError,
    },
    /// The service did not do what was asked of it for this subscription. It is asked again.
    Waiting {
        /// Which.
        label: Arc<str>,
        /// Why; [`RequestError::may_pass`] says whether waiting makes sense.
        why: RequestError,
        /// When it is asked again.
        again_in: Duration,
    },
    /// The service said that it takes no acknowledgements for a while. No message is lost or handled again because of that.
    AcknowledgementsWait {
        /// When they are sent again.
        again_in: Duration,
    },
    /// The service confirmed that a subscription is gone.
    Unsubscribed,
    /// A message was tried too often, and is given up.
    // WP-RCV-6, PR-45.
    GaveUp {
        /// Of which subscription.
        label: Arc<str>,
        /// Which limit was reached.
        reason: GiveUpReason,
    },
    /// The application can't work with the messages of this subscription: it said so
    /// ([`Message::unable`]), or failed on several in a row. They wait, one of them comes after a while, and none is given up
    /// meanwhile. It is said again with each one that fails.
    // PR-45.
    Paused {
        /// Of which subscription.
        label: Arc<str>,
        /// When the next message comes.
        again_in: Duration,
    },
    /// The application succeeded with a message of this subscription that was paused: the others come.
    Resumed {
        /// Of which subscription.
        label: Arc<str>,
    },
    /// Nothing waits with the service any more, and all that waited is done and acknowledged. Only with
    /// [`Options::until_empty`](super::Options::until_empty), and never lost. The user agent goes on until it is
    /// [stopped](super::UserAgent::stop); what is sent after this need not come.
    Empty,
    /// The state can't be written: the user agent has stopped, before it confirmed anything that it would forget.
    Failed(StateError),
}
