//! What of a connection's frames has arrived: a PING is sent behind them, and its answer confirms them (PR-25).
//!
//! Each monitor that wants to know asks, and gets a number. A PING that goes out confirms all numbers up to the last that was
//! asked before the poll that wrote the frames. One PING is in flight at a time.

#[derive(Default)]
pub(super) struct Confirmation {
    asked: u64,
    confirmed: u64,
    /// Like `confirmed`, for promises: a peer that has sent GOAWAY ignores promises, and still answers the PING behind them.
    arrived: u64,
    /// What the PING in flight will confirm.
    pinged: Option<u64>,
    /// More streams are in use than the peer takes: a PING would overtake what `h2` holds back, so it confirms nothing.
    is_doubtful: bool,
}

impl Confirmation {
    pub(super) fn ask(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }

    pub(super) fn asked(&self) -> u64 {
        self.asked
    }

    pub(super) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    pub(super) fn arrived(&self) -> u64 {
        self.arrived
    }

    /// No PING confirms anything any more.
    pub(super) fn doubt(&mut self) {
        self.is_doubtful = true;
    }

    /// Whether something was asked that will never be confirmed.
    pub(super) fn is_in_vain(&self, asked: u64) -> bool {
        self.is_doubtful && asked > self.confirmed
    }

    /// Whether to send a PING that confirms everything up to `asked`.
    pub(super) fn begin_ping(&mut self, asked: u64) -> bool {
        let is_wanted = !self.is_doubtful && self.pinged.is_none() && asked > self.confirmed;
        if is_wanted {
            self.pinged = Some(asked);
        }
        is_wanted
    }

    /// The PING was answered. Returns whether something is confirmed.
    pub(super) fn ponged(&mut self, peer_leaves: bool) -> bool {
        let Some(pinged) = self.pinged.take() else {
            return false;
        };
        self.confirmed = pinged;
        if !peer_leaves {
            self.arrived = pinged;
        }
        true
    }
}
