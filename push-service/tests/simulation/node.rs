//! The nodes: their registries, and a small driver of the service's sessions that keeps the order of the real one.
//!
//! Each turn of a channel looks at marks, at wake-ups and at the socket, does what the session decided, hands over what
//! was acknowledged, and only then reads on (PR-4); then it writes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use push_protocol::session::{Action, CloseReason, PageRequest, Session, WakeUp};
use push_protocol::wire::frame::{FrameReader, Reader};
use push_protocol::{MessageId, UserAgentId, UserAgentIdentity};
use push_service::storage::{Announce, Seat};

use crate::network::{ConnectionId, End};
use crate::plant::Plant;
use crate::steps::Step;
use crate::world::{Event, RECONCILE, World};

/// What storage announces from inside a step: taken up when the step is over.
#[derive(Default)]
pub(crate) struct Announced(Mutex<Vec<(UserAgentId, Seat, WakeUp)>>);

impl Announce for Announced {
    fn announce(&self, user_agent: UserAgentId, seat: Seat, wake_up: WakeUp) {
        self.lock().push((user_agent, seat, wake_up));
    }
}

impl Announced {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(UserAgentId, Seat, WakeUp)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One run of the service's process.
pub(crate) struct Node {
    pub(crate) incarnation: u64,
    /// It takes no connections.
    pub(crate) down: bool,
    registry: BTreeMap<UserAgentId, ConnectionId>,
}

/// The nodes that share the storage, and their channels.
pub(crate) struct Nodes {
    pub(crate) each: Vec<Node>,
    /// Boxed, because each turn takes one out.
    pub(crate) channels: BTreeMap<ConnectionId, Box<Channel>>,
}

/// A channel, as its task sees it.
pub(crate) struct Channel {
    /// Where it is.
    pub(crate) node: usize,
    pub(crate) session: Session,
    pub(crate) actions: Vec<Action>,
    pub(crate) out: Vec<u8>,
    pub(crate) frames: FrameReader,
    pub(crate) unread: Vec<u8>,
    pub(crate) unwritten: Vec<u8>,
    pub(crate) inbox: VecDeque<WakeUp>,
    pub(crate) marks: Marks,
    /// A request waits for storage.
    pub(crate) request: bool,
    pub(crate) wanted: Option<PageRequest>,
    pub(crate) acknowledging: bool,
    pub(crate) acknowledged: Vec<MessageId>,
    pub(crate) end: Option<Ending>,
    pub(crate) claimed: Option<UserAgentId>,
    /// Who the user agent said that it is.
    pub(crate) said: Option<UserAgentIdentity>,
    /// What is on the wire, as the books see it.
    pub(crate) on_wire: VecDeque<MessageId>,
    pub(crate) tick_at: u64,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Marks {
    read_again: bool,
    displaced: bool,
    drain: bool,
    tick: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A request or an acknowledgement is still with storage.
    Waits,
    Leaves,
}

impl Node {
    pub(crate) fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            down: false,
            registry: BTreeMap::new(),
        }
    }
}

impl Nodes {
    pub(crate) fn new(incarnations: impl Iterator<Item = u64>) -> Self {
        Self {
            each: incarnations.map(Node::new).collect(),
            channels: BTreeMap::new(),
        }
    }

    pub(crate) fn seat(&self, channel: ConnectionId) -> Option<Seat> {
        let node = self.channels.get(&channel)?.node;
        Some(Seat {
            incarnation: self.each[node].incarnation,
            session: channel,
        })
    }

    /// The newest channel of a user agent at one node.
    pub(crate) fn newest(&self, node: usize, user_agent: UserAgentId) -> Option<ConnectionId> {
        self.each[node].registry.get(&user_agent).copied()
    }

    /// Whether a user agent has a channel at all.
    pub(crate) fn have(&self, user_agent: UserAgentId) -> bool {
        self.each
            .iter()
            .any(|node| node.registry.contains_key(&user_agent))
    }

    /// The channel that holds a seat, if it's still there and the newest of its user agent at its node.
    fn holder(&self, user_agent: UserAgentId, seat: Seat) -> Option<ConnectionId> {
        let node = self
            .each
            .iter()
            .position(|node| node.incarnation == seat.incarnation)?;
        let newest = self.newest(node, user_agent)?;
        (self.seat(newest) == Some(seat)).then_some(newest)
    }

    /// Whose channels are at a node, with their seats.
    pub(crate) fn seats(&self, node: usize) -> Vec<(UserAgentId, Seat)> {
        let seat =
            |(user_agent, channel): (&UserAgentId, &ConnectionId)| Some((*user_agent, self.seat(*channel)?));
        self.each[node].registry.iter().filter_map(seat).collect()
    }

