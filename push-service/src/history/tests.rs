use push_protocol::{MessageId, MessageNumber, SubscriptionId, Ttl, Urgency, UserAgentId};

use super::memory::Shard;
use super::*;
use crate::metrics::{ChannelKind, Closed, Label, Refused};
use crate::storage::RemovalReason;

const USER_AGENT: UserAgentId = UserAgentId([7; 16]);
const SUBSCRIPTION: SubscriptionId = SubscriptionId([0xfe, 1, 2, 3, 4, 5, 6, 7]);

fn user_agent(n: usize) -> UserAgentId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(n as u64).to_be_bytes());
    UserAgentId(id)
}

fn acknowledged(nonce: u64) -> Step {
    Step::now(StepKind::Acknowledged).of(MessageNonce(nonce))
}

fn nonces(steps: &[Step]) -> Vec<u64> {
    steps.iter().filter_map(|step| Some(step.message?.0)).collect()
}

/// Every kind of step, with each of its details, comes back as it was recorded.
#[test]
fn each_step_comes_back_as_it_was() {
    let accepted = |(ttl, bytes): (u64, u32)| {
        Urgency::ALL.map(|urgency| StepKind::Accepted {
            urgency,
            ttl: Ttl::from_secs(ttl),
            bytes,
        })
    };
    let kinds = [
        StepKind::Subscribed,
        StepKind::Unsubscribed,
        StepKind::Acknowledged,
    ]
    .into_iter()
    .chain([(0, 0), (1 << 31, u32::MAX)].into_iter().flat_map(accepted))
    .chain(
        Refused::ALL
            .iter()
            .map(|why| StepKind::Refused { why: *why, times: 7 }),
    )
    .chain(ChannelKind::ALL.iter().map(|kind| StepKind::Offered(*kind)))
    .chain(ChannelKind::ALL.iter().map(|kind| StepKind::Attached(*kind)))
    .chain(RemovalReason::ALL.map(StepKind::Removed))
    .chain(Closed::ALL.iter().map(|why| StepKind::Left(*why)));
    for kind in kinds {
        let named = Step::now(kind).of(MessageNonce(u64::MAX)).to(SUBSCRIPTION);
        for step in [named, Step::now(kind), Step::now(kind).of(MessageNonce(0))] {
            let history = History::bounded(1);
            history.record(&USER_AGENT, step);
            assert_eq!(history.of(&USER_AGENT), [step]);
        }
    }
}

/// Of one user agent the last steps are remembered, oldest first, however many there were.
#[test]
fn the_last_steps_stay() {
    let history = History::bounded(1);
    for upto in 1..=3 * HISTORY_STEPS as u64 {
        history.record(&USER_AGENT, acknowledged(upto));
        let first = upto.saturating_sub(HISTORY_STEPS as u64) + 1;
        assert_eq!(
            nonces(&history.of(&USER_AGENT)),
            (first..=upto).collect::<Vec<_>>()
        );
    }
}

/// Refusals that follow each other for one reason are one step, so a flood of them displaces nothing.
#[test]
fn refusals_are_counted_together() {
    let history = History::bounded(1);
    let refused = |why| Step::now(StepKind::Refused { why, times: 1 }).to(SUBSCRIPTION);
    for n in 0..HISTORY_STEPS as u64 - 2 {
        history.record(&USER_AGENT, acknowledged(n));
    }
    for _ in 0..3 {
        for _ in 0..1_000 {
            history.record(&USER_AGENT, refused(Refused::Vapid));
        }
        history.record(&USER_AGENT, refused(Refused::RateLimited));
    }
    let kinds = history.of(&USER_AGENT).into_iter().map(|step| step.kind).rev();
    let refusals = kinds.filter_map(|kind| match kind {
        StepKind::Refused { why, times } => Some((why, times)),
        _ => None,
    });
    let vapid = (Refused::Vapid, 1_000);
    let limited = (Refused::RateLimited, 1);
    assert_eq!(
        refusals.collect::<Vec<_>>(),
        [limited, vapid, limited, vapid, limited, vapid]
    );
    assert_eq!(nonces(&history.of(&USER_AGENT)).len(), HISTORY_STEPS - 6);
}

