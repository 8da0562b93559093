//! Troubles, one at a time, until it's calm.

use push_protocol::{SubscriptionName, Urgency};
use push_service::storage::Storage;

use crate::agent::{Lie, Outage};
use crate::network::{ConnectionId, End};
use crate::node::Node;
use crate::parameters::Trouble;
use crate::steps::at_once;
use crate::trace::trace;
use crate::world::{Event, World};

impl World {
    pub(crate) fn trouble_on(&mut self) {
        if self.calm || self.parameters.troubles.is_empty() {
            return;
        }
        let trouble = self.chance.pick(&self.parameters.troubles);
        self.befall(trouble);
        let wait = self.chance.within(0..=2 * self.parameters.trouble_every);
        self.after(wait, Event::Trouble);
    }

    fn befall(&mut self, trouble: Trouble) {
        trace!(self, "trouble: {trouble:?}");
        let agent = self.chance.index(self.agents.len());
        let name = self.chance.index(self.parameters.names);
        match trouble {
            Trouble::Cut => {
                if let Some(connection) = self.agents[agent].connection() {
                    self.cut(connection);
                }
            }
            Trouble::Refuse => self.refuse_until = self.now + self.chance.within(0..=60_000),
            Trouble::Stall => self.stall(agent),
            Trouble::Kill => self.kill(agent, true),
            Trouble::Stop => {
                let now = self.moment();
                self.tell_machine(agent, |machine, out| machine.stop(now, out));
            }
            Trouble::Crash => self.crash(),
            Trouble::Drain => self.drain_all(),
            Trouble::Forget => self.lose(agent),
            Trouble::Subscribe => self.subscribe(agent, name),
            Trouble::Unsubscribe => self.unsubscribe(agent, name),
            Trouble::NetworkChanged => {
                let now = self.moment();
                self.tell_machine(agent, |machine, out| machine.network_changed(now, out));
            }
            Trouble::Burst => self.burst(),
            Trouble::Cancel => self.cancel(),
            Trouble::Filter => {
                let lowest = self.chance.pick(&Urgency::ALL);
                self.filter(agent, lowest);
            }
            Trouble::Outage => self.outage(agent),
            Trouble::Lie => self.agents[agent].lie = Some(self.chance.pick(&[Lie::Renamed, Lie::Unknown])),
        }
    }

    /// PR-45: what the application of a subscription needs is away, or what those of all need.
    fn outage(&mut self, agent: usize) {
        self.checker.counts.outages += 1;
        let wanted: Vec<_> = self.agents[agent].wanted.keys().copied().collect();
        let name = match self.chance.one_in(2) && !wanted.is_empty() {
            true => Some(self.chance.pick(&wanted)),
            false => None,
        };
        let lasts = self.chance.pick(&[2_000, 20_000, 120_000]);
        self.agents[agent].outage = Some(Outage {
            until: self.now + self.chance.within(0..=lasts),
            name,
            is_known: self.chance.one_in(2),
        });
    }

    /// R30-URG-5, WS-URG-1, PR-22: the application wants nothing less urgent, until it says otherwise or dies.
    fn filter(&mut self, agent: usize, lowest: Urgency) {
        let now = self.moment();
        self.tell_machine(agent, |machine, out| {
            machine.set_lowest_urgency(lowest, now, out);
        });
    }

    fn stall(&mut self, agent: usize) {
        let Some(id) = self.agents[agent].connection() else {
            return;
        };
        let wait = self.chance.within(0..=45_000);
        if let Some(connection) = self.connections.get_mut(&id) {
            self.checker.counts.stalls += 1;
            connection.stalled = true;
            self.after(wait, Event::Unstall(id));
        }
    }

    /// More than any window, to one subscription.
    fn burst(&mut self) {
        let known: Vec<(usize, SubscriptionName)> = self.senders.keys().copied().collect();
        if known.is_empty() {
            return;
        }
        let to = self.chance.pick(&known);
        for _ in 0..self.chance.within(2..=14) {
            self.send_one(Some(to));
        }
    }

    /// The process of the node dies. Its storage lives; of its seats, storage may know or not.
    fn crash(&mut self) {
        if self.node.down {
            return;
        }
        self.checker.counts.node_restarts += 1;
        self.replace_node();
        self.node.down = true;
        let wait = self.chance.within(100..=20_000);
        self.after(wait, Event::NodeReturns);
    }

    fn replace_node(&mut self) {
        let seats = self.node.seats();
        let incarnation = self.chance.bits();
        let old = std::mem::replace(&mut self.node, Node::new(incarnation));
        for id in old.channels.into_keys() {
            self.abandon(id, End::Node);
        }
        if self.chance.one_in(2) {
            for (user_agent, seat) in seats {
                at_once(self.storage.release(user_agent, seat));
            }
        }
    }

    /// The node leaves: channels get a moment, then it is gone (PR-36).
    fn drain_all(&mut self) {
        if self.node.down {
            return;
        }
        self.checker.counts.drains += 1;
        self.node.down = true;
        let channels: Vec<ConnectionId> = self.node.channels.keys().copied().collect();
        for id in channels {
            self.drain(id);
        }
        self.after(8_000, Event::NodeReturns);
    }

    pub(crate) fn node_returns(&mut self) {
        self.replace_node();
    }

    /// A user agent is away for long, and storage forgets it: here at once, after 400 days in truth.
    fn lose(&mut self, index: usize) {
        if self.agents[index].machine.is_none() {
            return;
        }
        let connection = self.agents[index].connection();
        self.kill(index, false);
        if let Some(connection) = connection {
            self.over(connection, End::Node);
        }
        self.after(20_000, Event::Forget(index));
        let wait = self.chance.within(20_001..=40_000);
        self.after(wait, Event::Revive(index));
    }

    pub(crate) fn forget(&mut self, index: usize) {
        let agent = &self.agents[index];
        let Some(user_agent) = agent.user_agent() else {
            return;
        };
        if agent.machine.is_some() || self.node.newest(user_agent).is_some() {
            return;
        }
        let Some(report) = at_once(self.storage.inspect(user_agent)) else {
            return;
        };
        if report.seated {
            return;
        }
        for subscription in report.subscriptions {
            if let Some(name) = SubscriptionName::parse(&subscription.name) {
                at_once(self.storage.unsubscribe(user_agent, name));
            }
        }
        trace!(self, "storage forgets user agent {index}");
        self.checker.counts.identities_lost += 1;
        self.checker
            .excuse_all(self.now, "forgotten", |record| record.agent == index);
    }

    /// From now on nothing goes wrong any more, and nothing is sent.
    pub(crate) fn calm_down(&mut self) {
        trace!(self, "all is calm");
        self.calm = true;
        self.refuse_until = 0;
        self.parameters.death_one_in = 0;
        let stalled: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in stalled {
            self.unstall(id);
        }
        for index in 0..self.agents.len() {
            self.agents[index].outage = None;
            self.agents[index].lie = None;
            self.filter(index, Urgency::VeryLow);
            let wait = self.chance.within(0..=40_000);
            self.after(wait, Event::Revive(index));
        }
    }
}
