//! Acknowledgements for which there was no channel: they are the first that is said on the next one (PR-48).
//!
//! The service would offer each of these messages again, and hear that it is known. This way it needs not.

use std::sync::Arc;

use super::UserAgent;
use super::action::{Action, Arrived, Fate, Say};
use crate::session::Moment;

/// **Invariant:** no more than the messages that were held when the last channel ended: none arrives without one.
#[derive(Debug, Default)]
pub(super) struct Unsaid(Vec<(Arc<Arrived>, Fate)>);

impl Unsaid {
    pub(super) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    /// Of the message only what an acknowledgement names: its body would be kept for nothing.
    fn push(&mut self, message: &Arrived, fate: Fate) {
        let message = Arrived {
            subscription: message.subscription.clone(),
            id: message.id.clone(),
            content: None,
            stated: None,
        };
        self.0.push((Arc::new(message), fate));
    }
}

impl UserAgent {
    /// Says it, now or on the next channel. That need not come: then the message comes again, and is known.
    pub(super) fn acknowledge(
        &mut self,
        message: Arc<Arrived>,
        fate: Fate,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        if self.is_live() {
            self.say(Say::Acknowledge { message, fate }, now, out);
        } else {
            self.unsaid.push(&message, fate);
        }
    }

    pub(super) fn say_unsaid(&mut self, now: Moment, out: &mut Vec<Action>) {
        for (message, fate) in std::mem::take(&mut self.unsaid).0 {
            self.say(Say::Acknowledge { message, fate }, now, out);
        }
    }
}
