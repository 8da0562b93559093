//! Acknowledgements for which there was no channel: they are sent first on the next one (PR-48). Otherwise the service would offer
//! each of these messages again.

use std::sync::Arc;

use super::UserAgent;
use super::action::{Action, Arrived, Disposition, Say};
use crate::session::Moment;

/// **Invariant:** no more than the messages that were held when the last channel ended: none arrives without one.
#[derive(Debug, Default)]
pub(super) struct Unsent(Vec<(Arc<Arrived>, Disposition)>);

impl Unsent {
    pub(super) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    /// Keeps only what an acknowledgement names, and not the message's body.
    fn push(&mut self, message: &Arrived, disposition: Disposition) {
        let message = Arrived {
            subscription: message.subscription.clone(),
            id: message.id.clone(),
            content: None,
            metadata: None,
        };
        self.0.push((Arc::new(message), disposition));
    }
}

impl UserAgent {
    /// Sends an acknowledgement, now or on the next channel. If the process ends before that, the message comes again and is recognised.
    pub(super) fn acknowledge(
        &mut self,
        message: Arc<Arrived>,
        disposition: Disposition,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        if self.is_live() {
            self.say(Say::Acknowledge { message, disposition }, now, out);
        } else {
            self.unsent.push(&message, disposition);
        }
    }

    pub(super) fn say_unsent(&mut self, now: Moment, out: &mut Vec<Action>) {
        for (message, disposition) in std::mem::take(&mut self.unsent).0 {
            self.say(Say::Acknowledge { message, disposition }, now, out);
        }
    }
}
