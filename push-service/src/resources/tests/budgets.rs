//! PR-42: peers pay for the work that they cause, and honest senders and user agents are not slowed down.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use push_protocol::capability::Dialect;
use tokio::time::Instant;

use super::rig::{ORIGIN, Sender, Service, push};
use crate::budgets::Payer;
use crate::config::{IpNetwork, Limits};
use crate::defaults::{BUDGET_PATIENCE, COST_FORGERY, COST_PUSH, COST_RECEIPT, WORK_PER_ADDRESS};

/// The defaults, except for these limits.
fn service(change: impl FnOnce(&mut Limits)) -> Service {
    Service::with(|policy, limits| {
        policy.subscriptions_per_user_agent = 1_000;
        change(limits);
    })
}

fn from(service: &Service, address: &str) -> Payer {
    service.resources.budgets().payer(address.parse().unwrap())
}

fn subscribe() -> Request<Bytes> {
    Request::post("/subscribe").body(Bytes::new()).unwrap()
}

/// The value of a metric.
fn count(service: &Service, name: &str) -> u64 {
    let text = service.metrics.render();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("push_service_{name} ")));
    line.unwrap_or_else(|| panic!("{name}")).parse().unwrap()
}

/// PR-42: forged signatures are paid for before they are verified. Of an address that sends many, few are verified,
/// and it is told when to try again. Other addresses do not wait.
#[tokio::test(start_paused = true)]
async fn forged_signatures_are_paid_for() {
    let service = service(|limits| limits.work_per_address_burst = 10_000);
    let path = service.subscribed(Dialect::Webpush, None).await;
    let (sender, victim) = (Sender::new(), Sender::new());
    let forged = format!(
        "vapid t={}, k={}",
        sender.token(ORIGIN, 3600),
        victim.public_key()
    );
    let forger = from(&service, "192.0.2.1");
    let forgeries =
        (0..2_000).map(|_| service.answer_from(forger, push(&path, &[("authorization", &forged)], "x")));
    let honest = async {
        let started = Instant::now();
        let authorization = victim.authorization();
        let good = push(&path, &[("authorization", &authorization)], "x");
        let answer = service.answer_from(from(&service, "192.0.2.2"), good).await;
        (answer.code(), started.elapsed())
    };
    let (answers, honest) = tokio::join!(join_all(forgeries), honest);
    assert_eq!(honest, ((201, 0), Duration::ZERO));
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    let looked_at = answers
        .iter()
        .filter(|answer| answer.code() == (401, 109))
        .count();
    assert_eq!(refused.len() + looked_at, answers.len());
    let paid = 10_000 + WORK_PER_ADDRESS * 2 * BUDGET_PATIENCE.as_secs() as u32;
    let most = paid / COST_FORGERY + 1;
    assert!(looked_at as u32 <= most, "{looked_at} of at most {most}");
    assert!(
        refused
            .iter()
            .all(|answer| answer.header("retry-after").is_some())
    );
    assert_eq!(
        count(&service, "requests_refused_total{reason=\"address_budget\"}"),
        refused.len() as u64
    );
    assert!(count(&service, "throttled_total{budget=\"address\"}") > 0);
}

/// PR-42: a key that may not send to a subscription is refused without verifying the signature.
#[tokio::test]
async fn a_key_that_may_not_send_costs_no_verification() {
    let service = service(|_| {});
    let (owner, stranger) = (Sender::new(), Sender::new());
    let path = service.subscribed(Dialect::Rfc8030, Some(owner.digest())).await;
    let broken = format!("vapid t=e30.e30.AAAA, k={}", stranger.public_key());
    let answer = service
        .answer(push(&path, &[("authorization", &broken)], "x"))
        .await;
    assert_eq!(answer.status, 403);
    let told = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(told.contains("another VAPID key"), "{told}");
}

/// PR-42: one application server key has one budget for all addresses that its requests come from.
#[tokio::test(start_paused = true)]
async fn one_key_from_many_addresses_pays_as_one() {
    let service = service(|limits| {
        limits.work_per_sender = 1;
        limits.work_per_sender_burst = 10_000;
    });
    let path = service.subscribed(Dialect::Webpush, None).await;
    let (sender, other) = (Sender::new().authorization(), Sender::new().authorization());
    let mut accepted = 0;
    for n in 0..=255_u8 {
        let payer = from(&service, &format!("192.0.2.{n}"));
        let answer = service
            .answer_from(payer, push(&path, &[("authorization", &sender)], "x"))
            .await;
        match answer.status.as_u16() {
            201 => accepted += 1,
            status => assert_eq!(status, 429),
        }
    }
    // A refusal takes a second, in which a token is earned.
    assert!(
        (10_000 / COST_PUSH..10_000 / COST_PUSH + 3).contains(&accepted),
        "{accepted}"
    );
    let payer = from(&service, "192.0.2.1");
    let answer = service
        .answer_from(payer, push(&path, &[("authorization", &other)], "x"))
        .await;
    assert_eq!(answer.status, 201);
    assert!(count(&service, "requests_refused_total{reason=\"sender_budget\"}") > 0);
}

