//! Making a subscription (RFC 8030 §4): one `POST`, wherever the service wants it.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LINK, LOCATION};
use http::{HeaderMap, Method, Request};
use push_protocol::headers::Relation;
use push_protocol::session::user_agent::{
    Enrolled, Identity, PushResource, Registered, SubscriptionResource,
};
use push_protocol::vapid::PublicKey;
use url::Url;

use super::answer::{Answer, NoAnswer};
use super::request;
use super::requester::Requester;
use super::requests::end;
use crate::defaults::REDIRECTIONS;
use crate::links;
use crate::retry_after;
use crate::server_url::ServerUrl;

/// RFC 8292 §4.1.
const OPTIONS_TYPE: &str = "application/webpush-options+json";

/// What is asked for.
pub(super) struct Wanted {
    /// The push service resource.
    pub(super) service: Url,
    /// The set that the subscription is to be in.
    pub(super) set: Option<Identity>,
    /// If the service doesn't take it with the set, it is asked without.
    pub(super) may_leave_set: bool,
    /// Who alone may send.
    pub(super) application_server: Option<PublicKey>,
}

/// What came of it.
pub(super) enum Made {
    Subscription(Enrolled),
    /// And what the service says about that.
    Nothing(Registered, Option<Box<str>>),
}

/// Asks, follows redirections (R30-LB-1), and asks again without a set that the service doesn't know (R30-SET-4).
///
/// A 400 may have other reasons than the set: only the answer to a request without it tells. So a set is never given up for
/// a mistake that has nothing to do with it.
pub(super) async fn subscribe(requester: &Requester, mut wanted: Wanted) -> Made {
    let mut service = wanted.service.clone();
    let mut redirections = 0;
    loop {
        let Ok(answer) = post(requester, &service, &wanted).await else {
            return Registered::Trouble.into();
        };
        match answer.status.as_u16() {
            201 => return made(requester, &service, &wanted, &answer.headers).await,
            307 | 308 if redirections < REDIRECTIONS => {
                let Some(target) = redirection(&answer.headers, &service) else {
                    return Registered::Trouble.into();
                };
                service = target;
                redirections += 1;
            }
            400 if wanted.set.is_some() && wanted.may_leave_set => {
                wanted.set = None;
                service = wanted.service.clone();
            }
            _ => return Made::Nothing(refusal(&answer), answer.said),
        }
    }
}

async fn post(requester: &Requester, service: &Url, wanted: &Wanted) -> Result<Answer, NoAnswer> {
    let Some(mut request) = request(Method::POST, service.as_str()) else {
        return Err(NoAnswer::ALONE);
    };
    if let Some(set) = &wanted.set {
        let link = Relation::Set.link(set.as_str());
        let Ok(mut link) = http::HeaderValue::try_from(link) else {
            return Err(NoAnswer::ALONE);
        };
        link.set_sensitive(true);
        request.headers_mut().insert(LINK, link);
    }
    let body = wanted.application_server.map(|key| options(&mut request, key));
    requester.exchange(service, request, body).await
}

fn options(request: &mut Request<()>, key: PublicKey) -> Bytes {
    let media_type = http::HeaderValue::from_static(OPTIONS_TYPE);
    request.headers_mut().insert(CONTENT_TYPE, media_type);
    // Characters of base64url need no escape.
    format!("{{\"vapid\":\"{key}\"}}").into()
}

/// Reads a 201. What lacks a part can't be used, and is asked for again later (R30-SUB-3, R30-SUB-4).
async fn made(requester: &Requester, service: &Url, wanted: &Wanted, headers: &HeaderMap) -> Made {
    let Some(enrolled) = enrolled(service, headers) else {
        tracing::warn!(
            "the service made a subscription without saying where, or without a set: it can't be used"
        );
        return Registered::Trouble.into();
    };
    match &wanted.set {
        // R30-SET-3 allows it, but the others can't be monitored together with it.
        Some(set) if *set != enrolled.set => {
            tracing::warn!(
                "the service made a subscription in another set than was asked for: it is taken back"
            );
            end(requester, &enrolled.resource).await;
            Registered::Trouble.into()
        }
        _ => Made::Subscription(enrolled),
    }
}

fn enrolled(service: &Url, headers: &HeaderMap) -> Option<Enrolled> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let resource = links::absolute(location, service)?;
    let set = links::find(headers, Relation::Set, service)?;
    let push_resource = links::find(headers, Relation::Push, service)?;
    // Both are ours alone: they stay with one origin, and encrypted if the service is.
    let (at, set_at) = (Url::parse(&resource).ok()?, Url::parse(&set).ok()?);
    let is_safe = at.origin() == set_at.origin() && (service.scheme() != "https" || at.scheme() == "https");
    if !is_safe {
        return None;
    }
    Some(Enrolled {
        set: Identity::of_set(&set)?,
        resource: SubscriptionResource::parse(&resource)?,
        push_resource: PushResource::parse(&push_resource)?,
    })
}

/// Where a redirection leads, unless that is in clear where this one is not.
fn redirection(headers: &HeaderMap, from: &Url) -> Option<Url> {
    let target = links::absolute(headers.get(LOCATION)?.to_str().ok()?, from)?;
    let target = Url::parse(&target).ok()?;
    let is_safe = target.scheme() == "https" || target.scheme() == from.scheme();
    (is_safe && target.has_host()).then_some(target)
}

fn refusal(answer: &Answer) -> Registered {
    let told = retry_after::told(&answer.headers, SystemTime::now());
    match answer.status.as_u16() {
        408 | 429 | 500..=599 => told.map_or(Registered::Trouble, Registered::Later),
        status @ 400..=499 => Registered::Refused(status),
        _ => Registered::Trouble,
    }
}

/// The push service resource of a service: `/subscribe`, and behind it the secret that the URL holds, if it does. A URL that
/// leads to a push service resource already is taken as it is.
pub(super) fn push_service_resource(server: &ServerUrl, home: &Url) -> Option<Url> {
    let path = server.path_and_query();
    let is_there = path
        .strip_prefix("/subscribe")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let origin = home.as_str().trim_end_matches('/');
    let url = match path {
        _ if is_there => format!("{origin}{path}"),
        "/" => format!("{origin}/subscribe"),
        secret => format!("{origin}/subscribe{secret}"),
    };
    Url::parse(&url).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R30-SUB-1: the resource of the service's URL, with the secret that it may hold.
    #[test]
    fn the_push_service_resource() {
        let rows = [
            ("https://push.example.net", "https://push.example.net/subscribe"),
            ("https://push.example.net/", "https://push.example.net/subscribe"),
            (
                "https://Push.example.net:443/s",
                "https://push.example.net/subscribe/s",
            ),
            ("https://h:1/subscribe/s", "https://h:1/subscribe/s"),
            ("https://h/subscribe", "https://h/subscribe"),
            ("https://h/subscribers", "https://h/subscribe/subscribers"),
            (
                "http://127.0.0.1:8080/?a=b",
                "http://127.0.0.1:8080/subscribe/?a=b",
            ),
        ];
        for (text, expected) in rows {
            let server = ServerUrl::parse(text).unwrap();
            let home = super::super::home(&server).unwrap();
            assert_eq!(push_service_resource(&server, &home).unwrap().as_str(), expected);
        }
    }
}
