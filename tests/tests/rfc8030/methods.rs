//! What resources answer to other methods than their own, and to pages of other origins.

use http::Method;
use push_tests::application_server::{Http, Push};
use push_tests::monitor::Subscribed;

use crate::rfc8030::world::{ORIGIN, Storage, World, subscribe};

/// R30-RES-6: HEAD says whether what could be monitored is there, over either HTTP, and displaces no channel.
pub(crate) async fn a_look_says_what_is_there(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made, mut monitor) = world.monitoring().await;
    let promised = world.promises(&Push::new(&made.push, "sent")).await;
    monitor.receives("sent").await;
    let urls = [&made.subscription, &made.set, &promised.receipts];
    let mut old = Http::connect(&world.receipts_connector())
        .await
        .expect("the node listens");
    for url in urls {
        let answer = agent.ask(Method::HEAD, url, &[]).await;
        assert_eq!(answer.status, 200, "{url}");
        assert!(answer.body.is_empty());
        let request = http::Request::head(url).body(bytes::Bytes::new()).expect("a URL");
        assert_eq!(old.request(request).await.expect("an answer").status, 200);
    }
    world.accepts(&Push::new(&made.push, "more")).await;
    monitor.receives("more").await;
}

/// R30-RES-6: a method that a resource does not have is 405, with those that it has.
pub(crate) async fn a_wrong_method_is_told_the_right_ones(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made, mut monitor) = world.monitoring().await;
    let location = world.accepts(&Push::new(&made.push, "sent")).await;
    let url = monitor.receives("sent").await;
    let service = format!("{ORIGIN}/subscribe");
    let receipts = format!("{ORIGIN}/receipts/any");
    let monitored = "DELETE, GET, HEAD, OPTIONS";
    let rows = [
        (&service, "OPTIONS, POST"),
        (&made.push, "OPTIONS, POST"),
        (&location, "DELETE, OPTIONS"),
        (&url, "DELETE, OPTIONS"),
        (&made.subscription, monitored),
        (&made.set, monitored),
        (&receipts, monitored),
    ];
    let methods = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND",
    ];
    for (url, allow) in rows {
        for method in methods.iter().filter(|method| !allow.contains(*method)) {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let answer = agent.ask(method.clone(), url, &[]).await;
            assert_eq!(answer.status, 405, "{method} {url}");
            assert_eq!(answer.header("allow"), allow, "{method} {url}");
        }
        let answer = agent.ask(Method::OPTIONS, url, &[]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("allow")),
            (204, allow),
            "{url}"
        );
    }
    assert_eq!(agent.delete(url).await.status, 204, "nothing was done to it");
}

/// WP-9: a page of any origin may ask, send what the protocol needs, and read the answers' header fields.
pub(crate) async fn pages_may_ask(storage: Storage) {
    let world = World::start(storage).await;
    let agent = world.user_agent().await;
    let service = format!("{ORIGIN}/subscribe");
    let page = ("origin", "https://page.example.test");
    let preflight = [
        page,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "link, prefer"),
    ];
    let answer = agent.ask(Method::OPTIONS, &service, &preflight).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(answer.header("access-control-allow-methods").contains("POST"));
    for field in [
        "content-type",
        "last-event-id",
        "link",
        "prefer",
        "ttl",
        "urgency",
        "topic",
    ] {
        assert!(
            answer.header("access-control-allow-headers").contains(field),
            "{field}"
        );
    }
    let answer = agent.request(subscribe(&[page], "")).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    for field in ["Link", "Location"] {
        assert!(
            answer.header("access-control-expose-headers").contains(field),
            "{field}"
        );
    }
    let refused = agent
        .ask(Method::GET, &format!("{ORIGIN}/subscription/none"), &[page])
        .await;
    assert_eq!(refused.status, 404);
    assert_eq!(refused.header("access-control-allow-origin"), "*");
}

/// R30-PORT-1, R30-LB-2: where the service is elsewhere as well, its answers say so.
pub(crate) async fn answers_say_where_else_the_service_is(storage: Storage) {
    let elsewhere = "h2=\":1001\"; ma=86400";
    let world = World::start_with(storage, |settings| {
        settings.set("listen.alternative_services", elsewhere)
    })
    .await;
    let agent = world.user_agent().await;
    let answer = agent.request(subscribe(&[], "")).await;
    assert_eq!(answer.header("alt-svc"), elsewhere);
    let made = Subscribed::read(&answer);
    let answer = world.push(&Push::new(&made.push, "sent")).await;
    assert_eq!(answer.header("alt-svc"), elsewhere);
    let answer = agent.ask(Method::HEAD, &made.set, &[]).await;
    assert_eq!(answer.header("alt-svc"), elsewhere);
}
