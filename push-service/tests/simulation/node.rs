//! The node: its registry, and a small driver of the service's sessions that keeps the order of the real one.
//!
//! Each turn of a channel looks at marks, at wake-ups and at the socket, does what the session decided, hands over what
//! was acknowledged, and only then reads on (PR-4); then it writes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use push_protocol::session::{Action, PageRequest, Session, WakeUp};
use push_protocol::wire::frame::{FrameReader, Incoming, Reader, write_close, write_ping, write_pong};
use push_protocol::wire::websocket::{
    Request, close_code, close_text, parse, write_hello, write_notification, write_pong as write_empty,
};
use push_protocol::{MessageId, SubscriptionName, UserAgentId, UserAgentIdentity};
use push_service::storage::{Announce, Seat, Storage};

use crate::network::{ConnectionId, End};
use crate::plant::Plant;
use crate::steps::{Step, at_once};
use crate::trace::trace;
use crate::world::{Event, World};

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
    pub(crate) channels: BTreeMap<ConnectionId, Channel>,
    registry: BTreeMap<UserAgentId, ConnectionId>,
}

/// A channel, as its task sees it.
pub(crate) struct Channel {
    pub(crate) session: Session,
    pub(crate) actions: Vec<Action>,
    pub(crate) out: Vec<u8>,
    frames: FrameReader,
    unread: Vec<u8>,
    unwritten: Vec<u8>,
    inbox: VecDeque<WakeUp>,
    marks: Marks,
    /// A request waits for storage.
    pub(crate) request: bool,
    wanted: Option<PageRequest>,
    pub(crate) acknowledging: bool,
    pub(crate) acknowledged: Vec<MessageId>,
    end: Option<Ending>,
    claimed: Option<UserAgentId>,
    /// Who the user agent said that it is.
    said: Option<UserAgentIdentity>,
    /// What is on the wire, as the books see it.
    on_wire: VecDeque<MessageId>,
    tick_at: u64,
}

#[derive(Clone, Copy, Default)]
struct Marks {
    read_again: bool,
    displaced: bool,
    drain: bool,
    tick: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
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

    fn has_left(&mut self, ids: &[MessageId]) {
        self.on_wire.retain(|id| !ids.contains(id));
    }
}

/// What was read, no longer borrowed.
enum Heard {
    Hello(Option<UserAgentIdentity>),
    Register(SubscriptionName),
    Unregister(SubscriptionName),
    Acknowledge(Vec<MessageId>),
    EmptyPing,
    Ping(Vec<u8>),
    Nothing,
    Close,
}

