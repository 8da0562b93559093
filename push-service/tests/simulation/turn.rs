//! What a channel does in one turn: it reads, serves, does what its session decided, and writes.

use push_protocol::session::Action;
use push_protocol::wire::frame::{Incoming, write_close, write_ping, write_pong};
use push_protocol::wire::websocket::{
    Request, close_code, close_text, parse, write_hello, write_notification, write_pong as write_empty,
    write_urgency,
};
use push_protocol::{MessageId, SubscriptionName, Urgency, UserAgentIdentity};
use push_service::storage::Storage;

use crate::network::{ConnectionId, End};
use crate::node::Channel;
use crate::steps::{Step, at_once};
use crate::trace::trace;
use crate::world::World;

/// What was read, no longer borrowed.
enum Heard {
    Hello(Option<UserAgentIdentity>, Urgency),
    Register(SubscriptionName),
    Unregister(SubscriptionName),
    Acknowledge(Vec<MessageId>),
    EmptyPing,
    Filter(Urgency),
    Ping(Vec<u8>),
    Nothing,
    Close,
}

impl World {
    pub(crate) fn read_channel(&mut self, id: ConnectionId, channel: &mut Channel) -> bool {
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
                    self.checker
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
            Heard::Hello(identity, minimum) => {
                let bits = u128::from(self.chance.bits()) << 64 | u128::from(self.chance.bits());
                let fresh = UserAgentIdentity::from_random(bits.to_be_bytes());
                channel.said.clone_from(&identity);
                channel.session.begin_with(minimum);
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
            Heard::Filter(minimum) => {
                if channel.session.may_answer(now, out) {
                    write_urgency(&mut channel.out, true);
                    channel.session.set_minimum(minimum, now, out);
                }
            }
            Heard::Nothing => {}
            Heard::Register(_) | Heard::Unregister(_) | Heard::Acknowledge(_) => {
                if !channel.session.may_request(out) {
                    let what = "the user agent asked for something before it was welcomed";
                    return self.checker.violate("WS-HEL-1", what.to_owned());
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

    pub(crate) fn perform(&mut self, id: ConnectionId, channel: &mut Channel) -> bool {
        let actions = std::mem::take(&mut channel.actions);
        let busy = !actions.is_empty();
        for action in actions {
            match action {
                Action::Offer(message) => {
                    trace!(self, "channel {id} offers {:?}", message.id);
                    let slack = 4 * self.parameters.storage + 3_000;
                    self.checker.offered(message.id, self.now, slack);
                    if message.id.number.0 != 0 {
                        channel.on_wire.push_back(message.id);
                    }
                    if channel.on_wire.len() > usize::from(self.parameters.service.in_flight) {
                        self.checker
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
                Action::Unheard(_) => {}
                Action::Unacknowledged(count) => drop(channel.on_wire.drain(..count)),
                Action::Ended(_) => {}
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
    pub(crate) fn welcome(
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
                && self.parameters.storage_trouble_one_in == 0
                && self.parameters.storage < 20
            {
                let what = format!("channel {id} gets a new identity, but storage knows the old one");
                self.checker.violate("PR-3", what);
            }
            self.claim(id, channel, identity.id());
        }
        write_hello(&mut channel.out, identity);
    }

    pub(crate) fn hand_over_acknowledged(&mut self, id: ConnectionId, channel: &mut Channel) -> bool {
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

    pub(crate) fn read_page(&mut self, id: ConnectionId, channel: &mut Channel) -> bool {
        if channel.acknowledging || !channel.acknowledged.is_empty() || channel.end.is_some() {
            return false;
        }
        let (Some(request), Some(user_agent)) = (channel.wanted.take(), channel.session.user_agent()) else {
            return false;
        };
        self.ask(id, Step::Page(user_agent, request));
        true
    }

    pub(crate) fn write_channel(&mut self, id: ConnectionId, channel: &mut Channel) -> bool {
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
}

fn heard(incoming: &Incoming<'_>) -> Heard {
    let text = match incoming {
        Incoming::Text(text) => text,
        Incoming::Ping(payload) => return Heard::Ping(payload.to_vec()),
        Incoming::Close(_) => return Heard::Close,
        Incoming::Pong | Incoming::Fragment | Incoming::Binary => return Heard::Nothing,
    };
    match parse(text) {
        Ok(Request::Hello(identity, minimum)) => Heard::Hello(identity, minimum),
        Ok(Request::Register { name, .. }) => name.parsed.map_or(Heard::Nothing, Heard::Register),
        Ok(Request::Unregister { name, .. }) => name.parsed.map_or(Heard::Nothing, Heard::Unregister),
        Ok(Request::Ack(updates)) => {
            let messages = updates.iter().filter_map(|update| update.message);
            Heard::Acknowledge(messages.collect())
        }
        Ok(Request::Ping) => Heard::EmptyPing,
        Ok(Request::Urgency(minimum)) => minimum.map_or(Heard::Nothing, Heard::Filter),
        Ok(Request::Nack(_) | Request::BroadcastSubscribe) | Err(_) => Heard::Nothing,
    }
}
