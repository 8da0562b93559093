//! Who may send: VAPID, restricted subscriptions, and the locks of a private network.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use push_tests::application_server::{Answer, Http, Push};
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::user_agent::{UserAgent, new_name};
use push_tests::vapid::{Signer, seconds_from_now};
use serde_json::json;

/// Expects the answer of the `/wpush` dialect to a signature that is refused.
fn is_refused(answer: &Answer, why: &str) {
    assert_eq!(
        (answer.status.as_u16(), answer.errno()),
        (401, Some(109)),
        "{why}: {}",
        answer.text()
    );
}

/// V-RES-5, WS-REG-4: a restricted subscription takes messages that its application server signed, and no others.
#[tokio::test]
async fn a_restricted_subscription_knows_its_sender() {
    let node = Node::start(Settings::new()).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let (ours, theirs) = (Signer::generate(), Signer::generate());
    let subscription = agent.subscribe(Some(&ours.public_key())).await;
    let restricted = format!("{}/wpush/v2/", node.public_url());
    assert!(
        subscription.push_resource.starts_with(&restricted),
        "{subscription:?}"
    );

    let mut server = Http::connect(&node.connector()).await.unwrap();
    let message = Push::new(&subscription.push_resource, "signed");
    let unsigned = server.push(&message).await;
    is_refused(&unsigned, "unsigned");
    assert_eq!(unsigned.header("www-authenticate"), "vapid");
    let stranger = message
        .clone()
        .header("authorization", &theirs.authorization(node.public_url()));
    is_refused(&server.push(&stranger).await, "another key");
    let signed = message.header("authorization", &ours.authorization(node.public_url()));
    for _ in 0..2 {
        let answer = server.push(&signed).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        agent.receives("signed").await;
    }
}

/// V-AUTH-6, V-CLM-1, V-CLM-3: a token with another algorithm, audience, time or signature opens nothing, on restricted and
/// open subscriptions alike.
#[tokio::test]
async fn a_wrong_token_is_refused() {
    let node = Node::start(Settings::new()).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let signer = Signer::generate();
    let restricted = agent.subscribe(Some(&signer.public_key())).await;
    let open = agent.subscribe(None).await;
    let header = json!({"typ": "JWT", "alg": "ES256"});
    let soon = seconds_from_now(Duration::from_secs(3_600));
    let claims = |aud: &str, exp: u64| json!({"aud": aud, "exp": exp});
    let good = signer.token(&header, &claims(node.public_url(), soon));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut forged = URL_SAFE_NO_PAD.decode(signature).unwrap();
    forged[20] ^= 1;
    let none = json!({"typ": "JWT", "alg": "none"});
    let unsigned = signer.token(&none, &claims(node.public_url(), soon));
    let rows = [
        ("alg none", unsigned.clone()),
        (
            "alg none, no signature",
            unsigned.rsplit_once('.').unwrap().0.to_owned() + ".",
        ),
        (
            "alg HS256",
            signer.token(&json!({"alg": "HS256"}), &claims(node.public_url(), soon)),
        ),
        (
            "another audience",
            signer.token(&header, &claims("https://other.test", soon)),
        ),
        ("no audience", signer.token(&header, &json!({"exp": soon}))),
        (
            "expired",
            signer.token(
                &header,
                &claims(node.public_url(), seconds_from_now(Duration::ZERO) - 3_600),
            ),
        ),
        (
            "more than a day ahead",
            signer.token(
                &header,
                &claims(node.public_url(), seconds_from_now(Duration::from_secs(90_000))),
            ),
        ),
        (
            "no time",
            signer.token(&header, &json!({"aud": node.public_url()})),
        ),
        (
            "a changed signature",
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(forged)),
        ),
        ("two parts", signed.to_owned()),
        ("not a token", "e30".to_owned()),
    ];
    let mut server = Http::connect(&node.connector()).await.unwrap();
    for (why, token) in rows {
        for subscription in [&restricted, &open] {
            let push = Push::new(&subscription.push_resource, "x")
                .header("authorization", &signer.authorization_with(&token));
            is_refused(&server.push(&push).await, why);
        }
    }
    let push = Push::new(&restricted.push_resource, "good")
        .header("authorization", &signer.authorization_with(&good));
    server.accepts(&push).await;
    agent.receives("good").await;
}

/// V-CLM-1: a sender that names another audience is told ours, and the log says once that public_url may be wrong.
#[tokio::test]
async fn a_wrong_audience_is_told_ours() {
    let node = Node::start(Settings::new()).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let (signer, mut server) = (
        Signer::generate(),
        Http::connect(&node.connector()).await.unwrap(),
    );
    let authorization = signer.authorization("https://push.other.example");
    for _ in 0..3 {
        let push = Push::new(&subscription.push_resource, "x").header("authorization", &authorization);
        let answer = server.push(&push).await;
        is_refused(&answer, "another audience");
        let ours = format!("set it to {},", node.public_url());
        assert!(answer.text().contains(&ours), "{}", answer.text());
        assert!(!answer.text().contains("other.example"), "{}", answer.text());
    }
    let words = ["aud names another origin", "public_url is not", node.public_url()];
    let line = node.log().wait_for_line(&words).await.expect("a line");
    assert!(!line.contains("other.example"), "{line}");
    assert_eq!(node.log().text().matches(words[0]).count(), 1);
}

