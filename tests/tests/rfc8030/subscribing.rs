//! POST to the push service: a subscription, its push resource and its set.

use std::collections::HashSet;

use push_tests::application_server::{Http, Push};
use push_tests::monitor::{Subscribed, receipt_link, set_link};
use push_tests::settings::Settings;
use push_tests::vapid::Signer;
use serde_json::json;

use crate::rfc8030::world::{ORIGIN, Storage, World, subscribe};

const OPTIONS: &str = "application/webpush-options+json";

/// R30-SUB-1 to R30-SUB-5, R30-SUB-7, R30-SET-1, R30-V-1, R30-RES-1: over either HTTP a subscription is 201 with three URLs,
/// written as all readers take them, and none is ever given twice.
pub(crate) async fn a_subscription_is_three_urls(storage: Storage) {
    let world = World::start(storage).await;
    let agent = world.user_agent().await;
    let mut old = Http::connect(&world.user_agents_connector())
        .await
        .expect("the node listens");
    let mut seen = HashSet::new();
    for round in 0..4 {
        let answer = match round % 2 {
            0 => agent.request(subscribe(&[], "")).await,
            _ => old.request(subscribe(&[], "")).await.expect("an answer"),
        };
        let made = Subscribed::read(&answer);
        for url in [made.subscription, made.push, made.set] {
            assert!(url.starts_with(ORIGIN), "{url}");
            assert!(seen.insert(url));
        }
        assert!(answer.body.is_empty());
    }
}

/// R30-SET-1, R30-SET-3, R30-SUB-5, R30-SET-6: a set that is named is kept unchanged, in whichever way it is named;
/// without a name there is a new one.
pub(crate) async fn a_set_is_kept(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, first) = world.subscriber().await;
    let relative = first.set.strip_prefix(ORIGIN).expect("our origin");
    let push = &first.push;
    let ways = [
        set_link(&first.set),
        set_link(relative),
        format!(
            "<{push}>; rel=\"urn:ietf:params:push\", <{}>;rel=urn:ietf:params:push:set",
            first.set
        ),
    ];
    let mut seen = HashSet::from([first.subscription.clone(), first.push.clone()]);
    for link in &ways {
        // At any node.
        for agent in [&agent, &world.elsewhere().await] {
            let next = agent.subscribe_with(ORIGIN, &[("link", link)]).await;
            assert_eq!(next.set, first.set, "{link}");
            assert!(seen.insert(next.subscription) && seen.insert(next.push), "{link}");
        }
    }
    assert_ne!(agent.subscribe(ORIGIN).await.set, first.set);
}

/// R30-SET-4: what is named as a set and is none is refused, whatever else it is.
pub(crate) async fn what_is_no_set(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made) = world.subscriber().await;
    let ended = agent.subscribe(ORIGIN).await;
    assert_eq!(agent.delete(&ended.set).await.status, 204);
    let token = made.set.rsplit('/').next().expect("a token");
    let links = [
        set_link(&made.subscription),
        set_link(&made.push),
        set_link(&format!("https://elsewhere.example.test/subscriptions/{token}")),
        set_link(&format!("{ORIGIN}/subscriptions/{}", token.to_lowercase())),
        set_link(&format!("{ORIGIN}/subscriptions/")),
        set_link(&format!("{}?a=b", made.set)),
        set_link(&ended.set),
        format!("{}; rel=\"urn:ietf:params:push:set\"", made.set),
        format!("{}, {}", set_link(&made.set), set_link(&ended.set)),
    ];
    for link in &links {
        let answer = agent.request(subscribe(&[("link", link)], "")).await;
        assert_eq!(answer.status, 400, "{link}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    // The set itself has taken no harm.
    assert_eq!(agent.subscribe_in(ORIGIN, &made.set).await.set, made.set);
    // A link of another relation names no set.
    let link = receipt_link(&made.push);
    let other = agent.subscribe_with(ORIGIN, &[("link", &link)]).await;
    assert_ne!(other.set, made.set);
}

/// V-RES-1, V-RES-4, V-RES-5: a user agent may name the only sender; every other sender is refused, there and nowhere else.
pub(crate) async fn a_subscription_may_be_restricted(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, open) = world.subscriber().await;
    let (own, other) = (Signer::generate(), Signer::generate());
    let options = json!({"vapid": own.public_key(), "later": [1, 2]}).to_string();
    let media_type = format!("{OPTIONS}; charset=utf-8");
    let fields = [
        ("content-type", media_type.as_str()),
        ("link", &set_link(&open.set)),
    ];
    let restricted = Subscribed::read(&agent.request(subscribe(&fields, &options)).await);
    let mut monitor = agent.monitor(&open.set).await;
    let push = Push::new(&restricted.push, "signed");
    assert_eq!(world.push(&push).await.status, 401);
    let forged = push.clone().header("authorization", &other.authorization(ORIGIN));
    assert_eq!(world.push(&forged).await.status, 403);
    world
        .accepts(&push.header("authorization", &own.authorization(ORIGIN)))
        .await;
    let message = monitor.message().await;
    assert_eq!(message.text().as_deref(), Some("signed"));
    assert_eq!(message.push_resource(), restricted.push);
    world.accepts(&Push::new(&open.push, "unsigned")).await;
    monitor.receives("unsigned").await;
}

