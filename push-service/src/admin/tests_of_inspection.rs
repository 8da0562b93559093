//! What is shown of a message, and how its state follows from storage and steps.

use super::*;

fn step(at_ms: u64, event: &str, reason: Option<&str>) -> ShownStep {
    ShownStep {
        at: time(at_ms),
        at_us: at_ms * 1_000,
        event: event.to_owned(),
        subscription: Some("s".to_owned()),
        message: Some("m".to_owned()),
        channel: None,
        reason: reason.map(str::to_owned),
        times: None,
        urgency: None,
        ttl_secs: None,
        bytes: None,
        node: None,
    }
}

fn accepted(at_ms: u64, ttl_secs: u64) -> ShownStep {
    ShownStep {
        ttl_secs: Some(ttl_secs),
        ..step(at_ms, "accepted", None)
    }
}

fn inspection(waits: Option<bool>, steps: Vec<ShownStep>) -> Inspection {
    Inspection {
        kind: InspectedKind::Message,
        user_agent: "u".to_owned(),
        subscription: Some("s".to_owned()),
        message: Some("m".to_owned()),
        state: None,
        waits,
        receipt: None,
        subscribed: None,
        report: None,
        waiting: Vec::new(),
        steps,
        nodes: Vec::new(),
    }
}

fn state(inspection: &Inspection) -> MessageState {
    let mut concluded = inspection.clone();
    concluded.conclude(100_000);
    concluded.state.unwrap()
}

/// What storage says of a message comes first; then the step that ended it; then what can be concluded.
#[test]
fn a_state_follows_from_storage_and_steps() {
    let unsubscribed = ShownStep {
        message: None,
        ..step(50_001, "unsubscribed", None)
    };
    let other = ShownStep {
        message: Some("other".to_owned()),
        ..step(50_001, "acknowledged", None)
    };
    let offered = || step(50_001, "offered", None);
    let removed = |reason| step(50_002, "removed", Some(reason));
    let rows = [
        (Some(true), vec![], MessageState::Waiting),
        (
            Some(true),
            vec![accepted(50_000, 60), other],
            MessageState::Waiting,
        ),
        (
            Some(true),
            vec![accepted(50_000, 60), offered()],
            MessageState::Offered,
        ),
        (
            Some(false),
            vec![offered(), step(50_002, "acknowledged", None)],
            MessageState::Acknowledged,
        ),
        (Some(false), vec![removed("expired")], MessageState::Expired),
        (Some(false), vec![removed("replaced")], MessageState::Replaced),
        (Some(false), vec![removed("evicted")], MessageState::Evicted),
        (Some(false), vec![removed("cancelled")], MessageState::Cancelled),
        (
            Some(false),
            vec![removed("subscription_ended")],
            MessageState::SubscriptionEnded,
        ),
        (Some(false), vec![removed("emptied")], MessageState::Emptied),
        (
            Some(false),
            vec![accepted(50_000, 0), removed("unheard")],
            MessageState::Unheard,
        ),
        (
            Some(false),
            vec![accepted(50_000, 0), offered()],
            MessageState::Passed,
        ),
        (
            Some(false),
            vec![step(50_001, "acknowledged", None), removed("expired")],
            MessageState::Acknowledged,
        ),
        (Some(false), vec![accepted(50_000, 50)], MessageState::Expired),
        (
            Some(false),
            vec![accepted(50_000, 60), unsubscribed],
            MessageState::SubscriptionEnded,
        ),
        (Some(false), vec![accepted(50_000, 60)], MessageState::Gone),
        (Some(false), vec![], MessageState::Gone),
        (None, vec![accepted(50_000, 60)], MessageState::Gone),
        (None, vec![], MessageState::Unknown),
    ];
    for (waits, steps, expected) in rows {
        let inspection = inspection(waits, steps);
        assert_eq!(state(&inspection), expected, "{inspection:?}");
    }
    let told = |receipt| Inspection {
        receipt: Some(receipt),
        ..inspection(Some(false), vec![])
    };
    assert_eq!(state(&told(MessageState::GivenUp)), MessageState::GivenUp);
    assert_eq!(
        state(&told(MessageState::Acknowledged)),
        MessageState::Acknowledged
    );
    assert_eq!(state(&told(MessageState::Replaced)), MessageState::Replaced);
}

/// The steps of several nodes are one history, by time, each with its node; one node needs no name.
#[test]
fn the_steps_of_several_nodes_are_merged() {
    let one = inspection(
        Some(false),
        vec![accepted(50_000, 60), step(50_004, "attached", None)],
    );
    let other = inspection(
        Some(false),
        vec![step(50_001, "offered", None), step(50_003, "acknowledged", None)],
    );
    let answers = vec![("a".to_owned(), one.clone()), ("b".to_owned(), other)];
    let merged = Inspection::merged(answers, 100_000).unwrap();
    let order: Vec<_> = merged
        .steps
        .iter()
        .map(|step| (&*step.event, step.node.as_deref().unwrap()))
        .collect();
    let expected = [
        ("accepted", "a"),
        ("offered", "b"),
        ("acknowledged", "b"),
        ("attached", "a"),
    ];
    assert_eq!(order, expected);
    assert_eq!(merged.state, Some(MessageState::Acknowledged));
    assert_eq!(merged.nodes, ["a", "b"]);
    let alone = Inspection::merged(vec![("a".to_owned(), one)], 100_000).unwrap();
    assert!(alone.nodes.is_empty() && alone.steps.iter().all(|step| step.node.is_none()));
    assert_eq!(Inspection::merged(Vec::new(), 0), None);
}

/// An answer is read back as it was written, and shown in lines that a person reads.
#[test]
fn an_answer_is_read_back_and_shown() {
    let mut inspection = inspection(Some(true), vec![accepted(50_000, 60)]);
    inspection.conclude(60_000);
    let text = serde_json::to_string(&inspection).unwrap();
    assert_eq!(serde_json::from_str::<Inspection>(&text).unwrap(), inspection);
    let shown = inspection.to_string();
    for line in [
        "message       m: it waits; no node that answered has offered it",
        "subscription  s: has ended, or never existed",
        "user agent    u: not known to storage: it never subscribed, or it has ended",
        "  1970-01-01T00:00:50.000Z  accepted      message=m  subscription=s  ttl=60",
    ] {
        assert!(shown.lines().any(|found| found == line), "{line}\n{shown}");
    }
}

/// Times are written as RFC 3339 says, also around leap days and ends of years.
#[test]
fn times_are_rfc_3339() {
    let rows = [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_399_999, "2000-02-28T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (951_868_800_000, "2000-03-01T00:00:00.000Z"),
        (1_704_067_199_001, "2023-12-31T23:59:59.001Z"),
        (1_795_953_600_000, "2026-11-29T12:00:00.000Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
    ];
    for (ms, expected) in rows {
        assert_eq!(time(ms), expected);
    }
}
