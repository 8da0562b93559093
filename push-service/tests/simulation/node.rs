//! The node: its registry, and a small driver of the service's sessions that keeps the order of the real one.
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
use crate::world::{Event, World};

/// How late a session is told the time at most, in milliseconds.
const LATE_MOST: u64 = 500;

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
    /// Boxed, because each turn takes one out.
    pub(crate) channels: BTreeMap<ConnectionId, Box<Channel>>,
    registry: BTreeMap<UserAgentId, ConnectionId>,
}

/// A channel, as its task sees it.
pub(crate) struct Channel {
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
    /// What is on the wire, as the checker sees it.
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
            channels: BTreeMap::new(),
            registry: BTreeMap::new(),
        }
    }

    pub(crate) fn seat(&self, channel: ConnectionId) -> Option<Seat> {
        let incarnation = self.incarnation;
        self.channels.contains_key(&channel).then_some(Seat {
            incarnation,
            session: channel,
        })
    }

    pub(crate) fn newest(&self, user_agent: UserAgentId) -> Option<ConnectionId> {
        self.registry.get(&user_agent).copied()
    }

    /// Whose channels are here, with their seats.
    pub(crate) fn seats(&self) -> Vec<(UserAgentId, Seat)> {
        let seat =
            |(user_agent, channel): (&UserAgentId, &ConnectionId)| Some((*user_agent, self.seat(*channel)?));
        self.registry.iter().filter_map(seat).collect()
    }
}

impl Channel {
    fn new(session: Session) -> Self {
        Self {
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
        if self.node.down || self.now < self.refuse_until {
            return self.pass(id, End::Agent, Event::NotOpened(id));
        }
        let session = Session::new(Arc::clone(&self.parameters.service), self.moment());
        self.node.channels.insert(id, Box::new(Channel::new(session)));
        self.pass(id, End::Agent, Event::Opened(id));
        self.turn(id);
    }

    pub(crate) fn service_reads(&mut self, id: ConnectionId, bytes: &[u8]) {
        if let Some(channel) = self.node.channels.get_mut(&id) {
            channel.unread.extend_from_slice(bytes);
            self.turn(id);
        }
    }

    /// The connection is over, as far as the node knows.
    pub(crate) fn service_lost(&mut self, id: ConnectionId) {
        if let Some(channel) = self.node.channels.get_mut(&id) {
            channel.begin_end();
            self.turn(id);
        }
    }

    pub(crate) fn service_tick(&mut self, id: ConnectionId) {
        let now = self.moment();
        let Some(channel) = self.node.channels.get_mut(&id) else {
            return;
        };
        if channel.tick_at != self.now {
            // Another one came earlier, or comes instead.
            return;
        }
        channel.tick_at = u64::MAX;
        channel.marks.tick = channel.session.next_due() <= now;
        self.turn(id);
    }

    pub(crate) fn read_again(&mut self, id: ConnectionId) {
        if let Some(channel) = self.node.channels.get_mut(&id) {
            channel.marks.read_again = true;
            self.after(0, Event::Turn(id));
        }
    }

    pub(crate) fn drain(&mut self, id: ConnectionId) {
        if let Some(channel) = self.node.channels.get_mut(&id) {
            channel.marks.drain = true;
            self.turn(id);
        }
    }

    /// Wake-ups reach the inboxes of those who hold the seats. What doesn't fit says: read again (PR-11).
    pub(crate) fn tell_announced(&mut self) {
        let announced = std::mem::take(&mut *self.announced.lock());
        for (user_agent, seat, wake_up) in announced {
            let Some(id) = self.node.newest(user_agent) else {
                continue;
            };
            if self.node.seat(id) != Some(seat) {
                continue;
            }
            let inbox = self.parameters.inbox;
            let Some(channel) = self.node.channels.get_mut(&id) else {
                continue;
            };
            if channel.inbox.len() < inbox {
                channel.inbox.push_back(wake_up);
            } else {
                self.checker.counts.wake_ups_lost += 1;
                channel.marks.read_again = self.plant != Some(Plant::DropWakeUp);
            }
            let wait = self.chance.within(0..=20);
            self.after(wait, Event::Turn(id));
        }
    }

    /// Lets a channel do all that it can do now.
    pub(crate) fn turn(&mut self, id: ConnectionId) {
        let Some(mut channel) = self.node.channels.remove(&id) else {
            return;
        };
        let gone = self.run_channel(id, &mut channel);
        self.node.channels.insert(id, channel);
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
        if due.saturating_add(LATE_MOST) < channel.tick_at {
            // The real driver looks every half second.
            channel.tick_at = (due + self.chance.within(0..=LATE_MOST)).max(self.now);
            self.at(channel.tick_at, Event::ServiceTick(id));
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
                self.checker.violate("PR-16", what);
            }
        }
        if marks.displaced {
            self.checker.counts.displaced += 1;
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
            channel.session.woken(wake_up, now, &mut channel.actions);
        }
        busy
    }

    pub(crate) fn claim(&mut self, id: ConnectionId, channel: &mut Channel, user_agent: UserAgentId) {
        self.unclaim(id, channel);
        channel.claimed = Some(user_agent);
        if let Some(older) = self.node.registry.insert(user_agent, id)
            && let Some(displaced) = self.node.channels.get_mut(&older)
        {
            displaced.marks.displaced = true;
            self.after(0, Event::Turn(older));
        }
    }

    pub(crate) fn unclaim(&mut self, id: ConnectionId, channel: &mut Channel) {
        if let Some(user_agent) = channel.claimed.take()
            && self.node.newest(user_agent) == Some(id)
        {
            self.node.registry.remove(&user_agent);
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
        let Some(mut channel) = self.node.channels.remove(&id) else {
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
            self.session.channel_ended();
            self.end = Some(Ending::Waits);
            self.wanted = None;
        }
    }
}
