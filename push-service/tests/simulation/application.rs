//! Applications and their application servers: who subscribes, who sends, and who is told where to.
//!
//! The application lives in the process of its user agent and forgets what it was about to do when that dies; which
//! subscriptions it wants, and whose push resource its server got once, it remembers.

use bytes::Bytes;
use push_protocol::session::user_agent::{PushResource, Stage};
use push_protocol::{Coding, Content, SubscriptionId, SubscriptionName, Topic, Ttl, Urgency, UserAgentId};
use push_service::storage::{Caps, Confirm, Enqueue, Enqueued, Removal, Storage};

use crate::checker::Record;
use crate::parameters::Trouble;
use crate::plant::Plant;
use crate::steps::at_once;
use crate::trace::trace;
use crate::world::{Event, World};

/// An application server: what it knows of one subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sender {
    pub(crate) user_agent: UserAgentId,
    pub(crate) subscription: SubscriptionId,
    pub(crate) keys: u32,
}

/// A time to live that no world outlives; in seconds.
pub(crate) const LONG: u32 = 86_400;

/// So often the application fails on a bad message. Chosen: far more often than it may, and not for ever, because two bad
/// messages and no other look like an outage, in which nothing is given up.
const BAD: u32 = 100;

/// Reads what the simulated service makes of a subscription.
pub(crate) fn parse_push_resource(push_resource: &PushResource) -> Option<(UserAgentId, SubscriptionId)> {
    let path = push_resource.as_str().strip_prefix("https://push.example.net/")?;
    let (user_agent, subscription) = path.split_once('/')?;
    Some((
        UserAgentId::parse(user_agent)?,
        SubscriptionId::parse(subscription)?,
    ))
}

fn name_of(agent: usize, name: usize) -> SubscriptionName {
    let mut bytes = [0; 16];
    bytes[0] = agent as u8;
    bytes[15] = name as u8;
    SubscriptionName(bytes)
}

/// Subscriptions.
impl World {
    pub(crate) fn subscribe(&mut self, index: usize, name: usize) {
        let (name, now) = (name_of(index, name), self.moment());
        let agent = &mut self.agents[index];
        let is_kept =
            self.plant == Some(Plant::KeepUnsubscribed) && agent.wishes as usize == self.parameters.names;
        if agent.wanted.contains_key(&name) || is_kept {
            return;
        }
        agent.wishes += 1;
        agent.wanted.insert(name, agent.wishes);
        trace!(self, "the application of {index} wants {name}");
        self.tell_machine(index, |machine, out| machine.subscribe(name, None, now, out));
    }

    pub(crate) fn unsubscribe(&mut self, index: usize, name: usize) {
        let (name, now) = (name_of(index, name), self.moment());
        let Some(life) = self.agents[index].wanted.remove(&name) else {
            return;
        };
        self.checker.counts.unsubscribed += 1;
        trace!(self, "the application of {index} wants {name} no more");
        self.agents[index].introduced.remove(&name);
        self.checker.forget_streaks(index, Some(name));
        self.senders.remove(&(index, name));
        let of = |record: &Record| (record.agent, record.name, record.life) == (index, name, life);
        self.checker.excuse_all(self.now, "unsubscribed", of);
        if self.plant != Some(Plant::KeepUnsubscribed) {
            self.tell_machine(index, |machine, out| machine.unsubscribe(name, now, out));
        }
    }

    /// A new process: the application says again what it wants, and sees what it may have missed.
    pub(crate) fn reconcile(&mut self, index: usize) {
        let now = self.moment();
        let wanted = self.agents[index].wanted.clone();
        for name in wanted.keys().copied() {
            self.tell_machine(index, |machine, out| machine.subscribe(name, None, now, out));
        }
        let Some(machine) = &self.agents[index].machine else {
            return;
        };
        let registrations = machine.durable().registrations.clone();
        for (name, registration) in registrations {
            let known = self.agents[index].introduced.contains(&name);
            match registration.stage {
                Stage::Asked | Stage::Confirmed(_)
                    if !wanted.contains_key(&name) && self.plant == Some(Plant::KeepUnsubscribed) => {}
                Stage::Asked | Stage::Confirmed(_) if !wanted.contains_key(&name) => {
                    self.tell_machine(index, |machine, out| machine.unsubscribe(name, now, out));
                }
                Stage::Confirmed(push_resource) if !known => {
                    self.tell_sender(index, name, push_resource, false);
                }
                _ => {}
            }
        }
    }