    /// The channels at a node.
    pub(crate) fn channels_at(&self, node: usize) -> Vec<ConnectionId> {
        let there = self.channels.iter().filter(|(_, channel)| channel.node == node);
        there.map(|(id, _)| *id).collect()
    }
}

impl Channel {
    fn new(node: usize, session: Session) -> Self {
        Self {
            node,
            session,
            actions: Vec::new(),
            out: Vec::new(),
            frames: FrameReader::new(Reader::Service, 16 * 1024),
            unread: Vec::new(),
            unwritten: Vec::new(),
            inbox: VecDeque::new(),
            marks: Marks::default(),
            request: false,
            wanted: None,
            acknowledging: false,
            acknowledged: Vec::new(),
            end: None,
            claimed: None,
            said: None,
            on_wire: VecDeque::new(),
            tick_at: u64::MAX,
        }
    }

    pub(crate) fn has_left(&mut self, ids: &[MessageId]) {
        self.on_wire.retain(|id| !ids.contains(id));
    }
}

impl World {
    pub(crate) fn reached(&mut self, id: ConnectionId) {
        let Some(node) = self.connections.get(&id).map(|connection| connection.node) else {
            return;
        };
        if self.nodes.each[node].down || self.now < self.refuse_until {
            return self.pass(id, End::Agent, Event::NotOpened(id));
        }
        let session = Session::new(Arc::clone(&self.weather.service), self.moment());
        self.nodes
            .channels
            .insert(id, Box::new(Channel::new(node, session)));
        self.pass(id, End::Agent, Event::Opened(id));
        self.turn(id);
        if self.weather.is_shared() {
            let wait = self.chance.within(0..=RECONCILE);
            self.after(wait, Event::Compare(id));
        }
    }

    pub(crate) fn service_reads(&mut self, id: ConnectionId, bytes: &[u8]) {
        if let Some(channel) = self.nodes.channels.get_mut(&id) {
            channel.unread.extend_from_slice(bytes);
            self.turn(id);
        }
    }

    /// The connection is over, as far as the node knows.
    pub(crate) fn service_lost(&mut self, id: ConnectionId) {
        if let Some(channel) = self.nodes.channels.get_mut(&id) {
            channel.begin_end();
            self.turn(id);
        }
    }

    pub(crate) fn service_tick(&mut self, id: ConnectionId) {
        let now = self.moment();
        let Some(channel) = self.nodes.channels.get_mut(&id) else {
            return;
        };
        channel.tick_at = u64::MAX;
        channel.marks.tick = channel.session.next_due() <= now;
        self.turn(id);
    }

    pub(crate) fn read_again(&mut self, id: ConnectionId) {
        if let Some(channel) = self.nodes.channels.get_mut(&id) {
            channel.marks.read_again = true;
            self.after(0, Event::Turn(id));
        }
    }

    pub(crate) fn drain(&mut self, id: ConnectionId) {
        if let Some(channel) = self.nodes.channels.get_mut(&id) {
            channel.marks.drain = true;
            self.turn(id);
        }
    }

    /// What storage announced sets out: in this process it's there, and between nodes it's late, out of order, or lost.
    pub(crate) fn tell_announced(&mut self) {
        let announced = std::mem::take(&mut *self.announced.lock());
        for (user_agent, seat, wake_up) in announced {
            if !self.weather.is_shared() {
                self.wake(user_agent, seat, wake_up);
            } else if self.chance.one_in(self.weather.lost_between_nodes_one_in) {
                self.books.counts.wake_ups_lost += 1;
            } else {
                let wait = self.chance.within(0..=self.weather.delay);
                self.after(wait, Event::WakeUp(user_agent, seat, wake_up));
            }
        }
    }

    /// A wake-up reaches the inbox of the one who holds the seat. What doesn't fit says: read again (PR-11).
    pub(crate) fn wake(&mut self, user_agent: UserAgentId, seat: Seat, wake_up: WakeUp) {
        let inbox = self.weather.inbox;
        let Some(id) = self.nodes.holder(user_agent, seat) else {
            return;
        };
        let Some(channel) = self.nodes.channels.get_mut(&id) else {
            return;
        };
        if channel.inbox.len() < inbox {
            channel.inbox.push_back(wake_up);
        } else {
            self.books.counts.wake_ups_lost += 1;
            channel.marks.read_again = self.plant != Some(Plant::DropWakeUp);
        }
        let wait = self.chance.within(0..=20);
        self.after(wait, Event::Turn(id));
    }

