//! What is at `/`: a page that tells a person what this is and how to use it; for other peers a sentence.
//!
//! The page is made once, at the start, and never names the secret of user agents.
//!
//! **Invariant:** it runs no script and loads nothing: its Content-Security-Policy allows only its own style, by its hash.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY};
use http::{HeaderMap, HeaderValue, Response};
use push_protocol::origin::Origin;
use ring::digest::{SHA256, digest};

use crate::html;

const TEMPLATE: &str = include_str!("front.html");
const STYLE: &str = include_str!("front.css");
const SENTENCE: &[u8] = b"A Web Push service (RFC 8030). User agents connect here by WebSocket.\n";

const PRIVATE: &str = "\n<p class=\"private\">followed by a path that is private: this service is for the people to whom its \
    operator gives that path.</p>";
const INSECURE: &str = "\n<li><p>Add <code>dom.push.testing.allowInsecureServerURL</code> as a Boolean, and set it to \
    <code>true</code>, because the connection is not encrypted.</p></li>";

/// The page and its policy.
pub(super) struct Front {
    page: Bytes,
    policy: HeaderValue,
}

impl Front {
    /// Of the service at this origin. `is_private`: user agents need a secret path.
    pub(super) fn new(origin: &Origin, is_private: bool) -> Self {
        let origin = origin.as_str();
        let websocket = origin
            .strip_prefix("http")
            .map_or_else(|| format!("{origin}/"), |rest| format!("ws{rest}/"));
        let is_insecure = websocket.starts_with("ws:");
        let page = TEMPLATE
            .replace("{{style}}", STYLE)
            .replace("{{private}}", if is_private { PRIVATE } else { "" })
            .replace("{{insecure}}", if is_insecure { INSECURE } else { "" })
            .replace("{{websocket}}", &html::escape(&websocket))
            .replace("{{origin}}", &html::escape(origin));
        let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        Self {
            page: page.into(),
            policy: HeaderValue::try_from(policy).expect("base64 is valid in a field"),
        }
    }

    /// The answer to a GET or HEAD with these fields.
    pub(super) fn answer(&self, request: &HeaderMap) -> Response<Bytes> {
        let mut response = if html::is_wanted(request) {
            let mut page = typed("text/html; charset=utf-8", self.page.clone());
            let headers = page.headers_mut();
            headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            page
        } else {
            typed("text/plain; charset=utf-8", Bytes::from_static(SENTENCE))
        };
        let depends_on = HeaderValue::from_static("Accept, Origin");
        response.headers_mut().insert(VARY, depends_on);
        response
    }
}

fn typed(kind: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(origin: &str, is_private: bool) -> String {
        let front = Front::new(&Origin::parse(origin).unwrap(), is_private);
        String::from_utf8(front.page.to_vec()).unwrap()
    }

    /// The page names the service's own address, and only what holds for it.
    #[test]
    fn the_page_fits_the_service() {
        let open = page("https://push.example", false);
        assert!(
            open.contains("<code>wss://push.example/</code>") && !open.contains("{{"),
            "{open}"
        );
        assert!(
            !open.contains("allowInsecure") && !open.contains("private:"),
            "{open}"
        );
        let private = page("http://127.0.0.1:8080", true);
        assert!(private.contains("<code>ws://127.0.0.1:8080/</code>"), "{private}");
        assert!(
            private.contains("allowInsecureServerURL") && private.contains("a path that is private"),
            "{private}"
        );
    }

    /// The policy allows the style that the page has, and no other.
    #[test]
    fn the_policy_has_the_hash_of_the_style() {
        let front = Front::new(&Origin::parse("https://push.example").unwrap(), false);
        let text = String::from_utf8(front.page.to_vec()).unwrap();
        let style = text
            .split_once("<style>")
            .unwrap()
            .1
            .split_once("</style>")
            .unwrap()
            .0;
        let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
        assert!(
            front
                .policy
                .to_str()
                .unwrap()
                .contains(&format!("'sha256-{hash}'"))
        );
    }
}
