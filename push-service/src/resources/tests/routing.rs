//! Paths, methods, and browsers.

use bytes::Bytes;
use http::{Method, Request};
use push_protocol::capability::Dialect;

use super::rig::{ORIGIN, Service, push};

/// R30-RES-6, WP-1: a method that a resource does not have is answered 405 with those that it has; a path that is no
/// resource 404; at `/` there is a sentence for people. No answer is stored by caches or taken for another media type, and
/// caches know that it depends on the origin that asks.
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
        (Method::OPTIONS, "/", 204, Some("GET, HEAD, OPTIONS")),
        (
            Method::OPTIONS,
            "*",
            204,
            Some("DELETE, GET, HEAD, OPTIONS, POST"),
        ),
        (Method::OPTIONS, "/push/x", 204, Some("OPTIONS, POST")),
        (Method::POST, "/", 405, Some("GET, HEAD, OPTIONS")),
        (Method::PUT, "/", 405, Some("GET, HEAD, OPTIONS")),
        (Method::DELETE, "/", 405, Some("GET, HEAD, OPTIONS")),
        (Method::TRACE, "/", 405, Some("GET, HEAD, OPTIONS")),
        (Method::GET, "*", 404, None),
        (Method::OPTIONS, "/elsewhere", 404, None),
        (Method::GET, "/elsewhere", 404, None),
        (Method::GET, "/push", 404, None),
    ];
    for (method, path, status, allow) in rows {
        let request = Request::builder().method(&method).uri(path);
        let answer = service.answer(request.body(Bytes::new()).unwrap()).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
        if status == 405 && path.starts_with("/wpush") {
            assert_eq!(answer.code(), (405, 999), "{method} {path}");
        }
        if method == Method::OPTIONS && !path.starts_with("/push") {
            assert_eq!(answer.header("access-control-allow-methods"), None, "{path}");
            assert!(answer.body.is_empty(), "{path}");
        }
        assert_eq!(
            answer.header("cache-control"),
            Some("no-store"),
            "{method} {path}"
        );
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{method} {path}"
        );
        let has_page = path == "/" && status == 200;
        let vary = if has_page { "Accept, Origin" } else { "Origin" };
        assert_eq!(answer.header("vary"), Some(vary), "{method} {path}");
    }
}

/// RFC 3986 §6.2.2.2: every resource is found under every spelling of its URL that escapes what needs no escape, also where a
/// link names it; an escaped slash is no slash.
#[tokio::test]
async fn needless_escapes_name_the_same_resource() {
    let service = Service::new();
    let mut paths = Vec::new();
    for dialect in [Dialect::Webpush, Dialect::Rfc8030] {
        paths.push(service.subscribed(dialect, None).await);
    }
    for path in &paths {
        for spelling in spellings(path) {
            let answer = service.answer(push(&spelling, &[], "x")).await;
            assert_eq!(answer.status, 201, "{spelling}");
            let message = answer
                .header("location")
                .unwrap()
                .strip_prefix(ORIGIN)
                .unwrap()
                .to_owned();
            let [.., escaped] = spellings(&message);
            let delete = Request::delete(&escaped).body(Bytes::new()).unwrap();
            assert_eq!(service.answer(delete).await.status, 204, "{escaped}");
        }
        let slash = path.replacen("push/", "push%2F", 1);
        assert_eq!(
            service.answer(push(&slash, &[], "x")).await.status,
            404,
            "{slash}"
        );
    }

    for subscribe in spellings("/subscribe") {
        let made = service
            .answer(Request::post(&subscribe).body(Bytes::new()).unwrap())
            .await;
        assert_eq!(made.status, 201, "{subscribe}");
        let subscription = made
            .header("location")
            .unwrap()
            .strip_prefix(ORIGIN)
            .unwrap()
            .to_owned();
        let set = made.headers.get_all("link").iter().find_map(|link| {
            let target = link
                .to_str()
                .unwrap()
                .strip_suffix(">; rel=\"urn:ietf:params:push:set\"")?;
            target.strip_prefix('<')?.strip_prefix(ORIGIN).map(str::to_owned)
        });
        for path in [&set.clone().unwrap(), &subscription] {
            for spelling in spellings(path) {
                let look = Request::head(&spelling).body(Bytes::new()).unwrap();
                assert_eq!(service.answer(look).await.status, 200, "{spelling}");
            }
        }
        let [.., escaped] = spellings(&set.unwrap());
        let link = format!("<{ORIGIN}{escaped}>; rel=\"urn:ietf:params:push:set\"");
        let again = Request::post("/subscribe")
            .header("link", link)
            .body(Bytes::new())
            .unwrap();
        assert_eq!(service.answer(again).await.status, 201, "{escaped}");
    }

    let wish = [("prefer", "respond-async")];
    let asked = service.answer(push(&paths[1], &wish, "x")).await;
    let link = asked.header("link").unwrap();
    let (target, relation) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
    let [.., escaped] = spellings(target.strip_prefix(ORIGIN).unwrap());
    let link = format!("<{ORIGIN}{escaped}>{relation}");
    let wish = [("prefer", "respond-async"), ("link", link.as_str())];
    assert_eq!(service.answer(push(&paths[1], &wish, "x")).await.status, 202);
    let look = Request::head(&escaped).body(Bytes::new()).unwrap();
    assert_eq!(service.answer(look).await.status, 200, "{escaped}");
}

/// A path as it is, and with everything escaped that may be, in both cases of the digits.
fn spellings(path: &str) -> [String; 3] {
    let escaped = |upper: bool| {
        let one = |character: char| match (character, upper) {
            ('/', _) => "/".to_owned(),
            (other, true) => format!("%{:02X}", u32::from(other)),
            (other, false) => format!("%{:02x}", u32::from(other)),
        };
        path.chars().map(one).collect::<String>()
    };
    [path.to_owned(), escaped(false), escaped(true)]
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

/// A browser at `/` gets a page that says how to use the service, every other peer the sentence, and caches keep them apart. The page
/// never names the secret.
#[tokio::test]
async fn a_browser_gets_a_page() {
    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let mut service = Service::new();
    service.resources = service.resources.with_secret(Some("open-sesame"));
    let of = |method: Method, accept: &'static str| {
        let request = Request::builder()
            .method(method)
            .uri("/")
            .header("accept", accept);
        service.answer(request.body(Bytes::new()).unwrap())
    };
    for method in [Method::GET, Method::HEAD] {
        let page = of(method, BROWSER).await;
        assert_eq!(page.status, 200);
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(page.header("vary"), Some("Accept, Origin"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
        let text = std::str::from_utf8(&page.body).unwrap();
        for part in [
            "<code>wss://push.example.net/</code>",
            "<code>https://push.example.net/</code>",
            "private",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(
            !text.contains("{{") && !text.contains("sesame") && !text.contains("allowInsecure"),
            "{text}"
        );
    }
    for accept in ["*/*", "application/json", "text/html;q=0"] {
        let sentence = of(Method::GET, accept).await;
        assert_eq!(sentence.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(sentence.header("vary"), Some("Accept, Origin"));
        assert_eq!(sentence.header("content-security-policy"), None);
        assert!(sentence.body.starts_with(b"A Web Push service (RFC 8030)."));
    }
    assert_eq!(of(Method::POST, BROWSER).await.status, 405);
    assert_eq!(of(Method::DELETE, BROWSER).await.header("vary"), Some("Origin"));
}