/// V-LEG-1, V-LEG-2: the scheme of the drafts opens a restricted subscription too; without its key it is malformed.
#[tokio::test]
async fn the_legacy_scheme_is_understood() {
    let node = Node::start(Settings::new()).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let signer = Signer::generate();
    let subscription = agent.subscribe(Some(&signer.public_key())).await;
    let authorization = signer.authorization(node.public_url());
    let token = authorization
        .strip_prefix("vapid t=")
        .and_then(|rest| rest.split(',').next())
        .unwrap();
    let mut server = Http::connect(&node.connector()).await.unwrap();
    for scheme in ["WebPush", "Bearer", "webpush"] {
        let push = Push::new(&subscription.push_resource, scheme)
            .header("authorization", &format!("{scheme} {token}"));
        let keyless = server.push(&push).await;
        assert_eq!(
            (keyless.status.as_u16(), keyless.errno()),
            (400, Some(110)),
            "{}",
            keyless.text()
        );
        let push = push.header("crypto-key", &format!("p256ecdsa={}", signer.public_key()));
        assert_eq!(server.push(&push).await.status, 201, "{scheme}");
        agent.receives(scheme).await;
    }
}

/// WS-REG-3, WS-REG-6, V-AUTH-9: a key is read in every spelling that user agents use; what is no key is refused with 400
/// and a string where the push resource would be.
#[tokio::test]
async fn a_key_has_many_spellings() {
    let node = Node::start(Settings::new()).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let unpadded = Signer::generate().public_key();
    let bytes = URL_SAFE_NO_PAD.decode(&unpadded).unwrap();
    for key in [unpadded, URL_SAFE.encode(&bytes), STANDARD.encode(&bytes)] {
        assert_eq!(
            agent.register(&new_name(), Some(&key)).await["status"],
            200,
            "{key}"
        );
    }
    let mut off_curve = bytes.clone();
    off_curve[40] ^= 1;
    for wrong in [&off_curve[..], &bytes[..33], &[4; 65], b""] {
        let reply = agent
            .register(&new_name(), Some(&URL_SAFE_NO_PAD.encode(wrong)))
            .await;
        assert_eq!(reply["status"], 400, "{wrong:?}: {reply}");
        assert!(reply["pushEndpoint"].is_string(), "{reply}");
    }
}

/// With `security.require_vapid` unsigned messages are refused everywhere; with a list of application servers
/// all but theirs.
#[tokio::test]
async fn a_private_service_knows_its_senders() {
    let listed = Signer::generate();
    let stranger = Signer::generate();
    let rows = [
        (Settings::new().set("security.require_vapid", true), 201),
        (
            Settings::new().set("security.application_servers", vec![listed.public_key()]),
            401,
        ),
    ];
    for (settings, to_strangers) in rows {
        let node = Node::start(settings).await;
        let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
        let subscription = agent.subscribe(None).await;
        let mut server = Http::connect(&node.connector()).await.unwrap();
        let message = Push::new(&subscription.push_resource, "x");
        is_refused(&server.push(&message).await, "unsigned");
        for (signer, expected) in [(&stranger, to_strangers), (&listed, 201)] {
            let signed = message
                .clone()
                .header("authorization", &signer.authorization(node.public_url()));
            let answer = server.push(&signed).await;
            assert_eq!(answer.status, expected, "{}", answer.text());
        }
    }
}

/// With `security.user_agent_secret` only a WebSocket with the secret in its path is opened.
#[tokio::test]
async fn a_private_service_knows_its_user_agents() {
    let node = Node::start(Settings::new().set("security.user_agent_secret", "open-sesame")).await;
    for path in ["/", "/open", "/open-sesame-street", "/Open-Sesame"] {
        assert!(
            UserAgent::try_connect(&node.connector(), path).await.is_err(),
            "{path} opened"
        );
    }
    let mut agent = UserAgent::try_connect(&node.connector(), "/open-sesame")
        .await
        .unwrap();
    agent.hello(None).await;
}

/// PR-27, PR-28: a new sealing key in front seals, the old one goes on opening; without the old one its URLs are nothing.
#[tokio::test]
async fn sealing_keys_rotate() {
    let key = |byte: u8| URL_SAFE_NO_PAD.encode([byte; 32]);
    let keys = |keys: Vec<String>| move |settings: Settings| settings.set("security.sealing_keys", keys);
    let mut node = Node::start(keys(vec![key(1)])(Settings::new())).await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    let old = agent.subscribe(None).await;

    node.kill().await;
    node.reconfigure(keys(vec![key(2), key(1)]));
    node.start_again().await;
    let (mut agent, again) = UserAgent::arrive(&node.connector(), Some(&uaid)).await;
    assert_eq!(again, uaid);
    let new = agent.subscribe(None).await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    for subscription in [&old, &new] {
        server
            .accepts(&Push::new(&subscription.push_resource, "both"))
            .await;
        agent.receives("both").await;
    }

    node.kill().await;
    node.reconfigure(keys(vec![key(2)]));
    node.start_again().await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    for (subscription, expected) in [(&old, 404), (&new, 201)] {
        assert_eq!(
            server
                .push(&Push::new(&subscription.push_resource, "one"))
                .await
                .status,
            expected
        );
    }
}

/// PR-28: a node that made its own key can be given another later: new URLs are sealed with that one, old ones go on.
#[tokio::test]
async fn a_stores_own_key_gives_way_to_a_configured_one() {
    let mut node = Node::start(Settings::new()).await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    let old = agent.subscribe(None).await;

    node.kill().await;
    let configured = vec![URL_SAFE_NO_PAD.encode([7; 32])];
    node.reconfigure(|settings: Settings| settings.set("security.sealing_keys", configured));
    node.start_again().await;
    let (mut agent, again) = UserAgent::arrive(&node.connector(), Some(&uaid)).await;
    assert_eq!(again, uaid);
    let new = agent.subscribe(None).await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    for subscription in [&old, &new] {
        let push = Push::new(&subscription.push_resource, "both");
        server.accepts(&push).await;
        agent.receives("both").await;
    }
}
