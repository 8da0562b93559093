//! What the admin API and gauges show of a store: no content, no topic, no secret.

/// What the admin API shows of a user agent. No content, no topic, no secret.
#[derive(Clone, Debug, serde::Serialize)]
pub struct UserAgentReport {
    /// Messages that wait.
    pub messages: u32,
    /// Bytes that count against the budget.
    pub bytes: u64,
    /// The number of the last message accepted.
    pub last_number: u64,
    /// Whether a session of this process or another holds the seat.
    pub seated: bool,
    /// Whether no push was accepted for it and it never came back: such a record is kept for a short time only (PR-29).
    pub unused: bool,
    /// Seconds until an abandoned record vanishes (PR-29).
    pub retained_for_secs: u64,
    /// Its subscriptions.
    pub subscriptions: Vec<SubscriptionReport>,
}

/// What the admin API shows of a subscription.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SubscriptionReport {
    /// Its id, in hexadecimal.
    pub id: String,
    /// The user agent's name for it.
    pub name: String,
    /// Whether it is restricted to one application server.
    pub restricted: bool,
    /// Messages that wait.
    pub messages: u32,
    /// Bytes that count against the budget.
    pub bytes: u64,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
}

/// What the store holds, for gauges. May lag by a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Messages that wait, expired ones included until they are swept.
    pub messages: u64,
    /// Bytes that count against budgets.
    pub bytes: u64,
    /// User agents with a record.
    pub user_agents: u64,
}

/// A difference of [`Usage`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct UsageChange {
    pub(super) messages: i64,
    pub(super) bytes: i64,
    pub(super) user_agents: i64,
}

impl Usage {
    pub(super) fn change(&mut self, by: UsageChange) {
        self.messages = self.messages.saturating_add_signed(by.messages);
        self.bytes = self.bytes.saturating_add_signed(by.bytes);
        self.user_agents = self.user_agents.saturating_add_signed(by.user_agents);
    }
}
