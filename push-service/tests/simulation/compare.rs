//! Sessions compared with the storage that nodes share, as the real reconciler does it (PR-14).

use push_protocol::session::WakeUp;
use push_protocol::{MessageNumber, UserAgentId};
use push_service::storage::{Refreshed, Seat, Storage};

use crate::network::ConnectionId;
use crate::plant::Plant;
use crate::steps::{Step, at_once};
use crate::world::{Event, RECONCILE, World};

impl World {
    /// A channel's turn: it's asked about if it holds a seat.
    pub(crate) fn compare(&mut self, id: ConnectionId) {
        let Some(channel) = self.nodes.channels.get(&id) else {
            return;
        };
        if self.plant == Some(Plant::NeverCompare) {
            return;
        }
        let (user_agent, cursor) = (channel.session.user_agent(), channel.session.cursor());
        match user_agent.zip(cursor) {
            Some((user_agent, cursor)) => self.ask(id, Step::Refresh(user_agent, cursor)),
            None => self.after(RECONCILE, Event::Compare(id)),
        }
    }

    /// Storage's answer for a channel that was there when it was asked.
    pub(crate) fn compared(
        &mut self,
        id: ConnectionId,
        user_agent: UserAgentId,
        seat: Seat,
        before: MessageNumber,
        refreshed: Refreshed,
    ) {
        let now = self.nodes.channels.get(&id);
        let Some(cursor) = now.and_then(|channel| channel.session.cursor()) else {
            return self.give_back(user_agent, seat);
        };
        self.books.counts.compared += 1;
        match refreshed {
            Refreshed::Held { .. } if self.plant == Some(Plant::CompareSeatsOnly) => {}
            Refreshed::Held { last } if before <= last && last <= cursor => {}
            Refreshed::Held { last } => self.wake(user_agent, seat, WakeUp::Last(last)),
            Refreshed::Displaced => self.wake(user_agent, seat, WakeUp::Displaced),
            Refreshed::Unknown => {}
        }
        self.after(RECONCILE, Event::Compare(id));
    }

    /// A channel that has ended, or holds no seat any more, may have been given its seat again.
    pub(crate) fn give_back(&mut self, user_agent: UserAgentId, seat: Seat) {
        at_once(self.storage.release(user_agent, seat));
    }
}