/// A user agent that only comes and goes has its last channel remembered, and takes no more memory each time; a channel on which
/// something happened stays.
#[test]
fn an_empty_stay_gives_way_to_the_next() {
    let history = History::bounded(1);
    let came = || Step::now(StepKind::Attached(ChannelKind::ALL[0]));
    let went = || Step::now(StepKind::Left(Closed::Left));
    let kinds = || {
        let steps = history.of(&USER_AGENT).into_iter();
        steps.map(|step| step.kind.as_str()).collect::<Vec<_>>()
    };
    history.record(&USER_AGENT, Step::now(StepKind::Subscribed));
    for _ in 0..100 {
        history.record(&USER_AGENT, came());
        history.record(&USER_AGENT, went());
    }
    assert_eq!(kinds(), ["subscribed", "attached", "left"]);
    for step in [came(), acknowledged(1), went(), came(), went(), came()] {
        history.record(&USER_AGENT, step);
    }
    assert_eq!(
        kinds(),
        ["subscribed", "attached", "acknowledged", "left", "attached"]
    );
}

/// The user agent that was touched longest ago gives way, with all of its steps.
#[test]
fn the_memory_is_bounded() {
    let mut shard = Shard::new(3);
    let mut add = |n: usize| {
        shard.add(&user_agent(n), acknowledged(n as u64));
        let is_known = |n: &usize| !shard.steps(&user_agent(*n)).is_empty();
        assert!(shard.user_agents() <= 3);
        (1..=6).filter(is_known).collect::<Vec<_>>()
    };
    assert_eq!([add(1), add(2), add(3)], [vec![1], vec![1, 2], vec![1, 2, 3]]);
    assert_eq!(add(1), [1, 2, 3]);
    assert_eq!(add(4), [1, 3, 4], "2 was touched longest ago");
    assert_eq!(add(3), [1, 3, 4]);
    assert_eq!([add(5), add(6)], [vec![3, 4, 5], vec![3, 5, 6]]);
    assert_eq!(add(4), [4, 5, 6], "nothing of its earlier steps is left");
    assert_eq!(nonces(&shard.steps(&user_agent(4))), [4]);
}

/// A step that knows only its message belongs to the subscription of the message, so that both look-ups find it.
#[test]
fn a_message_keeps_its_subscription() {
    let history = History::bounded(1);
    let id = MessageId {
        number: MessageNumber(1),
        nonce: 2,
    };
    let accepted = StepKind::Accepted {
        urgency: Urgency::High,
        ttl: Ttl::from_secs(60),
        bytes: 3,
    };
    history.record(&USER_AGENT, Step::now(accepted).of(id).to(SUBSCRIPTION));
    history.record(&USER_AGENT, acknowledged(9));
    history.record(
        &USER_AGENT,
        Step::now(StepKind::Removed(RemovalReason::Expired)).of(id),
    );
    let steps = history.of_message(&USER_AGENT, id.into());
    assert_eq!(steps.len(), 2);
    assert_eq!(steps, history.of_subscription(&USER_AGENT, SUBSCRIPTION));
    assert_eq!(history.of(&USER_AGENT).len(), 3);
    assert!(history.of(&user_agent(1)).is_empty());
}

/// A message and a subscription are found by their digits in the log, without their user agent.
#[test]
fn what_the_log_names_is_found() {
    let history = History::bounded(100_000);
    for n in 0..100 {
        let step = acknowledged(n as u64 + 1).to(SubscriptionId((1_000 + n as u64).to_be_bytes()));
        history.record(&user_agent(n), step);
    }
    let found = |digits| {
        history
            .find(digits)
            .map(|(user_agent, step)| (user_agent, step.message))
    };
    for n in [0, 41, 99] {
        let expected = Some((user_agent(n), Some(MessageNonce(n as u64 + 1))));
        assert_eq!(found(n as u64 + 1), expected, "its message");
        assert_eq!(found(n as u64 + 1_000), expected, "its subscription");
    }
    assert_eq!(found(5_000), None);
}

/// A message is named in the log as `inspect` reads it.
#[test]
fn a_message_is_named_by_its_nonce() {
    for nonce in [0, 0x0123_4567_89ab_cdef, u64::MAX] {
        let text = MessageNonce(nonce).to_string();
        assert_eq!(MessageNonce::parse(&text), Some(MessageNonce(nonce)));
    }
    for wrong in ["", "+123456789abcdef", "0123", "0123456789abcdef0"] {
        assert_eq!(MessageNonce::parse(wrong), None, "{wrong}");
    }
}
