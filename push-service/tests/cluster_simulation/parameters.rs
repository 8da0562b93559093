//! The parameters of a world, from its seed: its nodes, how its storage and its network behave, and how often each
//! trouble comes.
//!
//! Every seed leaves some troubles out, so that each is tested alone and with others.

use std::time::Duration;

use push_protocol::session::Limits;
use push_service::storage::QueueLimits;

use crate::chance::Chance;

/// A trouble, or an unusual action of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    /// A connection breaks; each end learns of it at once, late or never.
    Cut,
    /// A user agent moves to another node.
    Move,
    /// A user agent reads nothing for a while.
    Stall,
    /// A node dies, and comes back as another incarnation.
    Kill,
    /// A node's process stands still for a while.
    Pause,
    /// A node drains.
    Drain,
    /// A node is cut off from storage for a while.
    CutOff,
    /// A node's wake-ups are lost for a while; then it is told of the gap.
    Deaf,
    /// A subscription ends, and is made again.
    Unsubscribe,
    /// A burst of messages.
    Burst,
    /// An application server deletes a message.
    Cancel,
    /// Storage's clock is set.
    StoreClock,
    /// A node's clock is set.
    NodeClock,
}

const TROUBLES: [(Trouble, u64); 13] = [
    (Trouble::Cut, 6),
    (Trouble::Move, 8),
    (Trouble::Stall, 2),
    (Trouble::Kill, 3),
    (Trouble::Pause, 5),
    (Trouble::Drain, 2),
    (Trouble::CutOff, 2),
    (Trouble::Deaf, 3),
    (Trouble::Unsubscribe, 2),
    (Trouble::Burst, 4),
    (Trouble::Cancel, 2),
    (Trouble::StoreClock, 1),
    (Trouble::NodeClock, 1),
];

/// The parameters of a world. Times in milliseconds; a `one_in` of 0 means never.
pub(crate) struct Parameters {
    pub(crate) nodes: usize,
    pub(crate) agents: usize,
    pub(crate) names: usize,
    /// User agents that have a second device with the same identity.
    pub(crate) double_one_in: u64,
    /// How long the troubles last.
    pub(crate) lasts: u64,
    pub(crate) trouble_every: u64,
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) send_every: u64,
    /// How long bytes are on their way between a user agent and a node.
    pub(crate) delay: u64,
    /// How long a step takes on its way to storage, and its answer on the way back.
    pub(crate) storage: u64,
    /// Steps that are seconds late, before or after they ran.
    pub(crate) slow_one_in: u64,
    /// Steps that fail, executed or not.
    pub(crate) fault_one_in: u64,
    /// How long a wake-up is on its way to another node.
    pub(crate) bus_delay: u64,
    pub(crate) bus_lost_one_in: u64,
    pub(crate) bus_twice_one_in: u64,
    /// How long a user agent takes to acknowledge.
    pub(crate) acknowledge_within: u64,
    /// Messages that it acknowledges only after the troubles.
    pub(crate) forget_one_in: u64,
    pub(crate) acknowledge_twice_one_in: u64,
    pub(crate) receipts_one_in: u64,
    pub(crate) reconcile: u64,
    pub(crate) queue_limits: QueueLimits,
    pub(crate) service: Limits,
}

impl Parameters {
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        // Without any, the world has only messages.
        let troubles = chance.some_of(&TROUBLES);
        Self {
            nodes: chance.within(2..=3) as usize,
            agents: chance.within(1..=3) as usize,
            names: chance.within(1..=3) as usize,
            double_one_in: chance.pick(&[0, 0, 2, 1]),
            lasts: chance.within(20..=70) * 1_000,
            trouble_every: chance.within(2..=15) * 1_000,
            troubles,
            send_every: chance.within(500..=5_000),
            delay: chance.pick(&[1, 30, 200, 1_500]),
            storage: chance.pick(&[1, 10, 60, 400]),
            slow_one_in: chance.pick(&[0, 0, 100, 25]),
            fault_one_in: chance.pick(&[0, 0, 0, 60, 15]),
            bus_delay: chance.pick(&[1, 20, 300, 3_000]),
            bus_lost_one_in: chance.pick(&[0, 0, 10, 3, 1]),
            bus_twice_one_in: chance.pick(&[0, 0, 10, 3]),
            acknowledge_within: chance.pick(&[1, 200, 3_000]),
            forget_one_in: chance.pick(&[0, 0, 20, 4]),
            acknowledge_twice_one_in: chance.pick(&[0, 10, 3]),
            receipts_one_in: chance.pick(&[0, 0, 3, 1]),
            reconcile: chance.pick(&[10, 20]) * 1_000,
            queue_limits: QueueLimits {
                messages: chance.pick(&[1_000, 1_000, 1_000, 10]),
                bytes: 4 << 20,
            },
            service: service(chance),
        }
    }

    /// The longest time of a step of storage, without troubles.
    pub(crate) fn step(&self) -> u64 {
        2 * self.storage
    }
}

fn service(chance: &mut Chance) -> Limits {
    let second = Duration::from_secs(1);
    Limits {
        hello_within: 5 * second,
        attach_within: 8 * second,
        in_flight: chance.pick(&[1, 2, 3, 4, 8, 32]),
        acknowledge_within: chance.pick(&[10, 60]) * second,
        page_messages: chance.pick(&[1, 2, 8, 32]),
        page_bytes: chance.pick(&[1, 500, 65_536]),
        ask_storage_again_after: second,
        ping_every: chance.pick(&[10, 20, 60]) * second,
        pong_within: 10 * second,
        write_within: 20 * second,
        answer_every: 5 * second,
        answer_burst: 6,
        drain_within: second,
    }
}
