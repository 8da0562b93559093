//! The end of a world: is every user agent connected again, and was every promise kept?

use std::sync::Arc;

use push_protocol::SubscriptionName;
use push_protocol::session::user_agent::{Stage, UserAgent};
use push_service::storage::Storage;

use crate::agent::Outage;
use crate::application::{LONG, Sender, parse_push_resource};
use crate::checker::Done;
use crate::steps::at_once;
use crate::world::World;

/// A message is larger than its body by less than this, in bytes: its names and headers.
const LARGEST_BESIDE_BODY: usize = 300;

impl World {
    /// WS-REG-9, WP-RFR-2: every subscription that is wanted stands, and its application server knows where.
    pub(crate) fn probe(&mut self) {
        let since = self.checker.counts.channels - self.quiet_channels;
        if since > 0 {
            let what = format!("{since} connections although all has been calm for long");
            return self.checker.violate("WS-CLS-1", what);
        }
        self.probes_from = self.checker.records.len();
        for index in 0..self.agents.len() {
            for name in self.agents[index].wanted.clone().into_keys() {
                if let Err(what) = self.stands(index, name) {
                    let what = format!("after all is calm, {name} of user agent {index}: {what}");
                    return self.checker.violate("WP-RFR-2", what);
                }
                self.send_one(Some((index, name)));
            }
        }
    }

    /// PR-46: an application fails on all messages of one subscription, of which there are as many as the service brings at
    /// once, but for one of each of the others.
    pub(crate) fn stuck(&mut self) {
        let (limits, names) = (Arc::clone(&self.parameters.user_agent), self.parameters.names);
        let largest = self.parameters.body as usize + LARGEST_BESIDE_BODY;
        let has_room = limits.held_messages >= 2 && limits.held_bytes >= 3 * largest;
        let is_evicting = self.parameters.queue_limits.messages < 1_000;
        let burst = usize::from(self.parameters.service.in_flight).saturating_sub(names);
        if !has_room || is_evicting || burst == 0 {
            return;
        }
        for index in 0..self.agents.len() {
            let wanted = self.agents[index].wanted.clone();
            let Some(name) = wanted
                .into_keys()
                .next()
                .filter(|_| self.agents[index].wanted.len() > 1)
            else {
                continue;
            };
            self.checker.counts.stuck += 1;
            self.stuck.push((index, name));
            self.agents[index].outage = Some(Outage {
                until: u64::MAX,
                name: Some(name),
                is_known: self.chance.one_in(2),
            });
            for _ in 0..burst {
                self.send_one(Some((index, name)));
            }
        }
    }

    /// A message to each other subscription of the same user agents.
    pub(crate) fn beside(&mut self) {
        self.beside_from = self.checker.records.len();
        for (index, stuck) in self.stuck.clone() {
            for name in self.agents[index].wanted.clone().into_keys() {
                if name != stuck {
                    self.send_one(Some((index, name)));
                }
            }
        }
    }

    /// They are handled by now; and what was stuck may go on.
    pub(crate) fn judge(&mut self) {
        for message in self.beside_from..self.checker.records.len() {
            if self.checker.records[message].done != Some(Done::Handled) {
                let what = format!("message {message} was not handled beside a subscription that fails");
                self.checker.violate("PR-46", what);
            }
        }
        for agent in &mut self.agents {
            agent.outage = None;
        }
    }

    fn stands(&self, index: usize, name: SubscriptionName) -> Result<(), String> {
        let agent = &self.agents[index];
        let machine = agent.machine.as_ref().ok_or("its process is not running")?;
        if !machine.is_live() {
            return Err("its user agent has no channel".to_owned());
        }
        let registrations = &machine.durable().registrations;
        let stage = registrations.get(&name).map(|registration| &registration.stage);
        let Some(Stage::Confirmed(push_resource)) = stage else {
            return Err(format!("it is {stage:?}"));
        };
        let keys = agent.disk.keys.get(&name).copied().unwrap_or_default();
        let told = self.senders.get(&(index, name)).copied();
        let now = parse_push_resource(push_resource).map(|(user_agent, subscription)| Sender {
            user_agent,
            subscription,
            keys,
        });
        if told != now {
            return Err(format!("its server was told {told:?}, and it is at {now:?}"));
        }
        Ok(())
    }

    /// Everything that was promised was kept.
    pub(crate) fn close_books(&mut self) {
        for message in 0..self.checker.records.len() {
            let record = &self.checker.records[message];
            if record.ttl_secs > 0 && record.ttl_secs < LONG && record.done.is_none() {
                self.checker.counts.expired += 1;
            }
            let record = &self.checker.records[message];
            if record.promised && record.ttl_secs >= LONG && record.excused.is_none() {
                self.close_record(message);
            }
            let is_probe = message >= self.probes_from;
            if is_probe && self.checker.records[message].done.is_none() {
                let what = format!("message {message}, sent when all was calm, did not arrive");
                self.checker.violate("WP-RFR-2", what);
            }
        }
        at_once(self.storage.expire(10_000));
        let left = self.storage.usage().map_or(0, |usage| usage.messages);
        if left > 0 {
            let what = format!("{left} messages are left in storage although every user agent is done");
            self.checker.violate("PR-18", what);
        }
    }

    /// PR-1, PR-7, PR-11, PR-17, PR-22, WS-ACK-5, WP-RCV-6: a message of which 201 was said was handled, or given up,
    /// even if hints were lost, other messages filled the window, or a filter held it back.
    fn close_record(&mut self, message: usize) {
        let record = &self.checker.records[message];
        let (id, agent) = (record.id, record.agent);
        let (rule, what) = match record.done {
            Some(Done::Handled | Done::GivenUp) => return,
            Some(done) => ("WP-RFR-1", format!("is {done:?}")),
            None if id.is_none() => ("PR-1", "was never stored".to_owned()),
            None if record.offered == 0 => ("PR-11", "was never offered".to_owned()),
            None if record.attempts == 0 => ("WS-ACK-5", "was offered and never handed over".to_owned()),
            None => (
                "WP-RCV-6",
                "was tried, and neither handled nor given up".to_owned(),
            ),
        };
        let live = self.agents[agent]
            .machine
            .as_ref()
            .is_some_and(UserAgent::is_live);
        let what = format!("message {message} {id:?} for {agent} (live: {live}), answered 201, {what}");
        self.checker.violate(rule, what);
    }
}
