//! Paths, methods, and browsers.

use bytes::Bytes;
use http::{Method, Request};
use push_protocol::capability::Dialect;

use super::rig::{Service, push};

/// R30-RES-6, WP-1: a method that a resource does not have is answered 405 with those that it has; a path that is no
/// resource 404; at `/` there is a sentence for a person.
#[tokio::test]
async fn methods_and_paths() {
    let service = Service::new();
    let rows = [
        (Method::GET, "/push/x", 405, Some("OPTIONS, POST")),
        (Method::HEAD, "/push/x", 405, Some("OPTIONS, POST")),
        (Method::PUT, "/wpush/v1/x", 405, Some("OPTIONS, POST")),
        (Method::DELETE, "/wpush/v2/x", 405, Some("OPTIONS, POST")),
        (Method::POST, "/message/x", 405, Some("DELETE, OPTIONS")),
        (Method::GET, "/message/x", 405, Some("DELETE, OPTIONS")),
        (Method::POST, "/subscribe", 201, None),
        (Method::GET, "/subscribe", 405, Some("OPTIONS, POST")),
        (
            Method::POST,
            "/subscriptions/x",
            405,
            Some("DELETE, GET, HEAD, OPTIONS"),
        ),
        (Method::GET, "/subscription/x", 404, None),
        (Method::GET, "/receipts/x", 404, None),
        (Method::GET, "/", 200, None),
        (Method::HEAD, "/", 200, None),
        (Method::POST, "/", 404, None),
        (Method::GET, "/elsewhere", 404, None),
        (Method::GET, "/push", 404, None),
    ];
    for (method, path, status, allow) in rows {
        let request = Request::builder().method(&method).uri(path);
        let answer = service.answer(request.body(Bytes::new()).unwrap()).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
}

/// R30-PORT-1: answers say where else the service is, if the operator does.
#[tokio::test]
async fn alternatives_are_named() {
    let mut service = Service::new();
    let elsewhere = http::HeaderValue::from_static("h2=\":1001\"; ma=86400");
    service.resources = service.resources.with_alternatives(Some(elsewhere));
    let subscribe = Request::post("/subscribe").body(Bytes::new()).unwrap();
    let answer = service.answer(subscribe).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("alt-svc"), Some("h2=\":1001\"; ma=86400"));
    let none = Service::new()
        .answer(Request::get("/").body(Bytes::new()).unwrap())
        .await;
    assert_eq!(none.header("alt-svc"), None);
}

/// WP-1: a push resource of the first version may leave the version out of its path.
#[tokio::test]
async fn the_first_version_needs_no_name() {
    let service = Service::new();
    let path = service.subscribed(Dialect::Webpush, None).await;
    let short = path.replace("/v1/", "/");
    assert_eq!(service.answer(push(&short, &[], "x")).await.status, 201);
}

/// R30-RES-5, WP-1: a token that is unknown, malformed, cut off or of another kind is answered alike, to the byte.
#[tokio::test]
async fn no_answer_tells_what_a_token_is() {
    let service = Service::new();
    let path = service.subscribed(Dialect::Webpush, None).await;
    let (_, token) = path.rsplit_once('/').unwrap();
    let paths = [
        "/wpush/v1/".to_owned(),
        "/wpush/v1/forged".to_owned(),
        format!("/wpush/v1/{}", "a".repeat(5000)),
        format!("/wpush/v1/{}", "A".repeat(token.len())),
        format!("/wpush/v1/{}", &token[1..]),
        format!("/wpush/v1/{token}/"),
        format!("/wpush/v2/{token}"),
        format!("/wpush/v3/{token}"),
        "/wpush/v1/%00".to_owned(),
    ];
    let mut answers = Vec::new();
    for path in &paths {
        let answer = service.answer(push(path, &[], "x")).await;
        assert_eq!(answer.code(), (404, 102), "{path}");
        answers.push((answer.body, answer.headers));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
}

/// WP-9: a page of any origin may push, and read what it is answered.
#[tokio::test]
async fn browsers_may_push() {
    let service = Service::new();
    let path = service.subscribed(Dialect::Webpush, None).await;
    let preflight = Request::options(&path)
        .header("origin", "https://tools.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "ttl,authorization")
        .body(Bytes::new())
        .unwrap();
    let answer = service.answer(preflight).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        answer.header("access-control-allow-methods"),
        Some("DELETE, GET, POST, PUT")
    );
    assert_eq!(answer.header("access-control-max-age"), Some("3600"));
    let allowed = answer.header("access-control-allow-headers").unwrap();
    for name in ["ttl", "authorization", "crypto-key", "content-encoding"] {
        assert!(allowed.split(", ").any(|listed| listed == name), "{name}");
    }

    let from_page = [("origin", "https://tools.example")];
    for (path, status) in [(path.as_str(), 201), ("/wpush/v1/forged", 404)] {
        let answer = service.answer(push(path, &from_page, "x")).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let exposed = answer.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("Location"));
    }
    let answer = service.answer(push(&path, &[], "x")).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
}
