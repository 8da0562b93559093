//! Applications and their application servers: who subscribes, who sends, and who is told where to.
//!
//! The application lives in the process of its user agent and forgets what it was about to do when that dies; which
//! subscriptions it wants, and whose push resource its server got once, it remembers.

use bytes::Bytes;
use push_protocol::session::user_agent::{PushResource, Stage, UserAgent};
use push_protocol::{Coding, Content, SubscriptionId, SubscriptionName, Topic, Ttl, Urgency, UserAgentId};
use push_service::storage::{Confirm, Enqueue, Enqueued, Removal, Storage};

use crate::books::Record;
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
            self.plant == Some(Plant::KeepUnsubscribed) && agent.wishes as usize == self.weather.names;
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
        self.books.counts.unsubscribed += 1;
        trace!(self, "the application of {index} wants {name} no more");
        self.agents[index].introduced.remove(&name);
        self.senders.remove(&(index, name));
        let of = |record: &Record| (record.agent, record.name, record.life) == (index, name, life);
        self.books.excuse_all(self.now, "unsubscribed", of);
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
                Stage::Asked | Stage::Confirmed(_) if !wanted.contains_key(&name) => {
                    if self.plant != Some(Plant::KeepUnsubscribed) {
                        self.tell_machine(index, |machine, out| machine.unsubscribe(name, now, out));
                    }
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
            return self.books.violate("WS-REG-5", what);
        };
        trace!(
            self,
            "the server of {index} sends to {user_agent}/{subscription}, keys {keys}"
        );
        let sender = Sender {
            user_agent,
            subscription,
            keys,
        };
        agent.introduced.insert(name);
        self.senders.insert((index, name), sender);
        if renewed {
            self.tell_machine(index, |machine, out| machine.told(name, push_resource, out));
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
        let wait = self.chance.within(0..=2 * self.weather.send_every);
        self.after(wait, Event::Send);
    }

    /// A message to somebody, or to a certain subscription.
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
            1 => Topic::parse("weather"),
            _ => None,
        };
        let fails = if self.chance.one_in(self.weather.fail_one_in) {
            self.chance.pick(&[1, 1, 2, 100])
        } else {
            0
        };
        let calm = self.calm;
        let message = self.books.sent(Record {
            agent,
            name,
            life,
            subscription: sender.subscription,
            ttl_secs: if calm { LONG } else { ttl_secs },
            topic: topic.filter(|_| !calm),
            keys: sender.keys,
            fails: if calm { 0 } else { fails },
            promised: false,
            id: None,
            expires_at: 0,
            excused: None,
            acknowledged_at: None,
            offered: 0,
            attempts: 0,
            released: 0,
            fate: None,
        });
        let wait = self.chance.within(0..=self.weather.delay);
        self.after(wait, Event::Enqueue(message));
    }

    /// The message reaches the node.
    pub(crate) fn enqueue(&mut self, message: usize) {
        if self.node.down {
            return;
        }
        if self.plant == Some(Plant::LostEnqueue) && !self.books.records[message].promised {
            self.books.answered_201(message);
            return self.after(5_000, Event::Enqueue(message));
        }
        let nonce = self.chance.bits();
        let size = self.chance.within(16..=self.weather.body) as usize;
        let urgency = self
            .chance
            .pick(&[Urgency::VeryLow, Urgency::Low, Urgency::Normal, Urgency::High]);
        let record = &self.books.records[message];
        let agent = record.agent;
        let Some(sender) = self.senders.get(&(agent, record.name)) else {
            return;
        };
        let enqueue = Enqueue {
            user_agent: sender.user_agent,
            subscription: record.subscription,
            nonce,
            ttl: Ttl::from_secs(record.ttl_secs.into()),
            urgency,
            topic: record.topic,
            content: Content {
                coding: Coding::Aes128gcm,
                media_type: None,
                body: Bytes::from(vec![message as u8; size]),
            },
            sealed_by: 0,
            budget: self.weather.budget,
            rate: None,
        };
        let enqueued = at_once(self.storage.enqueue(enqueue));
        trace!(self, "message {message} for {agent}: {enqueued:?}");
        match enqueued {
            Enqueued::Stored { id, evicted, .. } => {
                if evicted > 0 {
                    let others = |record: &Record| record.agent == agent && record.id.is_some();
                    self.books.excuse_all(self.now, "evicted", others);
                }
                self.books.stored(message, id, self.now);
            }
            Enqueued::Passed { id, .. } => {
                self.books.counts.passing += 1;
                self.books.stored(message, id, self.now);
            }
            Enqueued::NoSubscription | Enqueued::QueueFull | Enqueued::RateLimited { .. } => return,
        }
        self.tell_announced();
        let (wait, incarnation) = (
            self.chance.within(0..=self.weather.storage),
            self.node.incarnation,
        );
        self.after(wait, Event::Enqueued { message, incarnation });
    }

    /// The answer reaches its application server, if the node lived to give it (PR-2).
    pub(crate) fn enqueued(&mut self, message: usize, incarnation: u64) {
        if self.node.incarnation == incarnation {
            self.books.answered_201(message);
        } else {
            self.books.counts.unanswered += 1;
        }
    }

    pub(crate) fn cancel(&mut self) {
        let waiting = |record: &Record| record.fate.is_none() && record.ttl_secs > 0;
        let (records, chance) = (&self.books.records, &mut self.chance);
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
        self.books.excuse(message, self.now, "cancelled");
        self.tell_announced();
    }
}

/// The end.
impl World {
    /// WS-REG-9, WP-RFR-2: every subscription that is wanted stands, and its application server knows where.
    pub(crate) fn probe(&mut self) {
        let since = self.books.counts.channels - self.quiet_channels;
        if since > 0 {
            let what = format!("{since} connections although all has been calm for long");
            return self.books.violate("WS-CLS-1", what);
        }
        self.probes_from = self.books.records.len();
        for index in 0..self.agents.len() {
            for name in self.agents[index].wanted.clone().into_keys() {
                if let Err(what) = self.stands(index, name) {
                    let what = format!("after all is calm, {name} of user agent {index}: {what}");
                    return self.books.violate("WP-RFR-2", what);
                }
                self.send_one(Some((index, name)));
            }
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
        for message in 0..self.books.records.len() {
            let record = &self.books.records[message];
            if record.ttl_secs > 0 && record.ttl_secs < LONG && record.fate.is_none() {
                self.books.counts.expired += 1;
            }
            let record = &self.books.records[message];
            if record.promised && record.ttl_secs >= LONG && record.excused.is_none() {
                self.close_record(message);
            }
            let is_probe = message >= self.probes_from;
            if is_probe && self.books.records[message].fate.is_none() {
                let what = format!("message {message}, sent when all was calm, did not arrive");
                self.books.violate("WP-RFR-2", what);
            }
        }
        at_once(self.storage.expire(10_000));
        let left = self.storage.usage().messages;
        if left > 0 {
            let what = format!("{left} messages are left in storage although everybody is done");
            self.books.violate("PR-18", what);
        }
    }

    /// PR-1, PR-11, WS-ACK-5, WP-RCV-6: a message of which 201 was said was handled, or given up.
    fn close_record(&mut self, message: usize) {
        let record = &self.books.records[message];
        let (id, agent) = (record.id, record.agent);
        let (rule, what) = match record.fate {
            Some(crate::books::Fate::Handled | crate::books::Fate::GivenUp) => return,
            Some(fate) => ("WP-RFR-1", format!("is {fate:?}")),
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
        self.books.violate(rule, what);
    }
}
