//! The paths of the resources, and the methods of each.

use std::borrow::Cow;

use http::Method;
use push_protocol::capability::{Dialect, PushKind};

use crate::defaults::TOKEN_BYTES;

/// What stands before the token of a message resource.
pub(super) const MESSAGE: &str = "/message/";

/// What stands before the token of a subscription resource.
pub(super) const SUBSCRIPTION: &str = "/subscription/";

/// What stands before the token of a subscription set.
pub(super) const SET: &str = "/subscriptions/";

/// What stands before the token of a receipt subscription.
pub(super) const RECEIPTS: &str = "/receipts/";

/// The push service itself: the one resource without a token, but perhaps behind a secret.
const SUBSCRIBE: &str = "/subscribe";

/// The first prefix that fits is the resource: longer ones stand before those that they begin with.
const ROUTES: &[(&str, Resource)] = &[
    (PushKind::WpushV2.path(), Resource::Push(PushKind::WpushV2)),
    (PushKind::WpushV1.path(), Resource::Push(PushKind::WpushV1)),
    ("/wpush/", Resource::Push(PushKind::WpushV1)),
    (PushKind::Push.path(), Resource::Push(PushKind::Push)),
    (MESSAGE, Resource::Message),
    (SUBSCRIBE, Resource::Subscribe),
    ("/subscribe/", Resource::Subscribe),
    (SUBSCRIPTION, Resource::Subscription),
    (SET, Resource::Set),
    (RECEIPTS, Resource::Receipts),
];

/// A kind of resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resource {
    /// Takes push messages.
    Push(PushKind),
    /// A push message: its sender and its user agent each have a URL of it.
    Message,
    /// Makes subscriptions.
    Subscribe,
    /// One subscription, as its user agent knows it.
    Subscription,
    /// All subscriptions of a user agent.
    Set,
    /// A receipt subscription.
    Receipts,
}

impl Resource {
    /// Whether it has this method.
    pub(super) fn has(self, method: &Method) -> bool {
        *method == Method::OPTIONS || self.allow().split(", ").any(|name| name == method.as_str())
    }

    /// Its methods, as `Allow` lists them.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Self::Push(_) | Self::Subscribe => "OPTIONS, POST",
            Self::Message => "DELETE, OPTIONS",
            Self::Subscription | Self::Set | Self::Receipts => "DELETE, GET, HEAD, OPTIONS",
        }
    }

    /// The dialect of its refusals.
    pub(super) fn dialect(self) -> Dialect {
        match self {
            Self::Push(PushKind::WpushV1 | PushKind::WpushV2) => Dialect::Webpush,
            _ => Dialect::Rfc8030,
        }
    }
}

/// A path that belongs to a resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Route<'a> {
    /// Of which kind.
    pub(super) resource: Resource,
    /// The last part of the path: the token that says which one; of `/subscribe/…`, the secret. Empty if the path has nothing
    /// that could be a token.
    pub(super) token: &'a str,
}

/// A path, or the target of a link, as it is compared: an escaped character that needs no escape is the character (RFC 3986
/// §6.2.2.2). Other escapes stay as they are, so that `%2F` never becomes a `/`.
///
/// Tokens are base64url, and some libraries and proxies escape its `-` and `_`.
pub fn unescaped(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut unescaped = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at(at);
        unescaped.push_str(before);
        let character = match escape.as_bytes() {
            [_, high, low, ..] => unreserved(*high, *low),
            _ => None,
        };
        unescaped.push(character.unwrap_or('%'));
        rest = &escape[if character.is_some() { 3 } else { 1 }..];
    }
    unescaped.push_str(rest);
    Cow::Owned(unescaped)
}

/// The unreserved character that these two hexadecimal digits escape, if it is one (RFC 3986 §2.3).
fn unreserved(high: u8, low: u8) -> Option<char> {
    let digit = |digit| char::from(digit).to_digit(16);
    let character = char::from_u32(digit(high)? * 16 + digit(low)?)?;
    (character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_' | '~')).then_some(character)
}

/// The resource of a path.
pub(super) fn find(path: &str) -> Option<Route<'_>> {
    let (rest, resource) = ROUTES.iter().find_map(|&(prefix, resource)| {
        let rest = path.strip_prefix(prefix)?;
        (prefix.ends_with('/') || rest.is_empty()).then_some((rest, resource))
    })?;
    let could_be_token = rest.len() <= TOKEN_BYTES && !rest.contains('/');
    let token = if could_be_token { rest } else { "" };
    Some(Route { resource, token })
}

/// Whether a path belongs to a resource, so that no channel can be opened there.
pub fn is_resource(path: &str) -> bool {
    find(path).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3986 §6.2.2.2: what needs no escape may have one, in any case of its digits; every other escape stays.
    #[test]
    fn needless_escapes_mean_nothing() {
        let rows = [
            ("/push/a-b_c", "/push/a-b_c"),
            ("/push/a%2Db%5Fc", "/push/a-b_c"),
            ("/push/a%2db%5fc", "/push/a-b_c"),
            ("/%70ush/%61%7E%2E%30", "/push/a~.0"),
            ("/push/a%2Fb%2fc", "/push/a%2Fb%2fc"),
            ("/push/a%252Db", "/push/a%252Db"),
            ("/push/%", "/push/%"),
            ("/push/%2", "/push/%2"),
            ("/push/%%2D", "/push/%-"),
            ("/push/%zz%2-%C3%A4%00%20", "/push/%zz%2-%C3%A4%00%20"),
            ("", ""),
        ];
        for (path, expected) in rows {
            assert_eq!(unescaped(path), expected, "{path}");
        }
        assert!(matches!(unescaped("/push/abc"), Cow::Borrowed(_)));
    }

    /// WP-1, R30-RES-5: every spelling of a push path is found; what cannot be a token is an unknown one, not another
    /// resource.
    #[test]
    fn paths_are_resources() {
        let long = format!("/push/{}", "a".repeat(TOKEN_BYTES + 1));
        let rows = [
            ("/wpush/v1/abc", Some((Resource::Push(PushKind::WpushV1), "abc"))),
            ("/wpush/v2/abc", Some((Resource::Push(PushKind::WpushV2), "abc"))),
            ("/wpush/abc", Some((Resource::Push(PushKind::WpushV1), "abc"))),
            ("/wpush/v3/abc", Some((Resource::Push(PushKind::WpushV1), ""))),
            ("/push/abc", Some((Resource::Push(PushKind::Push), "abc"))),
            ("/push/", Some((Resource::Push(PushKind::Push), ""))),
            ("/push/abc/def", Some((Resource::Push(PushKind::Push), ""))),
            (long.as_str(), Some((Resource::Push(PushKind::Push), ""))),
            ("/message/abc", Some((Resource::Message, "abc"))),
            ("/subscribe", Some((Resource::Subscribe, ""))),
            ("/subscribe/secret", Some((Resource::Subscribe, "secret"))),
            ("/subscription/abc", Some((Resource::Subscription, "abc"))),
            ("/subscriptions/abc", Some((Resource::Set, "abc"))),
            ("/receipts/abc", Some((Resource::Receipts, "abc"))),
            ("/subscribers", None),
            ("/push", None),
            ("/", None),
            ("", None),
            ("/secret", None),
        ];
        for (path, expected) in rows {
            let found = find(path).map(|route| (route.resource, route.token));
            assert_eq!(found, expected, "{path}");
        }
    }
}
