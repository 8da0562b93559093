//! The parameters of a world, from its seed: its limits, how its network behaves, and how often each trouble comes.
//!
//! Every seed leaves some troubles out, so that each is tested alone and with others.

use std::sync::Arc;
use std::time::Duration;

use push_protocol::session;
use push_protocol::session::user_agent;
use push_service::storage::QueueLimits;

use crate::chance::Chance;

/// A trouble, or an unusual action of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    /// A connection breaks; its ends learn of it at once, late or never.
    Cut,
    /// Connections are refused for a while.
    Refuse,
    /// A user agent reads nothing for a while.
    Stall,
    /// A user agent's process dies.
    Kill,
    /// An application stops its user agent in good order.
    Stop,
    /// The node dies and comes back.
    Crash,
    /// The node leaves in good order, and another one comes.
    Drain,
    /// Storage forgets a user agent.
    Forget,
    Subscribe,
    Unsubscribe,
    /// The user agent's machine says that its network is another one.
    NetworkChanged,
    /// Messages that come all at once.
    Burst,
    /// An application server takes a message back.
    Cancel,
    /// A user agent wants messages of some urgency and above only.
    Filter,
    /// An application can't work with any message of a subscription, or with none at all, for a while.
    Outage,
    /// The service says once that it does not know a user agent, or gives it another identity once.
    Lie,
}

const TROUBLES: [(Trouble, u64); 16] = [
    (Trouble::Cut, 8),
    (Trouble::Refuse, 2),
    (Trouble::Stall, 3),
    (Trouble::Kill, 4),
    (Trouble::Stop, 1),
    (Trouble::Crash, 2),
    (Trouble::Drain, 1),
    (Trouble::Forget, 1),
    (Trouble::Subscribe, 3),
    (Trouble::Unsubscribe, 2),
    (Trouble::NetworkChanged, 1),
    (Trouble::Burst, 4),
    (Trouble::Cancel, 2),
    (Trouble::Filter, 3),
    (Trouble::Outage, 3),
    (Trouble::Lie, 3),
];

/// The parameters of a world. Times in milliseconds; a `one_in` of 0 means never.
pub(crate) struct Parameters {
    pub(crate) agents: usize,
    pub(crate) names: usize,
    /// How long the troubles last.
    pub(crate) lasts: u64,
    pub(crate) trouble_every: u64,
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) send_every: u64,
    pub(crate) delay: u64,
    /// Whether bytes are cut at random places.
    pub(crate) segments: bool,
    pub(crate) storage: u64,
    pub(crate) storage_trouble_one_in: u64,
    /// The user agent dies before an action.
    pub(crate) death_one_in: u64,
    pub(crate) acknowledge_again_one_in: u64,
    pub(crate) release_one_in: u64,
    pub(crate) fail_one_in: u64,
    pub(crate) slow_handler_one_in: u64,
    /// A message that kills the process that handles it.
    pub(crate) kills_one_in: u64,
    /// Ids differ within a subscription only, as those of some services.
    pub(crate) equal_ids: bool,
    /// In the end an application fails on one subscription for good, and the others have to go on.
    pub(crate) stuck: bool,
    pub(crate) inbox: usize,
    pub(crate) body: u64,
    pub(crate) queue_limits: QueueLimits,
    pub(crate) service: Arc<session::Limits>,
    pub(crate) user_agent: Arc<user_agent::Limits>,
}

impl Parameters {
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        // Without any, the world has only messages.
        let troubles = chance.some_of(&TROUBLES);
        Self {
            agents: chance.within(1..=3) as usize,
            names: chance.within(1..=4) as usize,
            lasts: chance.within(120..=420) * 1_000,
            trouble_every: chance.within(3..=40) * 1_000,
            troubles,
            send_every: chance.within(2..=15) * 1_000,
            delay: chance.pick(&[1, 50, 300, 2_000]),
            segments: chance.one_in(2),
            storage: chance.pick(&[1, 20, 300, 1_500]),
            storage_trouble_one_in: chance.pick(&[0, 0, 0, 40, 10]),
            death_one_in: chance.pick(&[0, 0, 500, 100]),
            acknowledge_again_one_in: chance.pick(&[0, 20, 4]),
            release_one_in: chance.pick(&[0, 0, 30]),
            fail_one_in: chance.pick(&[0, 30, 8, 3]),
            slow_handler_one_in: chance.pick(&[0, 30, 6]),
            kills_one_in: chance.pick(&[0, 0, 100]),
            equal_ids: chance.one_in(3),
            stuck: chance.one_in(2),
            inbox: chance.pick(&[1, 2, 4, 16]),
            body: chance.pick(&[16, 200, 900]),
            queue_limits: QueueLimits {
                messages: chance.pick(&[1_000, 1_000, 1_000, 12]),
                bytes: 4 << 20,
            },
            service: Arc::new(service(chance)),
            user_agent: Arc::new(user_agent(chance)),
        }
    }
}

fn service(chance: &mut Chance) -> session::Limits {
    let second = Duration::from_secs(1);
    session::Limits {
        hello_within: 5 * second,
        attach_within: 8 * second,
        in_flight: chance.pick(&[1, 2, 3, 4, 8, 32]),
        acknowledge_within: chance.pick(&[10, 60]) * second,
        page_messages: chance.pick(&[1, 2, 3, 8, 32]),
        page_bytes: chance.pick(&[1, 500, 2_000, 65_536]),
        ask_storage_again_after: second,
        ping_every: chance.pick(&[20, 60, 300]) * second,
        pong_within: 10 * second,
        write_within: 30 * second,
        answer_every: 5 * second,
        answer_burst: 6,
        drain_within: second,
    }
}

fn user_agent(chance: &mut Chance) -> user_agent::Limits {
    let second = Duration::from_secs(1);
    user_agent::Limits {
        connect_within: 10 * second,
        answer_within: 10 * second,
        keepalive_least: chance.pick(&[15, 45]) * second,
        keepalive_most: 120 * second,
        keepalive_floor: 10 * second,
        backoff_least: second / 10,
        backoff_base: second,
        backoff_most: 60 * second,
        retry_after_most: 3_600 * second,
        steady_after: 60 * second,
        forgotten_apart: 5 * second,
        network_apart: 2 * second,
        network_calm: 60 * second,
        held_messages: chance.pick(&[1, 2, 3, 8, 64]),
        held_bytes: chance.pick(&[300, 2_500, 100_000]),
        attempts: chance.within(1..=4) as u32,
        crashes: chance.pick(&[2, 3, 8, 16]),
        retry_base: chance.pick(&[1, 5]) * second,
        retry_most: 60 * second,
        pause_base: second,
        pause_most: 60 * second,
        requests: chance.pick(&[1, 2, 8]),
        ask_again_after: 2 * second,
        nonsense: 10,
        wish_every: 5 * second,
        stop_within: 5 * second,
    }
}
