//! What a session's task asks of storage, one question of a kind at a time, and what it does with the answers.

use std::sync::Arc;
use std::task::Context;

use futures_util::FutureExt as _;
use push_protocol::UserAgentId;
use push_protocol::session::{Action, AttachOutcome, Moment, PageRequest};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::task::MonitorTask;
use crate::channels::attach::Attachment;
use crate::channels::poll_slot;
use crate::defaults::STORAGE_RETRY_AFTER;

impl MonitorTask {
    /// Enters the registry, then takes the seat: a wake-up between the two is not lost (PR-11).
    ///
    /// Whose monitors have all gone before takes none: it would end a newer one's monitoring, for nobody (PR-15).
    pub(super) fn attach(&mut self, user_agent: UserAgentId, head: PageRequest) {
        if self.monitors.is_empty() {
            self.has_no_seat = true;
            return;
        }
        self.place.claim(user_agent);
        let (shared, seat) = (Arc::clone(&self.shared), self.place.handle().seat());
        let (wants_seat, given_up) = oneshot::channel();
        self.wants_seat = Some(wants_seat);
        self.attaching = Some(Box::pin(async move {
            let given_up = given_up.map(drop);
            shared.attach(user_agent, seat, head, given_up).await
        }));
    }

    /// One step of storage for all that is acknowledged by then.
    pub(super) fn hand_over_acknowledged(&mut self) -> bool {
        if self.acknowledged.is_empty() || self.acknowledging.is_some() {
            return false;
        }
        let messages = std::mem::take(&mut self.acknowledged);
        let (shared, seat, user_agent) = (
            Arc::clone(&self.shared),
            self.place.handle().seat(),
            self.user_agent,
        );
        self.acknowledging = Some(Box::pin(async move {
            match shared.broker.acknowledge(user_agent, &messages, seat).await {
                Ok(()) => Vec::new(),
                Err(_) => {
                    tokio::time::sleep(STORAGE_RETRY_AFTER).await;
                    messages
                }
            }
        }));
        true
    }

    /// Reads the page that is wanted, after storage has all acknowledgements so far (PR-4).
    pub(super) fn read_page(&mut self) -> bool {
        if self.acknowledging.is_some() || !self.acknowledged.is_empty() {
            return false;
        }
        let Some(request) = self.wanted.take() else {
            return false;
        };
        let (shared, seat, user_agent) = (
            Arc::clone(&self.shared),
            self.place.handle().seat(),
            self.user_agent,
        );
        self.page = Some(Box::pin(async move {
            let share = shared.share_of_delivery(request.bytes).await;
            (shared.broker.page(user_agent, seat, request).await, share)
        }));
        true
    }

    /// Looks for the subscription of a monitor that has a seat: from then on its end would be told. One at a time.
    pub(super) fn check_subscription(&mut self) -> bool {
        if self.checking.is_some() || !self.is_attached {
            return false;
        }
        let Some(monitor) = self.monitors.iter_mut().find(|monitor| !monitor.is_checked) else {
            return false;
        };
        monitor.is_checked = true;
        let Some(subscription) = monitor.interest.subscription else {
            return true;
        };
        let (shared, user_agent) = (Arc::clone(&self.shared), self.user_agent);
        self.checking = Some(Box::pin(async move {
            let asked = shared.broker.has_subscription(user_agent, subscription).await;
            // Trouble says nothing about it (PR-3).
            (subscription, asked.unwrap_or(true))
        }));
        true
    }

    pub(super) fn take_answers(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let mut busy = false;
        if let Some(attachment) = poll_slot(&mut self.attaching, cx) {
            let outcome = match attachment {
                Attachment::Asked(outcome, share) => {
                    self.hold(share);
                    outcome
                }
                Attachment::NotAsked => {
                    self.has_no_seat = true;
                    AttachOutcome::Trouble
                }
            };
            self.is_attached = true;
            self.session.attached(outcome, now, &mut self.actions);
            if self.leaving {
                self.session.drain(now, &mut self.actions);
            }
            busy = true;
        }
        if let Some((outcome, share)) = poll_slot(&mut self.page, cx) {
            self.hold(share);
            self.session.paged(outcome, now, &mut self.actions);
            busy = true;
        }
        if let Some(not_taken) = poll_slot(&mut self.acknowledging, cx) {
            self.acknowledged.extend(not_taken);
            busy = true;
        }
        if let Some((subscription, is_there)) = poll_slot(&mut self.checking, cx) {
            if !is_there {
                self.actions.push(Action::Ended(Some(subscription)));
            }
            busy = true;
        }
        busy
    }

    /// Keeps a share until what it was for is written; two are one.
    fn hold(&mut self, share: Option<OwnedSemaphorePermit>) {
        match (&mut self.delivering, share) {
            (Some(held), Some(more)) => held.merge(more),
            (held @ None, share) => *held = share,
            (Some(_), None) => {}
        }
    }
}