    /// Lets a channel do all that it can do now.
    pub(crate) fn turn(&mut self, id: ConnectionId) {
        let Some(mut channel) = self.nodes.channels.remove(&id) else {
            return;
        };
        let gone = self.run_channel(id, &mut channel);
        self.nodes.channels.insert(id, channel);
        if gone {
            self.gone(id);
        }
    }

    pub(crate) fn run_channel(&mut self, id: ConnectionId, channel: &mut Channel) -> bool {
        loop {
            let mut busy = self.take_marks(channel);
            busy |= self.take_wake_ups(id, channel);
            busy |= self.read_channel(id, channel);
            busy |= self.perform(id, channel);
            busy |= self.hand_over_acknowledged(id, channel);
            busy |= self.read_page(id, channel);
            busy |= self.write_channel(id, channel);
            if !busy {
                break;
            }
        }
        if channel.end.is_some() {
            return self.leave(id, channel);
        }
        let due = channel.session.next_due().0;
        if due < channel.tick_at {
            // The real driver looks every half second.
            channel.tick_at = due + self.chance.within(0..=500);
            self.at(channel.tick_at.max(self.now), Event::ServiceTick(id));
        }
        false
    }

    pub(crate) fn take_marks(&mut self, channel: &mut Channel) -> bool {
        let now = self.moment();
        let marks = std::mem::take(&mut channel.marks);
        let out = &mut channel.actions;
        if marks.tick {
            channel.session.tick(now, out);
            if channel.session.next_due() <= now {
                let what = format!("a tick of the service's session is due again at once: {out:?}");
                self.books.violate("PR-16", what);
            }
        }
        if marks.displaced {
            self.books.counts.displaced += 1;
            channel.session.close(CloseReason::Displaced, out);
        }
        if marks.drain && !channel.request {
            channel.session.drain(now, out);
        } else if marks.drain {
            channel.marks.drain = true;
            return marks.tick || marks.displaced;
        }
        if marks.read_again {
            channel.session.read_again(now, out);
        }
        marks.tick || marks.displaced || marks.drain || marks.read_again
    }

    pub(crate) fn take_wake_ups(&mut self, id: ConnectionId, channel: &mut Channel) -> bool {
        let now = self.moment();
        let busy = !channel.inbox.is_empty();
        for wake_up in std::mem::take(&mut channel.inbox) {
            self.perform(id, channel);
            if let WakeUp::Removed(ids) = &wake_up {
                channel.has_left(ids);
            }
            if matches!(wake_up, WakeUp::Displaced) {
                self.books.counts.displaced += 1;
            }
            channel.session.woken(wake_up, now, &mut channel.actions);
        }
        busy
    }

    pub(crate) fn claim(&mut self, id: ConnectionId, channel: &mut Channel, user_agent: UserAgentId) {
        self.unclaim(id, channel);
        channel.claimed = Some(user_agent);
        if let Some(older) = self.nodes.each[channel.node].registry.insert(user_agent, id)
            && let Some(displaced) = self.nodes.channels.get_mut(&older)
        {
            displaced.marks.displaced = true;
            self.after(0, Event::Turn(older));
        }
    }

    pub(crate) fn unclaim(&mut self, id: ConnectionId, channel: &mut Channel) {
        if let Some(user_agent) = channel.claimed.take()
            && self.nodes.newest(channel.node, user_agent) == Some(id)
        {
            self.nodes.each[channel.node].registry.remove(&user_agent);
        }
    }

    /// What remains to be done for a channel that is over; true when nothing does.
    pub(crate) fn leave(&mut self, id: ConnectionId, channel: &mut Channel) -> bool {
        if channel.end == Some(Ending::Leaves) || channel.request || channel.acknowledging {
            return false;
        }
        let Some(user_agent) = channel
            .session
            .user_agent()
            .filter(|_| channel.session.is_recorded())
        else {
            return true;
        };
        channel.end = Some(Ending::Leaves);
        let messages = std::mem::take(&mut channel.acknowledged);
        self.ask(id, Step::Leave(user_agent, messages));
        false
    }

    /// The channel's task is over.
    pub(crate) fn gone(&mut self, id: ConnectionId) {
        let Some(mut channel) = self.nodes.channels.remove(&id) else {
            return;
        };
        self.unclaim(id, &mut channel);
        self.finish(id, End::Agent);
        self.over(id, End::Node);
    }
}

impl Channel {
    pub(crate) fn begin_end(&mut self) {
        if self.end.is_none() {
            self.session.ended();
            self.end = Some(Ending::Waits);
            self.wanted = None;
        }
    }
}