    /// The application takes a push resource to its server, in its time.
    pub(crate) fn tell_sender(
        &mut self,
        index: usize,
        name: SubscriptionName,
        push_resource: PushResource,
        renewed: bool,
    ) {
        let thinks = self.chance.within(0..=5_000);
        let agent = &mut self.agents[index];
        agent.application_at = agent.application_at.max(self.now + thinks);
        let (at, life) = (agent.application_at, agent.life);
        let keys = agent.disk.keys.get(&name).copied().unwrap_or_default();
        self.at(
            at,
            Event::Switch {
                agent: index,
                life,
                name,
                push_resource,
                keys,
                renewed,
            },
        );
    }

    pub(crate) fn switch(
        &mut self,
        index: usize,
        life: u64,
        name: SubscriptionName,
        push_resource: &PushResource,
        keys: u32,
        renewed: bool,
    ) {
        let agent = &mut self.agents[index];
        if agent.life != life || !agent.wanted.contains_key(&name) {
            return;
        }
        let Some((user_agent, subscription)) = parse_push_resource(push_resource) else {
            let what = format!("{index} got a push resource that its service never made");
            return self.checker.violate("WS-REG-5", what);
        };
        agent.introduced.insert(name);
        trace!(
            self,
            "the server of {index} sends to {user_agent}/{subscription}, keys {keys}"
        );
        let sender = Sender {
            user_agent,
            subscription,
            keys,
        };
        self.senders.insert((index, name), sender);
        if renewed {
            self.tell_machine(index, |machine, out| {
                machine.confirm_renewal(name, push_resource, out);
            });
        }
    }
}

/// Messages.
impl World {
    pub(crate) fn send_on(&mut self) {
        if self.calm {
            return;
        }
        self.send_one(None);
        let wait = self.chance.within(0..=2 * self.parameters.send_every);
        self.after(wait, Event::Send);
    }

    /// A message to any subscription, or to a certain one.
    pub(crate) fn send_one(&mut self, to: Option<(usize, SubscriptionName)>) {
        let known: Vec<_> = match to {
            Some(to) => vec![to],
            None => self.senders.keys().copied().collect(),
        };
        if known.is_empty() {
            return;
        }
        let (agent, name) = self.chance.pick(&known);
        let (Some(sender), Some(life)) = (
            self.senders.get(&(agent, name)).copied(),
            self.agents[agent].wanted.get(&name).copied(),
        ) else {
            return;
        };
        let ttl_secs = self.chance.pick(&[0, 5, 30, LONG, LONG, LONG, LONG, LONG]);
        let topic = match self.chance.within(0..=11) {
            0 => Topic::parse("news"),
            1 => Topic::parse("parameters"),
            _ => None,
        };
        let fails = if self.chance.one_in(self.parameters.fail_one_in) {
            self.chance.pick(&[1, 1, 2, BAD])
        } else {
            0
        };
        let kills = !self.calm && self.chance.one_in(self.parameters.kills_one_in);
        let urgency = self
            .chance
            .pick(&[Urgency::VeryLow, Urgency::Low, Urgency::Normal, Urgency::High]);
        let has_filter = self.parameters.troubles.contains(&Trouble::Filter);
        let calm = self.calm;
        let message = self.checker.sent(Record {
            agent,
            name,
            life,
            subscription: sender.subscription,
            ttl_secs: if calm { LONG } else { ttl_secs },
            topic: topic.filter(|_| !calm),
            keys: sender.keys,
            lane: if has_filter { urgency as u8 } else { 0 },
            urgency,
            kills,
            fails: if calm { 0 } else { fails },
            promised: false,
            id: None,
            expires_at: 0,
            excused: None,
            acknowledged_at: None,
            offered: 0,
            attempts: 0,
            released: 0,
            uncounted: 0,
            failed: 0,
            own_failures: 0,
            crashed: 0,
            alias: String::new(),
            done: None,
        });
        let wait = self.chance.within(0..=self.parameters.delay);
        self.after(wait, Event::Enqueue(message));
    }

