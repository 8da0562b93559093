//! Pages: which messages of a queue a session reads next.

use std::sync::Arc;

use push_protocol::{MessageId, MessageNumber, PushMessage, SubscriptionName};

use super::index::IndexEntry;
use super::{Now, Step, UserAgent};
use crate::storage::{PageRequest, Seat};

/// A message chosen for a page, its body still to be found if it is not here.
#[derive(Clone, Debug)]
pub(in crate::storage) struct Picked {
    pub(in crate::storage) id: MessageId,
    pub(in crate::storage) name: SubscriptionName,
    pub(in crate::storage) remaining_ms: u64,
    pub(in crate::storage) message: Option<Arc<PushMessage>>,
}

impl Picked {
    /// The message as it is handed out.
    pub(in crate::storage) fn hand_out(&self, message: &PushMessage) -> Arc<PushMessage> {
        Arc::new(PushMessage {
            remaining_ms: self.remaining_ms,
            ..message.clone()
        })
    }
}

/// A page, its bodies still to be found.
#[derive(Clone, Default, Debug)]
pub(in crate::storage) struct PickedPage {
    pub(in crate::storage) messages: Vec<Picked>,
    pub(in crate::storage) upto: MessageNumber,
    pub(in crate::storage) more: bool,
}

/// The answer to a request for a page, before the bodies are read.
#[derive(Debug)]
pub(in crate::storage) enum PageDecision {
    Page(PickedPage),
    Displaced,
    Unknown,
}

impl UserAgent {
    /// Reads on for the holder of the seat. If the seat is free, the caller takes it (PR-10).
    pub(in crate::storage) fn page(
        &mut self,
        seat: Seat,
        request: &PageRequest,
        now: Now,
    ) -> Step<PageDecision> {
        let changes = self.begin(now);
        let decision = match self.seat {
            _ if !self.is_known(now) => PageDecision::Unknown,
            Some(holder) if holder != seat => PageDecision::Displaced,
            _ => {
                self.seat = Some(seat);
                PageDecision::Page(self.pick(request, now))
            }
        };
        self.finish(decision, changes, now)
    }

    pub(super) fn pick(&self, request: &PageRequest, now: Now) -> PickedPage {
        let in_scope = |w: &&IndexEntry| !w.has_expired(now.ms()) && request.scope.covers(w.subscription);
        let mut page = PickedPage::default();
        let mut bytes = 0;
        for waiting in self
            .waiting
            .after(request.after, request.minimum)
            .filter(in_scope)
        {
            bytes += waiting.body_bytes as usize;
            let full = page.messages.len() >= request.messages;
            let heavy = bytes > request.bytes && !page.messages.is_empty();
            if full || heavy {
                page.more = true;
                break;
            }
            page.messages.extend(self.picked(waiting, now));
        }
        let last_picked = page.messages.last().map(|m| m.id.number);
        page.upto = match last_picked {
            Some(number) if page.more => number,
            None if page.more => request.after,
            _ => self.last,
        };
        page
    }

    fn picked(&self, waiting: &IndexEntry, now: Now) -> Option<Picked> {
        Some(Picked {
            id: waiting.id,
            name: self.subscription(waiting.subscription)?.name,
            remaining_ms: waiting.expires_at_ms - now.ms(),
            message: waiting.message.clone(),
        })
    }
}
