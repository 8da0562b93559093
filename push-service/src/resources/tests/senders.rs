//! Who may send: VAPID (RFC 8292) and its draft, on open and on restricted subscriptions.

use push_protocol::capability::Dialect;

use super::rig::{ORIGIN, Sender, Service, push, tight};

/// Whose subscription a row is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum To {
    Open,
    Restricted,
}

/// Rule, subscription, `Authorization`, `Crypto-Key`, the answer of `/wpush` with its errno, the status of `/push`.
type Row<'a> = (&'static str, To, String, &'a str, (u16, i64), u16);

/// RFC 8292 §4, V-AUTH, V-CLM, V-LEG, V-RES: every situation of the table is answered as its resource's senders expect.
#[tokio::test]
async fn senders_are_let_in_or_told_why_not() {
    use To::{Open, Restricted};
    let service = Service::new();
    let (sender, stranger) = (Sender::new(), Sender::new());
    let token = sender.token(ORIGIN, 3600);
    let key = sender.public_key();
    let vapid = |token: &str| format!("vapid t={token}, k={key}");
    let flipped = format!("{}{}", &token[..token.len() - 4], "AAAA");
    let too_long = format!("vapid t={}, k={key}", "a".repeat(5000));
    let p256 = format!("p256ecdsa={key}");
    let other_key = format!("vapid t={token}, k={}", stranger.public_key());
    let rows: Vec<Row<'_>> = vec![
        ("§4 row 1", Open, String::new(), "", (201, 0), 201),
        ("V-AUTH-1, V-AUTH-2", Open, vapid(&token), "", (201, 0), 201),
        (
            "V-AUTH-1, V-AUTH-3",
            Open,
            format!("VAPID realm=x,k={key},t={token}"),
            "",
            (201, 0),
            201,
        ),
        ("V-RES-5", Restricted, vapid(&token), "", (201, 0), 201),
        (
            "V-RES-5, V-AUTH-5",
            Restricted,
            String::new(),
            "",
            (401, 109),
            401,
        ),
        (
            "V-RES-5",
            Restricted,
            stranger.authorization(),
            "",
            (401, 109),
            403,
        ),
        ("V-AUTH-2", Open, format!("vapid t={token}"), "", (401, 109), 403),
        ("V-AUTH-2", Open, format!("vapid k={key}"), "", (401, 109), 403),
        ("V-AUTH-6", Open, vapid(&flipped), "", (401, 109), 403),
        ("V-AUTH-6", Restricted, vapid(&flipped), "", (401, 109), 403),
        ("V-AUTH-6", Open, other_key, "", (401, 109), 403),
        (
            "V-AUTH-7, V-AUTH-9",
            Open,
            format!("vapid t={token}, k=AAAA"),
            "",
            (401, 109),
            403,
        ),
        (
            "V-CLM-1",
            Open,
            vapid(&sender.token("https://push.example.net/", 3600)),
            "",
            (401, 109),
            403,
        ),
        (
            "V-CLM-1",
            Open,
            vapid(&sender.token("https://other.example", 3600)),
            "",
            (401, 109),
            403,
        ),
        (
            "V-CLM-3",
            Open,
            vapid(&sender.token(ORIGIN, -120)),
            "",
            (401, 109),
            403,
        ),
        (
            "V-CLM-3",
            Open,
            vapid(&sender.token(ORIGIN, 86_400 + 600)),
            "",
            (401, 109),
            403,
        ),
        (
            "V-CLM-4",
            Open,
            vapid(&sender.token(ORIGIN, 86_400 + 10)),
            "",
            (201, 0),
            201,
        ),
        (
            "V-CLM-4",
            Open,
            vapid(&sender.token(ORIGIN, -10)),
            "",
            (201, 0),
            201,
        ),
        ("V-CLM-8", Open, too_long, "", (400, 109), 400),
        (
            "§4 other scheme",
            Open,
            "Basic dXNlcjpwYXNz".into(),
            "",
            (401, 109),
            201,
        ),
        (
            "§4 other scheme",
            Restricted,
            "Basic dXNlcjpwYXNz".into(),
            "",
            (401, 109),
            401,
        ),
        (
            "V-LEG-1, V-LEG-2",
            Open,
            format!("WebPush {token}"),
            &p256,
            (201, 0),
            201,
        ),
        (
            "V-LEG-1, V-LEG-2",
            Restricted,
            format!("Bearer {token}"),
            &p256,
            (201, 0),
            201,
        ),
        ("V-LEG-2", Open, format!("WebPush {token}"), "", (400, 110), 400),
        (
            "V-LEG-3, V-LEG-4",
            Open,
            format!("WebPush {flipped}"),
            &p256,
            (401, 109),
            403,
        ),
    ];
    for (rule, to, authorization, crypto_key, autopush, rfc) in rows {
        let owner = (to == Restricted).then(|| sender.digest());
        for (dialect, code) in [(Dialect::Webpush, autopush), (Dialect::Rfc8030, (rfc, 0))] {
            let path = service.subscribed(dialect, owner).await;
            let headers = [
                ("authorization", authorization.as_str()),
                ("crypto-key", crypto_key),
            ];
            let answer = service.answer(push(&path, &headers, "x")).await;
            assert_eq!(answer.code(), code, "{rule}: {to:?} {dialect:?}");
            let challenge = (answer.status == 401).then_some("vapid");
            assert_eq!(answer.header("www-authenticate"), challenge, "V-AUTH-5 in {rule}");
        }
    }
}