/// PR-42: subscriptions that one address makes are counted, with any credentials. Other addresses still make theirs,
/// and a failed request is not counted.
#[tokio::test(start_paused = true)]
async fn subscriptions_of_one_address_are_bounded() {
    let service = service(|limits| {
        limits.records_per_address = 0.01;
        limits.records_per_address_burst = 5;
    });
    let flood = from(&service, "2001:db8::1");
    for _ in 0..5 {
        let unknown_set = Request::post("/subscribe")
            .header("link", "</subscriptions/none>; rel=\"urn:ietf:params:push:set\"")
            .body(Bytes::new())
            .unwrap();
        assert_eq!(service.answer_from(flood, unknown_set).await.status, 400);
        assert_eq!(service.answer_from(flood, subscribe()).await.status, 201);
    }
    let neighbour = from(&service, "2001:db8::ffff:2");
    for payer in [flood, neighbour] {
        let refused = service.answer_from(payer, subscribe()).await;
        assert_eq!(refused.status, 429);
        assert_eq!(refused.header("retry-after"), Some("100"));
    }
    let elsewhere = from(&service, "2001:db8:0:1::1");
    assert_eq!(service.answer_from(elsewhere, subscribe()).await.status, 201);
    assert_eq!(service.storage.usage().unwrap().user_agents, 6);
    tokio::time::advance(Duration::from_secs(100)).await;
    assert_eq!(service.answer_from(flood, subscribe()).await.status, 201);
}

/// PR-42, PR-25: a push that is refused for its rate stores no receipt. Unsigned pushes that ask for receipts make a
/// bounded number of receipt subscriptions, and pushes without receipts still work.
#[tokio::test(start_paused = true)]
async fn receipts_are_paid_for_before_they_are_written_down() {
    let wants = [("prefer", "respond-async")];
    let steps = |service: &Service| count(service, "storage_step_duration_seconds_count{step=\"receipt\"}");
    let limited = service(|limits| {
        limits.pushes_per_second = 1.0;
        limits.pushes_burst = 2;
    });
    let path = limited.subscribed(Dialect::Rfc8030, None).await;
    for _ in 0..2 {
        assert_eq!(limited.answer(push(&path, &wants, "x")).await.status, 202);
    }
    let before = steps(&limited);
    let refused = limited.answer(push(&path, &wants, "x")).await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("retry-after")),
        (429, Some("1"))
    );
    assert_eq!(steps(&limited), before);

    let service = service(|limits| {
        limits.pushes_per_second = 0.0;
        limits.records_per_address_burst = 3;
    });
    let path = service.subscribed(Dialect::Rfc8030, None).await;
    let payer = from(&service, "192.0.2.1");
    for _ in 0..3 {
        assert_eq!(
            service.answer_from(payer, push(&path, &wants, "x")).await.status,
            202
        );
    }
    assert_eq!(
        service.answer_from(payer, push(&path, &wants, "x")).await.status,
        429
    );
    assert_eq!(service.storage.usage().unwrap().user_agents, 4);
    assert_eq!(
        service.answer_from(payer, push(&path, &[], "x")).await.status,
        201
    );
    let signed = Sender::new().authorization();
    let signed = [("prefer", "respond-async"), ("authorization", signed.as_str())];
    let elsewhere = from(&service, "192.0.2.2");
    assert_eq!(
        service
            .answer_from(elsewhere, push(&path, &signed, "x"))
            .await
            .status,
        202
    );
}

/// PR-42: an application server that pushes 800 messages a second to many subscriptions, from one address and with one key,
/// each with a new token, never waits.
#[tokio::test(start_paused = true)]
async fn a_busy_application_server_never_waits() {
    let service = service(|_| {});
    let mut paths = Vec::new();
    for _ in 0..50 {
        paths.push(service.subscribed(Dialect::Webpush, None).await);
    }
    let (sender, payer) = (Sender::new(), from(&service, "192.0.2.1"));
    let started = Instant::now();
    for n in 0..3_000_u32 {
        let authorization = sender.authorization();
        let path = &paths[n as usize % paths.len()];
        let answer = service
            .answer_from(payer, push(path, &[("authorization", &authorization)], "x"))
            .await;
        assert_eq!(answer.status, 201);
        tokio::time::advance(Duration::from_micros(1_250)).await;
    }
    assert_eq!(started.elapsed(), Duration::from_millis(3_750));
}

/// PR-42: a thousand user agents behind one address that subscribe at once, four times each, all get their subscriptions;
/// and an address in `limits.unlimited_networks` is not counted at all.
#[tokio::test(start_paused = true)]
async fn many_behind_one_address_are_served() {
    let office = service(|_| {});
    let payer = from(&office, "192.0.2.1");
    let asked = (0..4_000).map(|_| office.answer_from(payer, subscribe()));
    let answers = join_all(asked).await;
    assert!(answers.iter().all(|answer| answer.status == 201));

    let own = service(|limits| {
        limits.unlimited_networks = vec![
            IpNetwork::parse("10.0.0.0/8").unwrap(),
            IpNetwork::parse("::1").unwrap(),
        ];
        limits.records_per_address_burst = 1;
    });
    for address in ["10.1.2.3", "::1", "::ffff:10.1.2.3"] {
        let payer = from(&own, address);
        assert_eq!(payer, Payer::UNLIMITED);
        for _ in 0..100 {
            assert_eq!(own.answer_from(payer, subscribe()).await.status, 201);
        }
    }
    assert_ne!(from(&own, "127.0.0.1"), Payer::UNLIMITED);
}

/// PR-42: a receipt that is asked for costs its address more than the push alone.
#[tokio::test(start_paused = true)]
async fn receipts_cost_tokens() {
    let burst = 10 * (COST_PUSH + COST_RECEIPT);
    let service = service(|limits| {
        limits.work_per_address = 1;
        limits.work_per_address_burst = burst;
    });
    let path = service.subscribed(Dialect::Rfc8030, None).await;
    for (address, wants, most) in [
        ("192.0.2.1", &[][..], burst / COST_PUSH),
        ("192.0.2.2", &[("prefer", "respond-async")][..], 10),
    ] {
        let payer = from(&service, address);
        let mut accepted = 0;
        while service.answer_from(payer, push(&path, wants, "x")).await.status != 429 {
            accepted += 1;
            assert!(accepted <= most, "{accepted} of {most}");
        }
        assert_eq!(accepted, most);
    }
}
