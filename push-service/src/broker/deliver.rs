//! Delivery: a session's seat, the pages that it reads, and how long messages waited.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use push_protocol::session::{AttachOutcome, PageOutcome, PageRequest};
use push_protocol::{MessageNumber, UserAgentId};

use super::Broker;
use crate::metrics::Step;
use crate::storage::{Attached, Manner, Paged, Refreshed, Seat, StorageError};

impl Broker {
    /// Takes the seat and reads the head of the queue. "Unknown" comes only from a healthy store (PR-3). An error means that
    /// this happens too often (PR-15): it is how long to wait before asking again with [`Manner::Insisting`].
    pub async fn attach(
        &self,
        user_agent: UserAgentId,
        seat: Seat,
        head: PageRequest,
        manner: Manner,
    ) -> Result<AttachOutcome, Duration> {
        let attach = self.storage.attach(user_agent, seat, head, manner);
        match self.step_within(Step::Attach, attach).await {
            Ok(Attached::Known { page, .. }) => Ok(AttachOutcome::Known(page)),
            Ok(Attached::Unknown) => Ok(AttachOutcome::Unknown),
            Ok(Attached::TooOften { retry_after }) => Err(retry_after),
            Err(_) => Ok(AttachOutcome::Trouble),
        }
    }

    /// Reads the next page for the session that holds the seat. If the record is gone, the page is empty.
    pub async fn page(&self, user_agent: UserAgentId, seat: Seat, request: PageRequest) -> PageOutcome {
        let paged = self
            .step_within(Step::Page, self.storage.page(user_agent, seat, request))
            .await;
        match paged {
            Ok(Paged::Page(page)) => PageOutcome::Page(page),
            Ok(Paged::Unknown) => PageOutcome::Page(Default::default()),
            Ok(Paged::Displaced) => PageOutcome::Displaced,
            Err(_) => PageOutcome::Trouble,
        }
    }

    /// Compares the seats of many sessions with storage, in one step (PR-14).
    pub async fn refresh(&self, held: &[(UserAgentId, Seat)]) -> Result<Vec<Refreshed>, StorageError> {
        self.step_within(Step::Refresh, self.storage.refresh(held)).await
    }

    /// Gives the seat up, if it is still held. If storage has trouble the seat stays taken until the next attach.
    pub async fn release(&self, user_agent: UserAgentId, seat: Seat) {
        let _ = self
            .step_within(Step::Release, self.storage.release(user_agent, seat))
            .await;
    }
}

/// How long ago a message was accepted: its number is that time. `None` for a message that was never stored.
pub(crate) fn waited(number: MessageNumber) -> Option<Duration> {
    if number == MessageNumber::START {
        return None;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(now.saturating_sub(Duration::from_micros(number.0)))
}
