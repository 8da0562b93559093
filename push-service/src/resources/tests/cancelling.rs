//! Taking a message back.

use http::Request;
use push_protocol::capability::Dialect;

use super::rig::{ORIGIN, Sender, Service, push};

/// WP-11, PR-26, R30-ACK-2, R30-ACK-3, R30-ACK-7, R30-EXP-8: the first DELETE of a message is answered 204; a later one
/// the same on `/wpush`, 404 on `/push`; a token that is none 404.
#[tokio::test]
async fn a_message_is_taken_back_once() {
    let service = Service::new();
    for (dialect, again) in [(Dialect::Webpush, 204), (Dialect::Rfc8030, 404)] {
        let path = service.subscribed(dialect, None).await;
        let sent = service.answer(push(&path, &[], "x")).await;
        let location = sent.header("location").unwrap().strip_prefix(ORIGIN).unwrap();
        for status in [204, again, again] {
            let answer = service.answer(delete(location)).await;
            assert_eq!(answer.status, status, "{dialect:?}");
            assert_eq!(answer.body.is_empty(), status == 204);
        }
    }
    let token = "a".repeat(100);
    for path in ["/message/", "/message/forged", &format!("/message/{token}")] {
        assert_eq!(service.answer(delete(path)).await.code(), (404, 0));
    }
}

/// V-RES-10: who may send is asked for a push only: a message of a restricted subscription is taken back by its URL.
#[tokio::test]
async fn taking_back_needs_no_signature() {
    let service = Service::new();
    let sender = Sender::new();
    let path = service.subscribed(Dialect::Rfc8030, Some(sender.digest())).await;
    let authorization = sender.authorization();
    let signed = [("authorization", authorization.as_str())];
    let sent = service.answer(push(&path, &signed, "x")).await;
    let location = sent.header("location").unwrap().strip_prefix(ORIGIN).unwrap();
    assert_eq!(service.answer(delete(location)).await.status, 204);
}

/// R30-TTL-7: a message with TTL 0 has a URL too; nothing is there to take back.
#[tokio::test]
async fn a_passing_message_cannot_be_taken_back() {
    let service = Service::new();
    let path = service.subscribed(Dialect::Rfc8030, None).await;
    let sent = service.answer(push(&path, &[("ttl", "0")], "x")).await;
    let location = sent.header("location").unwrap().strip_prefix(ORIGIN).unwrap();
    assert_eq!(service.answer(delete(location)).await.status, 404);
}

/// PR-28: every URL that opens is counted by its sealing key, so that an operator sees when a key may go.
#[tokio::test]
async fn opened_urls_are_counted() {
    let service = Service::new();
    let path = service.subscribed(Dialect::Rfc8030, None).await;
    let sent = service.answer(push(&path, &[], "x")).await;
    let location = sent.header("location").unwrap().strip_prefix(ORIGIN).unwrap();
    service.answer(delete(location)).await;
    service.answer(push("/push/forged", &[], "x")).await;
    let counted = service.metrics.render();
    assert!(
        counted.contains("capability_opens_total{key=\"0\"} 2\n"),
        "{counted}"
    );
}

/// R30-RES-3: a push URL does not take messages back, a message URL does not send.
#[tokio::test]
async fn no_url_works_as_another_kind() {
    let service = Service::new();
    let path = service.subscribed(Dialect::Rfc8030, None).await;
    let sent = service.answer(push(&path, &[], "x")).await;
    let (_, message) = sent.header("location").unwrap().rsplit_once('/').unwrap();
    let (_, resource) = path.rsplit_once('/').unwrap();
    assert_eq!(
        service
            .answer(delete(&format!("/message/{resource}")))
            .await
            .status,
        404
    );
    assert_eq!(
        service
            .answer(push(&format!("/push/{message}"), &[], "x"))
            .await
            .status,
        404
    );
    assert_eq!(
        service
            .answer(push(&format!("/wpush/v1/{resource}"), &[], "x"))
            .await
            .status,
        404
    );
}

fn delete(path: &str) -> Request<bytes::Bytes> {
    Request::delete(path).body(Default::default()).unwrap()
}