/// V-RES-2 to V-RES-4, R30-SUB-1: options that can't be read are refused, and a body of any other type too: its sender may
/// believe that it restricted the subscription. An empty body means nothing, whatever its type.
pub(crate) async fn options_are_read_with_care(storage: Storage) {
    let world = World::start(storage).await;
    let agent = world.user_agent().await;
    let long = format!("{{\"vapid\": \"{}\"}}", "A".repeat(2_000));
    let key = Signer::generate().public_key();
    let rows = [
        (OPTIONS, "{\"vapid\": \"no key\"}", 400),
        (OPTIONS, "{\"vapid\": 7}", 400),
        (OPTIONS, "[]", 400),
        (OPTIONS, &format!("[\"{key}\"]"), 400),
        (OPTIONS, "{\"vapid\": null}", 400),
        (
            OPTIONS,
            &format!(" {{\"vapid\": \"{key}\", \"vapid\": \"{key}\"}}"),
            400,
        ),
        (OPTIONS, "{", 400),
        (OPTIONS, "\u{0}", 400),
        (OPTIONS, &long, 413),
        (OPTIONS, "{}", 201),
        (OPTIONS, "{\"another\": true}", 201),
        (OPTIONS, "", 201),
        ("application/json", &format!("{{\"vapid\": \"{key}\"}}"), 415),
        ("application/json", "{}", 415),
        ("application/x-www-form-urlencoded", "{}", 415),
        ("application/x-www-form-urlencoded", "", 201),
        ("text/plain", "hello", 415),
        ("text/plain", "", 201),
    ];
    for (media_type, body, expected) in rows {
        let answer = agent
            .request(subscribe(&[("content-type", media_type)], body))
            .await;
        assert_eq!(answer.status, expected, "{media_type}: {body}");
        let accepts = if expected == 415 { OPTIONS } else { "" };
        assert_eq!(answer.header("accept"), accepts, "{media_type}: {body}");
        if expected == 201 {
            let made = Subscribed::read(&answer);
            world.accepts(&Push::new(&made.push, "unsigned")).await;
        }
    }
}

/// R30-RES-4: where user agents need a secret, none subscribes without it, and every sender may push.
pub(crate) async fn a_secret_admits(storage: Storage) {
    let secret = |settings: Settings| settings.set("security.user_agent_secret", "correct-horse-battery");
    let world = World::start_with(storage, secret).await;
    let agent = world.user_agent().await;
    for path in [
        "/subscribe",
        "/subscribe/",
        "/subscribe/wrong",
        "/subscribe/correct-horse-batter",
    ] {
        let answer = agent
            .ask(http::Method::POST, &format!("{ORIGIN}{path}"), &[])
            .await;
        assert_eq!(answer.status, 404, "{path}");
    }
    let path = format!("{ORIGIN}/subscribe/correct-horse-battery");
    let made = Subscribed::read(&agent.ask(http::Method::POST, &path, &[]).await);
    assert!(!made.push.contains("horse"));
    world.accepts(&Push::new(&made.push, "hello")).await;
    assert_eq!(world.waits(&made.subscription).await, ["hello"]);
}