    /// The message reaches the node.
    pub(crate) fn enqueue(&mut self, message: usize) {
        if self.node.down {
            return;
        }
        if self.plant == Some(Plant::LostEnqueue) && !self.checker.records[message].promised {
            self.checker.answered_201(message);
            return self.after(5_000, Event::Enqueue(message));
        }
        let nonce = self.chance.bits();
        let size = self.chance.within(16..=self.parameters.body) as usize;
        let record = &self.checker.records[message];
        let agent = record.agent;
        let Some(sender) = self.senders.get(&(agent, record.name)) else {
            return;
        };
        let enqueue = Enqueue {
            user_agent: sender.user_agent,
            subscription: record.subscription,
            nonce,
            ttl: Ttl::from_secs(record.ttl_secs.into()),
            urgency: record.urgency,
            topic: record.topic,
            content: Content {
                coding: Coding::Aes128gcm,
                media_type: None,
                body: Bytes::from(vec![message as u8; size]),
            },
            key: None,
            sealed_by: push_protocol::capability::KeyId(0),
            receipts: None,
            sender: None,
            caps: Caps::default(),
            queue_limits: self.parameters.queue_limits,
            rate: None,
        };
        let enqueued = at_once(self.storage.enqueue(enqueue));
        trace!(self, "message {message} for {agent}: {enqueued:?}");
        match enqueued {
            Enqueued::Stored { id, evicted, .. } => {
                if evicted > 0 {
                    let others = |record: &Record| record.agent == agent && record.id.is_some();
                    self.checker.excuse_all(self.now, "evicted", others);
                }
                self.checker
                    .stored(message, id, self.parameters.equal_ids, self.now);
            }
            Enqueued::Passed { id, .. } => {
                self.checker.counts.passing += 1;
                self.checker
                    .stored(message, id, self.parameters.equal_ids, self.now);
            }
            Enqueued::NoSubscription
            | Enqueued::QueueFull
            | Enqueued::SenderFull
            | Enqueued::StoreFull
            | Enqueued::RateLimited { .. } => return,
        }
        self.tell_announced();
        let (wait, incarnation) = (
            self.chance.within(0..=self.parameters.storage),
            self.node.incarnation,
        );
        self.after(wait, Event::Enqueued { message, incarnation });
    }

    /// The answer reaches its application server, if the node lived to give it (PR-2).
    pub(crate) fn enqueued(&mut self, message: usize, incarnation: u64) {
        if self.node.incarnation == incarnation {
            self.checker.answered_201(message);
        } else {
            self.checker.counts.unanswered += 1;
        }
    }

    pub(crate) fn cancel(&mut self) {
        let waiting = |record: &Record| record.done.is_none() && record.ttl_secs > 0;
        let (records, chance) = (&self.checker.records, &mut self.chance);
        if records.is_empty() {
            return;
        }
        let message = chance.index(records.len());
        let record = &records[message];
        let sender = self.senders.get(&(record.agent, record.name));
        let (Some(id), Some(sender)) = (record.id, sender.filter(|_| waiting(record))) else {
            return;
        };
        trace!(self, "message {message} is taken back");
        let (how, confirm) = (Removal::Cancelled, Confirm::Durably);
        at_once(
            self.storage
                .acknowledge(sender.user_agent, &[id], how, confirm, None),
        );
        self.checker.excuse(message, self.now, "cancelled");
        self.tell_announced();
    }
}
