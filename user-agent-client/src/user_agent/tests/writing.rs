//! When the state is written, and that nothing is told before.

use std::collections::HashMap;
use std::path::Path;

use push_protocol::session::user_agent::{Change, Identity, PushResource};
use tempfile::TempDir;

use super::*;
use crate::state::{self, WRITTEN};

/// A directory with so many subscriptions, named 0, 1, …, that a service knew by [`IDENTITY`].
fn kept(many: u32) -> TempDir {
    let directory = TempDir::new().unwrap();
    let mut state = State::open(directory.path()).unwrap();
    let identity = Identity::parse(IDENTITY).unwrap();
    state.apply(&Change::Identified(identity)).unwrap();
    for number in 0..many {
        let name = state.prepare(&number.to_string()).unwrap();
        let application_server = None;
        state
            .apply(&Change::Asked {
                name,
                application_server,
            })
            .unwrap();
        let push_resource = PushResource::parse("https://push.example.net/before").unwrap();
        state.apply(&Change::Confirmed { name, push_resource }).unwrap();
    }
    state.write().unwrap();
    directory
}

/// A service that knows no user agent, says so as often as it has to, and confirms so many registrations.
async fn renews(service: &Service, many: u32) -> Peer {
    let mut confirmed = HashMap::new();
    loop {
        let (mut peer, _) = service.welcome("somebody else").await;
        while confirmed.len() < many as usize {
            let name = match peer.hears().await {
                Said::Register(name, _) => name,
                Said::Closed(_) | Said::Gone => break,
                other => panic!("{other:?}"),
            };
            let number = confirmed.len();
            let endpoint = endpoint(*confirmed.entry(name.clone()).or_insert(number) as u32);
            peer.says(&format!(
                r#"{{"messageType":"register","channelID":"{name}","status":200,"pushEndpoint":"{endpoint}"}}"#
            ))
            .await;
        }
        if confirmed.len() == many as usize {
            return peer;
        }
    }
}

fn is_kept(directory: &Path, subscription: &Subscription) -> bool {
    let kept = state::read(directory).unwrap().subscription(&subscription.label);
    kept.is_some_and(|kept| {
        kept.push_resource == subscription.push_resource && kept.p256dh() == subscription.p256dh()
    })
}

/// PR-1, WP-RFR-2: however many subscriptions are renewed at once, the state is written a few times; and each is told, and
/// shown to a caller after it was written.
#[tokio::test]
async fn renewals_that_come_together_are_few_writes() {
    const MANY: u32 = 10_000;
    let directory = kept(MANY);
    let service = Service::start().await;
    let (agent, mut events) = start(&service, State::open(directory.path()).unwrap());
    WRITTEN.set((0, 0));
    let begin = std::time::Instant::now();
    let mut renewing = std::pin::pin!(renews(&service, MANY));
    let mut told = 0;
    let _peer = loop {
        tokio::select! {
            peer = &mut renewing => break peer,
            event = events.next() => if let Some(Event::Renewed(subscription)) = event {
                told += 1;
                if told % 2_000 == 1 {
                    assert!(is_kept(directory.path(), &subscription));
                }
            },
        }
    };
    for subscription in agent.subscriptions().await.iter().step_by(2_500) {
        assert!(is_kept(directory.path(), subscription));
    }
    while told < MANY {
        let subscription = renewed(&mut events).await;
        assert!(subscription.replaced);
        told += 1;
    }
    let took = begin.elapsed();
    let (writes, bytes) = WRITTEN.get();
    println!("{MANY} renewed in {took:?}: {writes} writes, {bytes} bytes");
    // As many as fit into the time, and those that don't wait: identities, what was asked for, the last one.
    let apart = bytes as f64 / writes as f64 / defaults::STATE_WRITE_RATE as f64;
    let most = 8 + (took.as_secs_f64() / apart) as usize;
    assert!(writes <= most, "{writes} writes, at most {most}");
}

/// PR-1: a caller that subscribes while nothing else happens waits for two writes and nothing else, and has what was written. Those
/// who subscribe together share them.
#[tokio::test]
async fn who_waits_alone_is_not_held_up() {
    let directory = kept(1_000);
    let service = Service::start().await;
    let (agent, _events) = start(&service, State::open(directory.path()).unwrap());
    let (mut peer, _) = within("a channel", service.welcome(IDENTITY)).await;
    for number in 0..3 {
        let before = WRITTEN.get().0;
        let label = format!("alone {number}");
        let (subscription, _) = within("a subscription", async {
            tokio::join!(agent.subscribe(&label, None), peer.confirms(number))
        })
        .await;
        assert!(is_kept(directory.path(), &subscription.unwrap()));
        assert_eq!(WRITTEN.get().0 - before, 2, "asked for, and confirmed");
    }
    let before = WRITTEN.get().0;
    let together: Vec<_> = (0..defaults::REQUESTS)
        .map(|number| {
            let agent = agent.clone();
            tokio::spawn(async move { agent.subscribe(&format!("together {number}"), None).await })
        })
        .collect();
    for number in 0..defaults::REQUESTS as u32 {
        within("all are asked for", peer.confirms(number)).await;
    }
    for subscribing in together {
        let subscription = within("a subscription", subscribing).await.unwrap().unwrap();
        assert!(is_kept(directory.path(), &subscription));
    }
    let writes = WRITTEN.get().0 - before;
    assert!(writes <= defaults::REQUESTS, "{writes} writes");
    assert!(within("an end", agent.unsubscribe("alone 0")).await.unwrap());
    let kept = state::read(directory.path()).unwrap();
    assert!(kept.subscription("alone 0").is_none());
}

/// PR-5: what could not be written is not told, and a caller that waits for it learns that there is no answer.
#[tokio::test]
async fn what_is_not_written_is_not_told() {
    let directory = kept(1);
    let service = Service::start().await;
    let (agent, mut events) = start(&service, State::open(directory.path()).unwrap());
    let (mut peer, _) = within("a channel", service.welcome(IDENTITY)).await;
    let asking = tokio::spawn({
        let agent = agent.clone();
        async move { agent.subscribe("news", None).await }
    });
    let Said::Register(name, _) = within("it is asked for", peer.hears()).await else {
        panic!()
    };
    std::fs::create_dir(directory.path().join("state.json.new")).unwrap();
    peer.says(&format!(
        r#"{{"messageType":"register","channelID":"{name}","status":200,"pushEndpoint":"https://h/1"}}"#
    ))
    .await;
    let answer = within("an answer", asking).await.unwrap();
    assert!(matches!(answer, Err(SubscribeError::Stopped)), "{answer:?}");
    let mut has_failed = false;
    while let Some(event) = within("the end", events.next()).await {
        assert!(!matches!(event, Event::Subscribed(_)));
        has_failed |= matches!(event, Event::Failed(_));
    }
    assert!(has_failed);
}
