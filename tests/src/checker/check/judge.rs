//! The rules, one after the other.

use std::collections::HashMap;

use super::facts::{Facts, Message, REPLICATION_LAG};
use super::{Acknowledgements, Kind, Lost, Rules, Verdict, Violation};
use crate::checker::history::{
    AgentNumber, ConnectionNumber, Entry, MessageNumber, NodeNumber, RequestResult, SECOND, Time, What,
};

/// How long after it was read an acknowledgement counts as committed: the 100 ms of PR-4, and 150 ms more for a busy
/// machine.
const COMMITTED_AFTER: Time = 250_000;

/// How long after a failover nodes need to compare their channels with storage: the `cluster.reconcile` of the trials.
const COMPARED_WITHIN: Time = 5 * SECOND;

/// The close code of a channel that was displaced.
const DISPLACED: u16 = 1011;

/// The node that is on the deposed primary's side of a partition.
const CUT_OFF: NodeNumber = 0;

pub(super) struct Judge<'a> {
    pub(super) history: &'a [Entry],
    pub(super) facts: &'a Facts,
    pub(super) rules: Rules,
    pub(super) verdict: Verdict,
}

impl Judge<'_> {
    pub(super) fn violation(&mut self, kind: Kind, what: impl Into<String>, mut proof: Vec<usize>) {
        proof.sort_unstable();
        proof.dedup();
        let what = what.into();
        self.verdict.violations.push(Violation { kind, what, proof });
    }

    /// Whether the row allows that the result of this request is lost.
    pub(super) fn may_be_lost(&self, place: usize) -> bool {
        let completed = self.history[place].completed;
        match self.rules.lost {
            Lost::Nothing => false,
            Lost::JustBefore => self.facts.is_just_before(completed),
            Lost::ByTheDeposed => {
                let node = self.facts.node_of(self.history, place);
                let is_meanwhile = self.facts.is_trouble(completed, completed);
                self.facts.is_just_before(completed)
                    || (is_meanwhile && node.is_none_or(|node| node == CUT_OFF))
            }
            Lost::Recent | Lost::NotAsked => self.facts.is_recent(completed),
        }
    }

    /// Whether the row allows that an acknowledgement is forgotten that was carried out between these times.
    pub(super) fn may_be_forgotten(&self, from: Time, to: Time) -> bool {
        self.rules.acknowledgements == Acknowledgements::MayReturn
            && self.facts.is_trouble(from, to.saturating_add(REPLICATION_LAG))
    }

    /// The same for an acknowledgement of the history.
    pub(super) fn is_forgettable(&self, acknowledgement: usize) -> bool {
        let entry = &self.history[acknowledgement];
        self.may_be_forgotten(entry.invoked, entry.completed)
    }

    /// Whether the row allows that the service closes a channel that was opened then.
    ///
    /// A late attach, while storage is in trouble, takes the seat from a newer channel (PR-10). A seat does not wait for
    /// replicas, so after a failover an older channel may have it. Both happen only to channels that were opened during
    /// the fault, and are noticed soon after it.
    pub(super) fn may_be_closed(&self, agent: AgentNumber, opened: Time, closed: Time, code: u16) -> bool {
        if !self.facts.is_trouble(opened, opened + SECOND) {
            return false;
        }
        match self.rules.lost {
            // The user agent itself may be lost.
            Lost::Recent | Lost::ByTheDeposed | Lost::NotAsked => true,
            Lost::Nothing | Lost::JustBefore => {
                let has_failover = self.rules.acknowledgements == Acknowledgements::MayReturn;
                code == DISPLACED
                    && self
                        .facts
                        .is_trouble(closed.saturating_sub(COMPARED_WITHIN), closed)
                    && (has_failover || self.facts.has_open_hello(self.history, agent, opened))
            }
        }
    }

    pub(super) fn count(&mut self) {
        let counts = &mut self.verdict.counts;
        for entry in self.history {
            match &entry.what {
                What::Hello { result, .. } => match result {
                    RequestResult::Ok => counts.hellos += 1,
                    _ => counts.hellos_refused += 1,
                },
                What::Register { status: 200, .. } => counts.registers += 1,
                What::Unregister { status: 200, .. } => counts.unregisters += 1,
                What::Push { status, .. } => {
                    counts.pushes += 1;
                    match status {
                        201 | 202 => counts.accepted += 1,
                        503 => {
                            counts.refused += 1;
                            let wait = entry.completed - entry.invoked;
                            counts.longest_refusal = counts.longest_refusal.max(wait);
                        }
                        0 => counts.unanswered += 1,
                        _ => {}
                    }
                }
                What::Acknowledge {
                    result: RequestResult::Ok,
                    ..
                } => counts.acknowledgements += 1,
                What::Cancel { status: 204, .. } => counts.cancels += 1,
                What::Receipt { .. } => counts.receipts += 1,
                What::NodeDown { .. } => counts.nodes_down += 1,
                _ => {}
            }
        }
    }

    /// Checks the answers to requests.
    pub(super) fn answers(&mut self) {
        for (place, entry) in self.history.iter().enumerate() {
            match &entry.what {
                What::Hello {
                    agent,
                    is_known: true,
                    is_new_identity: true,
                    result: RequestResult::Ok,
                    ..
                } => {
                    let old = self.facts.subscriptions.values().any(|subscription| {
                        let mine = subscription.registers.iter().any(|place| {
                            let register = &self.history[*place];
                            matches!(&register.what, What::Register { agent: whose, status: 200, .. } if whose == agent)
                                && register.completed < entry.invoked
                                && !self.may_be_lost(*place)
                        });
                        mine && subscription
                            .unregisters
                            .iter()
                            .all(|end| self.history[*end].invoked > entry.completed)
                    });
                    if old {
                        let what =
                            format!("user agent {agent} has subscriptions and was given a new identity");
                        self.violation(Kind::Unknown, what, vec![place]);
                    }
                }
                What::Register { status, .. } if ![0, 200, 500].contains(status) => {
                    self.violation(
                        Kind::Status,
                        format!("register was answered {status}"),
                        vec![place],
                    );
                }
                What::Unregister { status, .. } if ![0, 200, 500].contains(status) => {
                    self.violation(
                        Kind::Status,
                        format!("unregister was answered {status}"),
                        vec![place],
                    );
                }
                What::Push { .. } => self.pushed(place),
                What::Cancel { status, .. } if ![0, 204, 404, 503].contains(status) => {
                    self.violation(Kind::Status, format!("DELETE was answered {status}"), vec![place]);
                }
                What::ReceiptsGone if self.rules.lost == Lost::Nothing => {
                    let what = "a receipt subscription was answered \"gone\"";
                    self.violation(Kind::Unknown, what, vec![place]);
                }
                What::Closed {
                    agent,
                    connection,
                    node,
                    code,
                } => {
                    let opened = self.facts.opened.get(connection).copied().unwrap_or_default();
                    let is_excused = self.facts.was_down(*node, opened, entry.completed)
                        || self.may_be_closed(*agent, opened, entry.completed, *code);
                    if !is_excused {
                        let what = format!("a channel was closed with {code} while its node lived");
                        self.violation(Kind::Closed, what, vec![place]);
                    } else {
                        self.verdict.counts.closed += 1;
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn pushed(&mut self, place: usize) {
        let entry = &self.history[place];
        let What::Push {
            message,
            subscription,
            status,
            has_retry_after,
            receipt,
            ..
        } = &entry.what
        else {
            return;
        };
        match status {
            404 | 410 => {
                let ending = self.facts.ending(self.history, *subscription);
                if ending.is_some_and(|ending| ending < entry.completed) {
                    return;
                }
                let registers = &self.facts.subscriptions[subscription].registers;
                let is_lost = registers
                    .first()
                    .is_some_and(|register| self.may_be_lost(*register));
                if !is_lost {
                    let what = format!(
                        "a push to subscription {subscription}, which is there, was answered {status}"
                    );
                    let mut proof = registers[..registers.len().min(1)].to_vec();
                    proof.push(place);
                    self.violation(Kind::Unknown, what, proof);
                }
            }
            201 | 202 => {
                let ended = self.facts.ended(self.history, *subscription);
                if let Some((_, end)) = ended.filter(|(ended, _)| *ended < entry.invoked)
                    && !self.may_be_lost(end)
                {
                    let what = format!("message {message} was accepted after its subscription had ended");
                    self.violation(Kind::Undead, what, vec![end, place]);
                }
                if *status != if *receipt { 202 } else { 201 } {
                    let what = format!("message {message} was answered {status}");
                    self.violation(Kind::Status, what, vec![place]);
                }
            }
            503 if !has_retry_after => {
                self.violation(Kind::Status, "503 does not say when to come again", vec![place]);
            }
            0 | 503 => {}
            _ => self.violation(
                Kind::Status,
                format!("message {message} was answered {status}"),
                vec![place],
            ),
        }
    }

    /// Checks the messages that arrived.
    pub(super) fn offers(&mut self) {
        for place in &self.facts.nobodys {
            self.violation(
                Kind::NeverSent,
                "a message arrived that was not sent there",
                vec![*place],
            );
        }
        for (number, message) in &self.facts.messages {
            let Some(push) = message.push else {
                // Its sender still waits for the answer.
                continue;
            };
            if message.is_refused()
                && let Some(offer) = message.offers.first()
            {
                let what = format!("message {number} was refused with {} and arrived", message.status);
                self.violation(Kind::NeverSent, what, vec![push, *offer]);
            }
            let mut channels: HashMap<ConnectionNumber, usize> = HashMap::new();
            let mut first: Option<(&str, usize)> = None;
            for place in message.offers.iter().copied() {
                let What::Offer {
                    connection, version, ..
                } = &self.history[place].what
                else {
                    continue;
                };
                match first {
                    None => first = Some((version, place)),
                    Some((before, other)) => {
                        self.verdict.counts.repeats += 1;
                        if before != version {
                            let what = format!("message {number} came again with another id");
                            self.violation(Kind::Returned, what, vec![push, other, place]);
                        }
                    }
                }
                if let Some(before) = channels.insert(*connection, place)
                    && !message
                        .acknowledgements
                        .iter()
                        .any(|acknowledgement| self.is_forgettable(*acknowledgement))
                {
                    let what = format!("message {number} came twice on one channel");
                    self.violation(Kind::Returned, what, vec![push, before, place]);
                }
                self.offered(*number, message, *connection, place);
            }
        }
    }

    /// Checks a delivered message against what had been confirmed before its channel was opened.
    pub(super) fn offered(
        &mut self,
        number: MessageNumber,
        message: &Message,
        connection: ConnectionNumber,
        place: usize,
    ) {
        let Some(opened) = self.facts.opened.get(&connection).copied() else {
            return;
        };
        let committed = message.acknowledgements.iter().copied().find(|acknowledgement| {
            let Entry {
                invoked,
                completed,
                what,
            } = &self.history[*acknowledgement];
            let What::Acknowledge {
                node,
                result: RequestResult::Ok,
                ..
            } = what
            else {
                return false;
            };
            let committed = completed + COMMITTED_AFTER;
            committed < opened
                && !self.facts.was_down(*node, *invoked, committed)
                && !self.facts.is_trouble(*invoked, committed)
        });
        if let Some(acknowledgement) = committed {
            self.verdict.counts.forgotten += 1;
            if !self.is_forgettable(acknowledgement) {
                let what =
                    format!("message {number} came again though its acknowledgement had been committed");
                self.violation(
                    Kind::Returned,
                    what,
                    message.push.into_iter().chain([acknowledgement, place]).collect(),
                );
            }
        }
        let confirmed = message.cancels.iter().copied().find(|place| {
            let cancel = &self.history[*place];
            matches!(
                cancel.what,
                What::Cancel {
                    status: 204 | 404,
                    ..
                }
            ) && cancel.completed < opened
                && !self.may_be_lost(*place)
        });
        if let Some(cancel) = confirmed {
            let what = format!("message {number} arrived after it had been taken back");
            let proof = message.push.into_iter().chain([cancel, place]).collect();
            self.violation(Kind::Undead, what, proof);
        }
        let ended = self.facts.ended(self.history, message.subscription);
        if let Some((_, end)) = ended.filter(|(ended, end)| *ended < opened && !self.may_be_lost(*end)) {
            let what = format!("message {number} arrived after its subscription had ended");
            let proof = message.push.into_iter().chain([end, place]).collect();
            self.violation(Kind::Undead, what, proof);
        }
    }

    /// Checks for messages that did not arrive.
    pub(super) fn losses(&mut self) {
        if self.rules.lost == Lost::NotAsked {
            return;
        }
        for (number, message) in &self.facts.messages {
            let stays_away = message.is_accepted() && message.offers.is_empty();
            if !stays_away || self.facts.may_be_absent(self.history, *number) {
                continue;
            }
            let registers = &self.facts.subscriptions[&message.subscription].registers;
            let mut requests = message.push.iter().chain(registers.first());
            if requests.any(|place| self.may_be_lost(*place)) {
                self.verdict.counts.lost_by_rule += 1;
                continue;
            }
            self.verdict.counts.lost += 1;
            let what = format!(
                "message {number} was answered {} and never arrived",
                message.status
            );
            self.violation(Kind::Lost, what, message.push.into_iter().collect());
        }
    }

    /// Checks the order of first deliveries for each subscription.
    pub(super) fn order(&mut self) {
        for subscription in self.facts.subscriptions.values() {
            // The delivered message with the latest answer so far, and the time of that answer.
            let mut latest: Option<(usize, MessageNumber, Time)> = None;
            for number in &subscription.messages {
                let message = &self.facts.messages[number];
                let Some(offer) = message.offers.first().copied().filter(|_| message.is_accepted()) else {
                    continue;
                };
                match latest {
                    // The messages of two primaries have no common order.
                    Some((before, _, answered))
                        if offer < before
                            && matches!(self.rules.lost, Lost::Recent | Lost::ByTheDeposed)
                            && self.facts.is_trouble(answered, answered) => {}
                    Some((before, other, answered)) if offer < before && answered < message.invoked => {
                        let what = format!(
                            "message {number} came before message {other}, which was accepted earlier"
                        );
                        let pushes = [message.push, self.facts.messages[&other].push];
                        let proof = pushes.into_iter().flatten().chain([offer, before]).collect();
                        self.violation(Kind::Order, what, proof);
                    }
                    Some((before, ..)) if offer < before => {}
                    _ => latest = Some((offer, *number, message.answered)),
                }
            }
        }
    }

    pub(super) fn receipts(&mut self) {
        let by_location: HashMap<&String, MessageNumber> = self
            .facts
            .messages
            .iter()
            .filter_map(|(number, message)| Some((message.location.as_ref()?, *number)))
            .collect();
        let mut unclaimed = Vec::new();
        for (location, places) in &self.facts.receipts {
            match by_location.get(location) {
                Some(number) => self.told(*number, places),
                None => unclaimed.extend(places.first().copied()),
            }
        }
        // A message whose sender got no answer may have one receipt.
        let messages = self.facts.messages.values();
        let unanswered = messages
            .filter(|message| message.receipt && !message.is_accepted())
            .count();
        if unclaimed.len() > unanswered {
            let what = format!(
                "{} receipts are for no message that was answered 202, and only {unanswered} were not answered",
                unclaimed.len()
            );
            self.violation(Kind::Receipt, what, unclaimed);
        }
        if self.rules.lost == Lost::NotAsked {
            return;
        }
        for number in self.facts.untold(self.history) {
            let message = &self.facts.messages[&number];
            if !message.push.is_some_and(|push| self.may_be_lost(push)) {
                let what = format!("message {number} was answered 202 and has no receipt");
                let mut proof: Vec<usize> = message.push.into_iter().collect();
                proof.extend(&message.offers);
                proof.extend(&message.acknowledgements);
                proof.extend(&message.cancels);
                self.violation(Kind::Receipt, what, proof);
            }
        }
    }

    /// The receipts of one message.
    pub(super) fn told(&mut self, number: MessageNumber, places: &[usize]) {
        let message = &self.facts.messages[&number];
        let mut all: Vec<usize> = message.push.into_iter().collect();
        all.extend(places);
        let mut channels = HashMap::new();
        let mut first = None;
        for place in places {
            let entry = &self.history[*place];
            let What::Receipt {
                connection, status, ..
            } = &entry.what
            else {
                continue;
            };
            // A receipt is acknowledged as soon as it has arrived.
            if let Some(told) = channels.insert(*connection, entry.completed)
                && !self.may_be_forgotten(told, told)
            {
                let what = format!("message {number} has two receipts on one connection");
                self.violation(Kind::Receipt, what, all.clone());
            }
            let (before, told_first) = *first.get_or_insert((*status, entry.completed));
            // If the DELETE that ended a message is lost, it arrives after all.
            let is_lost = matches!(self.rules.lost, Lost::Recent | Lost::ByTheDeposed)
                && self.facts.is_recent(told_first);
            if before != *status && !is_lost {
                let what = format!("the receipt of message {number} says {status} after {before}");
                self.violation(Kind::Receipt, what, all.clone());
            }
            if let Some(why) = self.contradicts(message, entry.completed, *status) {
                let what = format!("the receipt of message {number} says {status}, and {why}");
                self.violation(Kind::Receipt, what, all.clone());
            }
        }
    }

    /// Why a receipt can't be true.
    pub(super) fn contradicts(&self, message: &Message, told: Time, status: u16) -> Option<&'static str> {
        let before = |place: &usize| self.history[*place].invoked <= told;
        match status {
            204 => (!message.acknowledgements.iter().any(before)).then_some("it had not been acknowledged"),
            410 => {
                let is_over = message.invoked + message.ttl * SECOND <= told + self.rules.leap
                    || message.cancels.iter().any(before)
                    || self
                        .facts
                        .ending(self.history, message.subscription)
                        .is_some_and(|ending| ending <= told);
                (!is_over).then_some("it had not ended")
            }
            _ => Some("no receipt says that"),
        }
    }
}
