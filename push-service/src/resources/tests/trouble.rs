//! What has ended, what is too much, and what cannot be done now.

use std::sync::Arc;

use push_protocol::capability::Dialect;

use super::rig::{Broken, Service, push, tight};
use crate::storage::StorageError;

/// WP-7, WS-UNR-3, R30-MSG-7, R30-EXP-3: a push to a subscription that has ended is answered 410 on `/wpush`, to be
/// remembered for a day, and 404 on `/push`.
#[tokio::test]
async fn an_ended_subscription_is_gone() {
    let service = Service::new();
    for (dialect, code, cache) in [
        (Dialect::Webpush, (410, 106), Some("max-age=86400")),
        (Dialect::Rfc8030, (404, 0), Some("no-store")),
    ] {
        let answer = service.answer(push(&service.ended(dialect), &[], "x")).await;
        assert_eq!(answer.code(), code);
        assert_eq!(answer.header("cache-control"), cache);
    }
}

/// R30-MSG-8, UP-SRV-8, PR-24: a sender over the subscription's rate is told when to come back, in whole seconds.
#[tokio::test]
async fn too_fast_is_told_when() {
    let service = Service::with(|policy, _| tight(policy));
    for dialect in [Dialect::Webpush, Dialect::Rfc8030] {
        let path = service.subscribed(dialect, None).await;
        assert_eq!(service.answer(push(&path, &[], "x")).await.status, 201);
        let answer = service.answer(push(&path, &[], "x")).await;
        assert_eq!(answer.status, 429);
        let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((3500..=3600).contains(&after), "{after}");
    }
}

/// PR-23: a message that would be the first to go from a full queue is refused, never answered 201.
#[tokio::test]
async fn a_full_queue_refuses_the_least() {
    let service = Service::with(|policy, _| {
        tight(policy);
        policy.rate = None;
    });
    let path = service.subscribed(Dialect::Webpush, None).await;
    let urgent = [("urgency", "high")];
    assert_eq!(service.answer(push(&path, &urgent, "x")).await.status, 201);
    let answer = service.answer(push(&path, &[("urgency", "low")], "x")).await;
    assert_eq!(answer.code(), (429, 201));
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(service.answer(push(&path, &urgent, "x")).await.status, 201);
}

/// PR-3, WP-10: a store in trouble is answered 503 with `Retry-After`, never 404 or 410, also for a DELETE; what is wrong
/// with a request is told all the same.
#[tokio::test]
async fn trouble_is_never_gone() {
    let errors = [
        StorageError::Unavailable("no answer".into()),
        StorageError::Full,
        StorageError::Failed("sync".into()),
    ];
    let healthy = Service::new();
    for error in errors {
        let service = Service::on(Arc::new(Broken(error)), |_, _| {});
        for (dialect, errno) in [(Dialect::Webpush, 201), (Dialect::Rfc8030, 0)] {
            let path = service.ended(dialect);
            let answer = service.answer(push(&path, &[], "x")).await;
            assert_eq!(answer.code(), (503, errno));
            assert_eq!(answer.header("retry-after"), Some("120"));
            assert_eq!(service.answer(push(&path, &[("ttl", "")], "x")).await.status, 400);

            let path = healthy.subscribed(dialect, None).await;
            let sent = healthy.answer(push(&path, &[], "x")).await;
            let delete = http::Request::delete(sent.header("location").unwrap());
            let answer = service.answer(delete.body(Default::default()).unwrap()).await;
            assert_eq!(answer.status, 503);
        }
    }
}
