//! The network: connections that carry bytes in order, late, in pieces, and not for ever.

use crate::trace::trace;
use crate::world::{Event, World};

/// Numbers connections in the order in which they were begun.
pub(crate) type ConnectionId = u64;

/// An end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Node,
    Agent,
}

/// A connection, from the user agent's first packet to its end.
pub(crate) struct Connection {
    pub(crate) agent: usize,
    /// The life of the user agent that began it.
    pub(crate) life: u64,
    toward_node: Pipe,
    toward_agent: Pipe,
    /// The user agent takes nothing.
    pub(crate) stalled: bool,
}

/// One direction.
#[derive(Default)]
struct Pipe {
    /// When the last piece arrives: the next one comes no earlier.
    last: u64,
    /// Nothing more goes in.
    closed: bool,
    /// Nothing more comes out.
    lost: bool,
    /// The reader knows that it is over.
    told: bool,
}

impl Connection {
    fn pipe(&mut self, to: End) -> &mut Pipe {
        match to {
            End::Node => &mut self.toward_node,
            End::Agent => &mut self.toward_agent,
        }
    }
}

impl World {
    /// The user agent begins a connection.
    pub(crate) fn connect(&mut self, agent: usize) -> ConnectionId {
        self.checker.counts.channels += 1;
        let connection = self.checker.counts.channels;
        let life = self.agents[agent].life;
        self.connections.insert(
            connection,
            Connection {
                agent,
                life,
                toward_node: Pipe::default(),
                toward_agent: Pipe::default(),
                stalled: false,
            },
        );
        self.pass(connection, End::Node, Event::Reached(connection));
        connection
    }

    /// Something arrives at an end, behind all that was sent to it before.
    pub(crate) fn pass(&mut self, connection: ConnectionId, to: End, event: Event) {
        let delay = self.chance.within(0..=self.parameters.delay);
        let at = self.now + delay;
        let Some(pipe) = self
            .connections
            .get_mut(&connection)
            .map(|connection| connection.pipe(to))
        else {
            return;
        };
        if pipe.closed {
            return;
        }
        pipe.last = pipe.last.max(at);
        let at = pipe.last;
        self.at(at, event);
    }

    /// Bytes on their way, whole or in pieces.
    pub(crate) fn send(&mut self, connection: ConnectionId, to: End, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let piece = if self.parameters.segments {
                self.chance.within(1..=rest.len().min(400) as u64) as usize
            } else {
                rest.len()
            };
            let (now, later) = rest.split_at(piece);
            self.pass(connection, to, Event::Bytes(connection, to, now.to_vec()));
            rest = later;
        }
    }

    /// An end says that it says nothing more.
    pub(crate) fn finish(&mut self, connection: ConnectionId, to: End) {
        self.pass(connection, to, Event::Over(connection, to));
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.pipe(to).closed = true;
        }
    }

    /// Breaks a connection. What is under way arrives or doesn't; each end learns of it at once, late or never.
    pub(crate) fn cut(&mut self, connection: ConnectionId) {
        self.checker.counts.cuts += 1;
        trace!(self, "connection {connection} breaks");
        for to in [End::Node, End::Agent] {
            let lost = self.chance.one_in(2);
            let learns = match self.chance.within(0..=2) {
                0 => Some(0),
                1 => Some(self.chance.within(0..=30_000)),
                _ => None,
            };
            let Some(cut) = self.connections.get_mut(&connection) else {
                return;
            };
            let pipe = cut.pipe(to);
            pipe.closed = true;
            pipe.lost |= lost;
            if let Some(learns) = learns {
                let at = pipe.last.max(self.now + learns);
                self.at(at, Event::Over(connection, to));
            }
        }
    }

    /// One end is gone without a word: the other learns of it at once, late or never, and what it says goes nowhere.
    pub(crate) fn abandon(&mut self, connection: ConnectionId, by: End) {
        let other = match by {
            End::Node => End::Agent,
            End::Agent => End::Node,
        };
        let learns = match self.chance.within(0..=3) {
            0 | 1 => Some(self.chance.within(0..=self.parameters.delay)),
            2 => Some(self.chance.within(0..=30_000)),
            _ => None,
        };
        let Some(abandoned) = self.connections.get_mut(&connection) else {
            return;
        };
        abandoned.pipe(by).closed = true;
        abandoned.pipe(by).lost = true;
        let pipe = abandoned.pipe(other);
        if pipe.closed {
            return;
        }
        pipe.closed = true;
        if let Some(learns) = learns {
            let at = pipe.last.max(self.now + learns);
            self.at(at, Event::Over(connection, other));
        }
    }

    pub(crate) fn bytes(&mut self, connection: ConnectionId, to: End, bytes: &[u8]) {
        let lost = self
            .connections
            .get_mut(&connection)
            .is_none_or(|connection| connection.pipe(to).lost);
        if lost {
            return;
        }
        match to {
            End::Node => self.service_reads(connection, bytes),
            End::Agent => self.agent_reads(connection, bytes),
        }
    }

    pub(crate) fn over(&mut self, connection: ConnectionId, to: End) {
        let Some(over) = self.connections.get_mut(&connection) else {
            return;
        };
        over.pipe(to).lost = true;
        if std::mem::replace(&mut over.pipe(to).told, true) {
            return;
        }
        let both = over.toward_node.told && over.toward_agent.told;
        match to {
            End::Node => self.service_lost(connection),
            End::Agent => self.agent_lost(connection),
        }
        if both {
            self.connections.remove(&connection);
        }
    }

    pub(crate) fn unstall(&mut self, connection: ConnectionId) {
        if let Some(stalled) = self.connections.get_mut(&connection) {
            stalled.stalled = false;
            self.turn(connection);
        }
    }
}