/// V-AUTH-4: credentials for a proxy are not for us.
#[tokio::test]
async fn a_proxys_credentials_are_ignored() {
    let service = Service::new();
    let sender = Sender::new();
    let path = service.subscribed(Dialect::Rfc8030, Some(sender.digest())).await;
    let headers = [("proxy-authorization", sender.authorization())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(service.answer(push(&path, &headers, "x")).await.status, 401);
}

/// V-AUTH-8, E91-6: a message that is encrypted with the key that signs is refused.
#[tokio::test]
async fn one_key_is_not_for_both() {
    let service = Service::new();
    let (sender, other) = (Sender::new(), Sender::new());
    let authorization = sender.authorization();
    let body = |key: [u8; 65]| [&[0; 16][..], &[0, 0, 16, 0, 65], &key, &[0; 40]].concat();
    for (key, autopush, rfc) in [
        (sender.public_bytes(), (400, 110), 400),
        (other.public_bytes(), (201, 0), 201),
    ] {
        for (dialect, code) in [(Dialect::Webpush, autopush), (Dialect::Rfc8030, (rfc, 0))] {
            let path = service.subscribed(dialect, None).await;
            let headers = [("authorization", authorization.as_str())];
            assert_eq!(
                service.answer(push(&path, &headers, body(key))).await.code(),
                code
            );
        }
    }
}

/// R30-RES-4, UP-SRV-6, `security.require_vapid` and `security.application_servers`: the operator may want to know who sends, or choose.
#[tokio::test]
async fn the_operator_chooses_who_may_send() {
    let (sender, stranger) = (Sender::new(), Sender::new());
    let (known, unknown) = (sender.authorization(), stranger.authorization());
    let signed = Service::with(|policy, _| policy.require_vapid = true);
    let listed = Service::with(|policy, _| policy.application_servers = [sender.digest()].into());
    let rows = [
        (&signed, "", (401, 109), 401),
        (&signed, unknown.as_str(), (201, 0), 201),
        (&listed, "", (401, 109), 401),
        (&listed, unknown.as_str(), (401, 109), 403),
        (&listed, known.as_str(), (201, 0), 201),
    ];
    for (service, authorization, autopush, rfc) in rows {
        for (dialect, code) in [(Dialect::Webpush, autopush), (Dialect::Rfc8030, (rfc, 0))] {
            let path = service.subscribed(dialect, None).await;
            let answer = service
                .answer(push(&path, &[("authorization", authorization)], "x"))
                .await;
            assert_eq!(answer.code(), code);
        }
    }
}

/// R30-RCP-7: a refused message leaves no receipt subscription behind, however often it is sent.
#[tokio::test]
async fn who_is_refused_leaves_no_receipt_subscription() {
    let service = Service::with(|policy, _| tight(policy));
    let anonymous = [("prefer", "respond-async")];
    let open = service.subscribed(Dialect::Rfc8030, None).await;
    assert_eq!(service.answer(push(&open, &anonymous, "1")).await.status, 202);
    let user_agents = || service.storage.usage().unwrap().user_agents;
    let with_one_receipt_subscription = user_agents();

    let refused = service.answer(push(&open, &anonymous, "2")).await;
    assert_eq!(refused.status, 429);
    let ended = service.ended(Dialect::Rfc8030);
    let refused = service.answer(push(&ended, &anonymous, "3")).await;
    assert_eq!(refused.status, 404);
    let signed = Sender::new().authorization();
    let signed = [("prefer", "respond-async"), ("authorization", signed.as_str())];
    assert_eq!(service.answer(push(&ended, &signed, "4")).await.status, 404);
    // What ended is freed by the next sweep.
    service.storage.expire(100).await.unwrap();
    assert_eq!(user_agents(), with_one_receipt_subscription);
}