impl World {
    pub(crate) fn reached(&mut self, id: ConnectionId) {
        if self.node.down || self.now < self.refuse_until {
            return self.pass(id, End::Agent, Event::NotOpened(id));
        }
        let session = Session::new(Arc::clone(&self.weather.service), self.moment());
        self.node.channels.insert(id, Channel::new(session));
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
            let inbox = self.weather.inbox;
            let Some(channel) = self.node.channels.get_mut(&id) else {
                continue;
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

    fn run_channel(&mut self, id: ConnectionId, channel: &mut Channel) -> bool {
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

    fn take_marks(&mut self, channel: &mut Channel) -> bool {
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
            channel
                .session
                .close(push_protocol::session::CloseReason::Displaced, out);
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

    fn take_wake_ups(&mut self, id: ConnectionId, channel: &mut Channel) -> bool {
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

    fn read_channel(&mut self, id: ConnectionId, channel: &mut Channel) -> bool {
        let now = self.moment();
        let mut read = 0;
        while channel.end.is_none()
            && !channel.request
            && channel.unwritten.is_empty()
            && !channel.session.is_closed()
        {
            let heard = match channel.frames.read(&mut channel.unread[read..]) {
                Ok(Some((incoming, bytes))) => {
                    read += bytes;
                    heard(&incoming)
                }
                Ok(None) => break,
                Err(error) => {
                    self.books
                        .violate("WS-CON-3", format!("the service can't read: {error}"));
                    break;
                }
            };
            channel.session.heard(now);
            self.serve(id, channel, heard);
            self.perform(id, channel);
        }
        channel.unread.drain(..read);
        read > 0
    }

    fn serve(&mut self, id: ConnectionId, channel: &mut Channel, heard: Heard) {
        let now = self.moment();
        let out = &mut channel.actions;
        match heard {
            Heard::Hello(identity) => {
                let fresh = UserAgentIdentity::from_random(self.chance.bytes());
                channel.said.clone_from(&identity);
                channel.session.hello(identity, fresh, now, out);
            }
            Heard::Close => {
                write_close(&mut channel.out, None, 1000, "");
                channel.begin_end();
            }
            Heard::Ping(payload) => {
                if channel.session.may_answer(now, out) {
                    write_pong(&mut channel.out, None, &payload);
                }
            }
            Heard::EmptyPing => {
                if channel.session.may_answer(now, out) {
                    write_empty(&mut channel.out);
                }
            }
            Heard::Nothing => {}
            Heard::Register(_) | Heard::Unregister(_) | Heard::Acknowledge(_) => {
                if !channel.session.may_request(out) {
                    let what = "the user agent asked for something before it was welcomed";
                    return self.books.violate("WS-HEL-1", what.to_owned());
                }
                self.request(id, channel, heard);
            }
        }
    }

    fn request(&mut self, id: ConnectionId, channel: &mut Channel, heard: Heard) {
        let Some(user_agent) = channel.session.user_agent() else {
            return;
        };
        match heard {
            Heard::Register(name) => {
                channel.session.subscribes();
                channel.request = true;
                self.ask(id, Step::Register(user_agent, name));
            }
            Heard::Unregister(name) => {
                channel.request = true;
                self.ask(id, Step::Unregister(user_agent, name));
            }
            Heard::Acknowledge(messages) => {
                channel.has_left(&messages);
                let now = self.moment();
                channel.session.acknowledge(messages, now, &mut channel.actions);
            }
            _ => {}
        }
    }

    fn perform(&mut self, id: ConnectionId, channel: &mut Channel) -> bool {
        let actions = std::mem::take(&mut channel.actions);
        let busy = !actions.is_empty();
        for action in actions {
            match action {
                Action::Offer(message) => {
                    trace!(self, "channel {id} offers {:?}", message.id);
                    let slack = 4 * self.weather.storage + 3_000;
                    self.books.offered(message.id, self.now, slack);
                    if message.id.number.0 != 0 {
                        channel.on_wire.push_back(message.id);
                    }
                    if channel.on_wire.len() > usize::from(self.weather.service.in_flight) {
                        self.books
                            .violate("PR-16", format!("channel {id} offers more than its window"));
                    }
                    write_notification(&mut channel.out, &message);
                }
                Action::Welcome { identity, fresh } => self.welcome(id, channel, &identity, fresh),
                Action::Attach { user_agent, head } => {
                    self.claim(id, channel, user_agent);
                    channel.request = true;
                    self.ask(id, Step::Attach(user_agent, head));
                }
                Action::Page(request) => channel.wanted = Some(request),
                Action::Acknowledge(messages) => channel.acknowledged.extend(messages),
                Action::Ping => write_ping(&mut channel.out, None, b""),
                Action::Unheard => {}
                Action::Unacknowledged(count) => drop(channel.on_wire.drain(..count)),
                Action::Close(reason) => {
                    trace!(self, "channel {id} closes: {reason:?}");
                    write_close(&mut channel.out, None, close_code(reason), close_text(reason));
                    channel.begin_end();
                }
            }
        }
        busy
    }

    /// PR-3: a new identity only for whom storage doesn't know.
    fn welcome(
        &mut self,
        id: ConnectionId,
        channel: &mut Channel,
        identity: &UserAgentIdentity,
        fresh: bool,
    ) {
        trace!(self, "channel {id} welcomes {}, fresh: {fresh}", identity.id());
        if fresh {
            if let Some(said) = &channel.said
                && at_once(self.storage.inspect(said.id())).is_some()
                && self.weather.storage_trouble_one_in == 0
                && self.weather.storage < 20
            {
                let what = format!("channel {id} gets a new identity, but storage knows the old one");
                self.books.violate("PR-3", what);
            }
            self.claim(id, channel, identity.id());
        }
        write_hello(&mut channel.out, identity);
    }

    fn claim(&mut self, id: ConnectionId, channel: &mut Channel, user_agent: UserAgentId) {
        self.unclaim(id, channel);
        channel.claimed = Some(user_agent);
        if let Some(older) = self.node.registry.insert(user_agent, id)
            && let Some(displaced) = self.node.channels.get_mut(&older)
        {
            displaced.marks.displaced = true;
            self.after(0, Event::Turn(older));
        }
    }

    fn unclaim(&mut self, id: ConnectionId, channel: &mut Channel) {
        if let Some(user_agent) = channel.claimed.take()
            && self.node.newest(user_agent) == Some(id)
        {
            self.node.registry.remove(&user_agent);
        }
    }

    fn hand_over_acknowledged(&mut self, id: ConnectionId, channel: &mut Channel) -> bool {
        if channel.acknowledged.is_empty() || channel.acknowledging || channel.end.is_some() {
            return false;
        }
        let Some(user_agent) = channel.session.user_agent() else {
            return false;
        };
        channel.acknowledging = true;
        let messages = std::mem::take(&mut channel.acknowledged);
        self.ask(id, Step::Acknowledge(user_agent, messages));
        true
    }

    fn read_page(&mut self, id: ConnectionId, channel: &mut Channel) -> bool {
        if channel.acknowledging || !channel.acknowledged.is_empty() || channel.end.is_some() {
            return false;
        }
        let (Some(request), Some(user_agent)) = (channel.wanted.take(), channel.session.user_agent()) else {
            return false;
        };
        self.ask(id, Step::Page(user_agent, request));
        true
    }

    fn write_channel(&mut self, id: ConnectionId, channel: &mut Channel) -> bool {
        if channel.out.is_empty() && channel.unwritten.is_empty() {
            return false;
        }
        let had_rest = !channel.unwritten.is_empty();
        let stalled = self
            .connections
            .get(&id)
            .is_some_and(|connection| connection.stalled);
        let out = std::mem::take(&mut channel.out);
        channel.unwritten.extend_from_slice(&out);
        if !stalled {
            let unwritten = std::mem::take(&mut channel.unwritten);
            self.send(id, End::Agent, &unwritten);
        }
        let now = self.moment();
        channel.session.set_writable(!stalled, now, &mut channel.actions);
        !stalled && had_rest
    }

    /// What remains to be done for a channel that is over; true when nothing does.
    fn leave(&mut self, id: ConnectionId, channel: &mut Channel) -> bool {
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
    fn begin_end(&mut self) {
        if self.end.is_none() {
            self.session.ended();
            self.end = Some(Ending::Waits);
            self.wanted = None;
        }
    }
}

fn heard(incoming: &Incoming<'_>) -> Heard {
    let text = match incoming {
        Incoming::Text(text) => text,
        Incoming::Ping(payload) => return Heard::Ping(payload.to_vec()),
        Incoming::Close(_) => return Heard::Close,
        Incoming::Pong | Incoming::Fragment | Incoming::Binary => return Heard::Nothing,
    };
    match parse(text) {
        Ok(Request::Hello(identity)) => Heard::Hello(identity),
        Ok(Request::Register { name, .. }) => name.parsed.map_or(Heard::Nothing, Heard::Register),
        Ok(Request::Unregister { name, .. }) => name.parsed.map_or(Heard::Nothing, Heard::Unregister),
        Ok(Request::Ack(updates)) => {
            let messages = updates.iter().filter_map(|update| update.message);
            Heard::Acknowledge(messages.collect())
        }
        Ok(Request::Ping) => Heard::EmptyPing,
        Ok(Request::Nack(_) | Request::BroadcastSubscribe | Request::Urgency(_)) | Err(_) => Heard::Nothing,
    }
}
