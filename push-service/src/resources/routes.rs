//! Which path is which resource.

use http::Method;
use push_protocol::capability::{Dialect, PushKind};

use crate::defaults::TOKEN_BYTES;

/// What stands before the token of a message resource.
pub(super) const MESSAGE: &str = "/message/";

/// The push service itself: the one resource without a token.
const SUBSCRIBE: &str = "/subscribe";

/// The first prefix that fits is the resource: longer ones stand before those that they begin with.
const ROUTES: &[(&str, Resource)] = &[
    (PushKind::WpushV2.path(), Resource::Push(PushKind::WpushV2)),
    (PushKind::WpushV1.path(), Resource::Push(PushKind::WpushV1)),
    ("/wpush/", Resource::Push(PushKind::WpushV1)),
    (PushKind::Push.path(), Resource::Push(PushKind::Push)),
    (MESSAGE, Resource::Message),
    (SUBSCRIBE, Resource::Reserved),
    ("/subscribe/", Resource::Reserved),
    ("/subscription/", Resource::Reserved),
    ("/subscriptions/", Resource::Reserved),
    ("/receipts/", Resource::Reserved),
];

/// A kind of resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resource {
    /// Takes push messages.
    Push(PushKind),
    /// A push message, as its sender knows it.
    Message,
    /// A resource of RFC 8030 that is not served yet: no channel may be opened in its place.
    Reserved,
}

impl Resource {
    /// The method that it has, beside OPTIONS.
    pub(super) fn method(self) -> Option<&'static Method> {
        match self {
            Self::Push(_) => Some(&Method::POST),
            Self::Message => Some(&Method::DELETE),
            Self::Reserved => None,
        }
    }

    /// In which words its refusals are told.
    pub(super) fn dialect(self) -> Dialect {
        match self {
            Self::Push(PushKind::WpushV1 | PushKind::WpushV2) => Dialect::Webpush,
            Self::Push(PushKind::Push) | Self::Message | Self::Reserved => Dialect::Rfc8030,
        }
    }
}

/// A path that belongs to a resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Route<'a> {
    /// Of which kind.
    pub(super) resource: Resource,
    /// Which one: empty if the path has nothing that could be a token.
    pub(super) token: &'a str,
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
            ("/subscribe", Some((Resource::Reserved, ""))),
            ("/subscribe/secret", Some((Resource::Reserved, "secret"))),
            ("/subscription/abc", Some((Resource::Reserved, "abc"))),
            ("/subscriptions/abc", Some((Resource::Reserved, "abc"))),
            ("/receipts/abc", Some((Resource::Reserved, "abc"))),
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
