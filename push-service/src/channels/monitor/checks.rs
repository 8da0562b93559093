//! Whether what a monitor names exists: storage is asked once for each monitor that names a subscription.

use std::sync::Arc;
use std::task::Context;

use push_protocol::session::Action;

use super::task::MonitorTask;
use crate::channels::driver::poll_step;

impl MonitorTask {
    /// Looks for the subscription of a monitor that has a seat: from then on its end would be announced. One at a time.
    pub(super) fn check_subscription(&mut self) -> bool {
        if self.checking.is_some() || !self.driver.has_attached() {
            return false;
        }
        let Some(monitor) = self.monitors.iter_mut().find(|monitor| !monitor.is_checked) else {
            return false;
        };
        monitor.is_checked = true;
        let Some(subscription) = monitor.interest.subscription else {
            return true;
        };
        let (shared, user_agent) = (Arc::clone(&self.driver.shared), self.user_agent);
        self.checking = Some(Box::pin(async move {
            let asked = shared.broker.has_subscription(user_agent, subscription).await;
            // Trouble says nothing about the subscription (PR-3).
            (subscription, asked.unwrap_or(true))
        }));
        true
    }

    pub(super) fn take_check(&mut self, cx: &mut Context<'_>) -> bool {
        let Some((subscription, is_there)) = poll_step(&mut self.checking, cx) else {
            return false;
        };
        if !is_there {
            self.actions.push(Action::Ended(Some(subscription)));
        }
        true
    }
}
