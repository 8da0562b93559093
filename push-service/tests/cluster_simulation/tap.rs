//! Shows the checker what a node reads from a connection and writes to it, at that moment.

use std::sync::Arc;

use push_protocol::wire::frame::{FrameReader, Incoming, Reader};
use push_protocol::wire::websocket::{Reply, Request, parse, parse_reply};
use push_protocol::{MessageId, UserAgentId, UserAgentIdentity};

use crate::checker::Where;
use crate::process::Health;
use crate::trace::trace;
use crate::world::World;

/// Reads along at the node's end of a connection.
pub(crate) struct Tap {
    world: Arc<World>,
    health: Arc<Health>,
    connection: u64,
    inward: FrameReader,
    read: Vec<u8>,
    outward: FrameReader,
    written: Vec<u8>,
    /// The identity in the user agent's hello, and since when.
    said: Option<(UserAgentIdentity, u64)>,
    user_agent: Option<UserAgentId>,
}

enum Seen {
    Hello(Option<UserAgentIdentity>),
    Acknowledged(Vec<MessageId>),
    Welcome(UserAgentIdentity),
    Offer(Option<MessageId>),
    Nothing,
}

impl Tap {
    pub(crate) fn new(world: &Arc<World>, health: &Arc<Health>, connection: u64) -> Self {
        Self {
            world: Arc::clone(world),
            health: Arc::clone(health),
            connection,
            inward: FrameReader::new(Reader::Service, 1 << 20),
            read: Vec::new(),
            outward: FrameReader::new(Reader::UserAgent, 1 << 20),
            written: Vec::new(),
            said: None,
            user_agent: None,
        }
    }

    /// The node has read these bytes.
    pub(crate) fn heard(&mut self, bytes: &[u8]) {
        self.read.extend_from_slice(bytes);
        while let Ok(Some((incoming, taken))) = self.inward.read(&mut self.read) {
            let seen = match incoming {
                Incoming::Text(text) => match parse(text) {
                    Ok(Request::Hello(identity, _)) => Seen::Hello(identity),
                    Ok(Request::Ack(updates)) => {
                        Seen::Acknowledged(updates.iter().filter_map(|update| update.message).collect())
                    }
                    _ => Seen::Nothing,
                },
                _ => Seen::Nothing,
            };
            self.read.drain(..taken);
            self.see(seen, false);
        }
    }

    /// The node has written these bytes. `is_late`: it may have kept them for a while.
    pub(crate) fn told(&mut self, bytes: &[u8], is_late: bool) {
        self.written.extend_from_slice(bytes);
        while let Ok(Some((incoming, taken))) = self.outward.read(&mut self.written) {
            let seen = match incoming {
                Incoming::Text(text) => match parse_reply(text) {
                    Ok(Reply::Hello(Some(identity))) => {
                        UserAgentIdentity::parse(identity.as_str()).map_or(Seen::Nothing, Seen::Welcome)
                    }
                    Ok(Reply::Arrived(arrived)) => Seen::Offer(MessageId::parse(&arrived.id)),
                    _ => Seen::Nothing,
                },
                Incoming::Close(code) => {
                    trace!(
                        self.world,
                        "node {} closes connection {}: {code:?}", self.health.place, self.connection
                    );
                    Seen::Nothing
                }
                _ => Seen::Nothing,
            };
            self.written.drain(..taken);
            self.see(seen, is_late);
        }
    }

    fn see(&mut self, seen: Seen, is_late: bool) {
        let now = self.world.time_ms();
        match seen {
            Seen::Hello(identity) => self.said = identity.map(|identity| (identity, now)),
            Seen::Acknowledged(ids) => {
                trace!(
                    self.world,
                    "node {} reads on connection {}: acknowledged {ids:?}",
                    self.health.place,
                    self.connection
                );
                for id in ids {
                    self.world
                        .checker()
                        .acknowledgement_read(id, now, self.connection, &self.health);
                }
            }
            Seen::Welcome(identity) => {
                self.user_agent = Some(identity.id());
                self.check_welcome(&identity);
            }
            Seen::Offer(id) => {
                trace!(
                    self.world,
                    "node {} offers on connection {}: {id:?}", self.health.place, self.connection
                );
                let at = Where {
                    now,
                    connection: self.connection,
                    user_agent: self.user_agent,
                    may_be_late: is_late || self.health.was_disturbed_since(now.saturating_sub(LATE)),
                };
                let slack = self.world.offer_slack();
                self.world.checker().offered(id, at, slack);
            }
            Seen::Nothing => {}
        }
    }

    /// PR-3: a new identity only for a user agent that storage doesn't know.
    fn check_welcome(&self, identity: &UserAgentIdentity) {
        let Some((said, since)) = &self.said else { return };
        if said == identity {
            return;
        }
        let mut checker = self.world.checker();
        if checker.is_confirmed_before(said.id(), *since) {
            let what = format!(
                "connection {} gets a new identity, but {} has subscriptions that were confirmed",
                self.connection,
                said.id()
            );
            checker.violate("PR-3", what);
        }
    }
}

/// How long after a disturbance a node may still use old knowledge, in milliseconds.
const LATE: u64 = 10_000;
