//! The status page as a browser and a script get it, from a node that has seen something.

use std::collections::HashSet;

use serde_json::Value;

use super::*;
use crate::admin::tests::{admin, answer_to};
use crate::metrics::{Accepted, Channel, ChannelKind, Refused};

/// A browser gets the page, with its values in it and a policy that allows nothing inline; everything else gets the list.
#[tokio::test]
async fn a_browser_gets_the_page() {
    let (admin, _, readiness) = admin();
    readiness.ready();
    admin.metrics.channel(ChannelKind::WebSocket, Channel::Opened);
    admin.metrics.accepted(Accepted::Stored);
    admin.metrics.refused(Refused::RateLimited);
    for method in ["GET", "HEAD"] {
        let (head, page) = answer_to(&admin, method, "/", Some("text/html,*/*;q=0.8")).await;
        assert_eq!(head.headers["content-type"], "text/html; charset=utf-8");
        assert_eq!(head.headers["vary"], "Accept");
        assert_eq!(head.headers["cache-control"], "no-store");
        assert_eq!(head.headers["x-content-type-options"], "nosniff");
        let policy = head.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none';") && !policy.contains("unsafe"),
            "{policy}"
        );
        for part in [
            "<span data-value=\"node.word\" data-as=\"text\">Ready</span>",
            "<span data-value=\"channels.websocket\" data-as=\"count\">1</span>",
            "<tr data-if=\"refusals.rate_limited.total\"><th",
            "<tr data-if=\"refusals.ttl.total\" hidden><th",
            "<code>limits.pushes_burst</code>",
            "href=\"metrics\"",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(
            !page.contains("{{") && !page.contains(" style=") && !page.contains("<style"),
            "{page}"
        );
        assert!(
            !page.contains("//") || !page.contains("src=\"http"),
            "nothing of other servers"
        );
    }
    for accept in [None, Some("*/*"), Some("application/json")] {
        let (head, list) = answer_to(&admin, "GET", "/", accept).await;
        assert_eq!(head.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(head.headers["vary"], "Accept");
        assert!(list.contains("/overview"), "{list}");
    }
}

/// Each value that the page names is in the overview, or may be missing for a reason.
#[tokio::test]
async fn the_page_names_values_that_exist() {
    let (admin, _, _) = admin();
    let (_, page) = answer_to(&admin, "GET", "/", Some("text/html")).await;
    let overview = admin.seen(Instant::now()).await;
    // Without TLS there is no certificate.
    let may_be_missing = |path: &str| path.starts_with("certificates.");
    for attribute in [
        "data-value=\"",
        "data-if=\"",
        "data-state-of=\"",
        "data-line=\"",
        "data-list=\"",
    ] {
        let paths: HashSet<&str> = page
            .split(attribute)
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(!paths.is_empty(), "{attribute}");
        for path in paths {
            let mut value = Some(&overview);
            for name in path.split('.') {
                value = value.and_then(|value: &Value| value.get(name));
            }
            assert!(value.is_some() || may_be_missing(path), "{path}");
        }
    }
}

/// A sentence of storage or of the configuration stays text, whatever it is made of.
#[tokio::test]
async fn sentences_stay_text() {
    let (mut admin, _, readiness) = admin();
    readiness.failed("<script>alert(1)</script> {{value x as text}}");
    admin.warnings = std::sync::Arc::from(["<b>{{text version as text}}</b>".to_owned()]);
    let (_, page) = answer_to(&admin, "GET", "/", Some("text/html")).await;
    assert!(
        page.contains("&lt;script&gt;alert(1)&lt;/script&gt; {{value x as text}}"),
        "{page}"
    );
    assert!(
        page.contains("<li>&lt;b&gt;&#123;&#123;text version as text}}&lt;/b&gt;</li>"),
        "{page}"
    );
    assert!(!page.contains("<script>") && !page.contains("<b>"), "{page}");
}

/// The parts of the page are what they say, and no page of another origin may embed them.
#[tokio::test]
async fn the_parts_are_only_for_the_page() {
    let (admin, _, _) = admin();
    let rows = [
        (
            "/page.css",
            "text/css; charset=utf-8",
            "prefers-color-scheme: dark",
        ),
        ("/page.js", "text/javascript; charset=utf-8", "fetch('overview'"),
        ("/page.svg", "image/svg+xml", "<svg"),
        ("/overview", "application/json", "\"refusals\":{"),
    ];
    for (path, kind, part) in rows {
        let (head, content) = answer_to(&admin, "GET", path, None).await;
        assert_eq!(head.headers["content-type"], kind, "{path}");
        assert_eq!(
            head.headers["cross-origin-resource-policy"], "same-origin",
            "{path}"
        );
        assert_eq!(head.headers["cache-control"], "no-store", "{path}");
        assert!(content.contains(part), "{path}: {content}");
    }
}
