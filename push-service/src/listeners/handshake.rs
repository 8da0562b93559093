//! The WebSocket's opening handshake (RFC 6455 §4.2): which requests become channels.
//!
//! A pure function of the request's head. Offers no extension, echoes our one subprotocol, and says what is wrong in
//! words that help an operator with a proxy in front. What is spoken afterwards is the channel's business.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONNECTION, HOST, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use subtle::ConstantTimeEq as _;

/// RFC 6455 §1.3.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What Firefox offers; echoed, never required (WS-CON-2).
const SUBPROTOCOL: &str = "push-notification";

/// At which paths a channel is opened.
#[derive(Clone, Default)]
pub struct ChannelPath(Option<Box<str>>);

impl ChannelPath {
    /// At every path, or, with a secret, only at `/SECRET`.
    pub fn new(secret: Option<&str>) -> Self {
        Self(secret.map(Into::into))
    }

    /// Whether a channel is opened at `path`. Takes the same time for every wrong secret of one length.
    pub fn admits(&self, path: &str) -> bool {
        self.0.as_deref().is_none_or(|secret| {
            path.strip_prefix('/')
                .is_some_and(|shown| shown.as_bytes().ct_eq(secret.as_bytes()).into())
        })
    }
}

impl std::fmt::Debug for ChannelPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChannelPath(…)")
    }
}

/// Whether a request wants to become a WebSocket. One that carries the key but lost `Upgrade` on its way counts, so that
/// its sender is told why it fails.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, "websocket") || headers.contains_key(SEC_WEBSOCKET_KEY)
}

/// The answer to a request that wants to become a WebSocket: 101 if it does.
pub(super) fn answer(head: &Parts) -> Response<Bytes> {
    accept(head).unwrap_or_else(Refusal::response)
}

/// What is wrong with a handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
    Method,
    Lost,
    Version,
    Key,
    Host,
}

fn accept(head: &Parts) -> Result<Response<Bytes>, Refusal> {
    let headers = &head.headers;
    if head.method != Method::GET {
        return Err(Refusal::Method);
    }
    if head.version != Version::HTTP_11
        || !has_token(headers, &UPGRADE, "websocket")
        || !has_token(headers, &CONNECTION, "upgrade")
    {
        return Err(Refusal::Lost);
    }
    if !headers.contains_key(HOST) {
        return Err(Refusal::Host);
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(Refusal::Version);
    }
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answered = response.headers_mut();
    answered.insert(SEC_WEBSOCKET_ACCEPT, accept_key(headers).ok_or(Refusal::Key)?);
    answered.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answered.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if has_token(headers, &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        answered.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    Ok(response)
}

/// `Sec-WebSocket-Accept` for a key that is 16 bytes in base64, the only one of its name.
fn accept_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (key, None) = (keys.next()?.as_bytes(), keys.next()) else {
        return None;
    };
    let mut decoded = [0; 18];
    if STANDARD.decode_slice(key, &mut decoded).ok()? != 16 {
        return None;
    }
    let mut digest = sha1_smol::Sha1::from(key);
    digest.update(ACCEPT_SUFFIX);
    let mut text = [0; 28];
    STANDARD.encode_slice(digest.digest().bytes(), &mut text).ok()?;
    HeaderValue::from_bytes(&text).ok()
}

impl Refusal {
    fn response(self) -> Response<Bytes> {
        let sentence = match self {
            Self::Method => "A WebSocket is opened with GET.\n",
            Self::Lost => {
                "To open a WebSocket, send \"Connection: Upgrade\" and \"Upgrade: websocket\" over \
                 HTTP/1.1. If you sent them, a proxy on the way removed them.\n"
            }
            Self::Version => {
                "Only version 13 of the WebSocket protocol is supported; send Sec-WebSocket-Version: 13.\n"
            }
            Self::Key => "Sec-WebSocket-Key must be a single value: 16 bytes in base64.\n",
            Self::Host => "The Host header is missing.\n",
        };
        let mut response = Response::new(Bytes::from_static(sentence.as_bytes()));
        if matches!(self, Self::Lost | Self::Version) {
            *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
            let headers = response.headers_mut();
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        } else {
            *response.status_mut() = StatusCode::BAD_REQUEST;
        }
        response
    }
}

/// Whether a header field that lists tokens has this one, in any case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.to_str().unwrap_or_default().split(','))
        .any(|listed| listed.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[(&str, &str)] = &[
        ("host", "push.example.net"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().uri("/");
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    /// RFC 6455 §1.3, WS-CON-2: the key is answered as in the RFC's example, the subprotocol echoed if it was offered.
    #[test]
    fn a_good_handshake_is_accepted() {
        let response = answer(&head(GOOD));
        assert_eq!(response.status(), 101);
        assert_eq!(
            response.headers()["sec-websocket-accept"],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert!(!response.headers().contains_key("sec-websocket-protocol"));

        let firefox = [
            GOOD,
            &[
                ("sec-websocket-protocol", "chat, push-notification"),
                ("sec-websocket-extensions", "permessage-deflate"),
            ],
        ]
        .concat();
        let response = answer(&head(&firefox));
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["sec-websocket-protocol"], "push-notification");
        assert!(!response.headers().contains_key("sec-websocket-extensions"));
    }

    /// RFC 6455 §4.2.1, §4.4: whatever is missing or wrong is refused, another version with the one we speak.
    #[test]
    fn a_bad_handshake_is_refused() {
        let rows = [
            ("host", "", 400),
            ("connection", "", 426),
            ("connection", "keep-alive", 426),
            ("upgrade", "h2c", 426),
            ("sec-websocket-version", "", 426),
            ("sec-websocket-version", "8", 426),
            ("sec-websocket-key", "", 400),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ", 400),
            ("sec-websocket-key", "c2hvcnQ=", 400),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZSEh", 400),
        ];
        for (name, value, status) in rows {
            let headers: Vec<_> = GOOD
                .iter()
                .map(|&(known, good)| (known, if known == name { value } else { good }))
                .collect();
            let response = answer(&head(&headers));
            assert_eq!(response.status(), status, "{name}: {value}");
            let shown = response.headers().get("sec-websocket-version");
            assert_eq!(shown.is_some_and(|version| version == "13"), status == 426);
        }
        let mut post = head(GOOD);
        post.method = Method::POST;
        assert_eq!(answer(&post).status(), 400);
        let mut old = head(GOOD);
        old.version = Version::HTTP_10;
        assert_eq!(answer(&old).status(), 426);
    }

    /// With a secret, a channel is opened at its path and nowhere else; without, anywhere.
    #[test]
    fn the_secret_is_the_whole_path() {
        let open = ChannelPath::new(None);
        let closed = ChannelPath::new(Some("s3cret"));
        for (path, admitted) in [
            ("/s3cret", true),
            ("/", false),
            ("/s3creT", false),
            ("/s3cret/", false),
            ("/s3cre", false),
        ] {
            assert!(open.admits(path));
            assert_eq!(closed.admits(path), admitted, "{path}");
        }
    }
}
