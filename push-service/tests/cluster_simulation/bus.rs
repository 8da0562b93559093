//! Wake-ups on their way to other nodes: lost, late, repeated, out of order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use push_protocol::{MessageNumber, UserAgentId};
use push_service::storage::{Seat, WakeUp};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;

use crate::plant::Plant;
use crate::process::Process;
use crate::store::millis;
use crate::trace::trace;
use crate::world::World;

/// A wake-up for a seat.
pub(crate) type Letter = (UserAgentId, Seat, WakeUp);

/// The last wake-up for each seat: for [`Plant::TrustGap`].
#[derive(Default)]
pub(crate) struct Sent(Mutex<BTreeMap<(u64, u64), MessageNumber>>);

impl World {
    /// A step of storage wakes a seat of another node than the one that runs the step.
    pub(crate) fn publish(self: &Arc<Self>, user_agent: UserAgentId, seat: Seat, wake_up: WakeUp) {
        let Some(process) = self.process_of(seat.incarnation) else {
            return;
        };
        let (lost, twice) = {
            let mut chance = self.chance();
            (
                chance.one_in(self.parameters.bus_lost_one_in),
                chance.one_in(self.parameters.bus_twice_one_in),
            )
        };
        let is_silent = self.plant == Some(Plant::Silent);
        if is_silent || !self.is_calm() && (lost || process.health.is_deaf(self.time_ms())) {
            self.checker().counts.wake_ups_lost += 1;
            return trace!(self, "a wake-up of {user_agent} is lost: {}", Letters(&wake_up));
        }
        let wake_up = match self.plant {
            Some(Plant::TrustGap) => self.sent.pretend(seat, wake_up),
            _ => wake_up,
        };
        self.checker().woken(&wake_up);
        if twice && !self.is_calm() {
            self.checker().woken(&wake_up);
            self.checker().counts.wake_ups_repeated += 1;
            self.send_to(&process, (user_agent, seat, wake_up.clone()));
        }
        self.send_to(&process, (user_agent, seat, wake_up));
    }

    fn send_to(&self, process: &Arc<Process>, letter: Letter) {
        let most = if self.is_calm() {
            5
        } else {
            self.parameters.bus_delay
        };
        let delay = self.chance().within(0..=most);
        let process = Arc::clone(process);
        tokio::spawn(async move {
            sleep(millis(delay)).await;
            let _ = process.ear.send(letter);
        });
    }
}

impl Sent {
    /// Names the wake-up that was sent to this seat before, even if that one was lost.
    fn pretend(&self, seat: Seat, wake_up: WakeUp) -> WakeUp {
        let WakeUp::Stored { message, previous } = wake_up else {
            return wake_up;
        };
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = sent.insert((seat.incarnation, seat.session), message.id.number);
        WakeUp::Stored {
            previous: before.unwrap_or(previous),
            message,
        }
    }
}

/// A node receives wake-ups in the order in which they arrive.
pub(crate) async fn listen(process: Arc<Process>, mut letters: UnboundedReceiver<Letter>) {
    while let Some((user_agent, seat, wake_up)) = letters.recv().await {
        process.reconciler.registry().announce(user_agent, seat, wake_up);
    }
}

/// A wake-up, for the trace.
pub(crate) struct Letters<'a>(pub(crate) &'a WakeUp);

impl std::fmt::Display for Letters<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            WakeUp::Stored { message, previous } => {
                write!(f, "{:?} behind {}", message.id, previous.0)
            }
            WakeUp::Passing(message) => write!(f, "{:?} passes", message.id),
            other => write!(f, "{other:?}"),
        }
    }
}
