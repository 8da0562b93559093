//! Making a subscription (RFC 8030 §4): one `POST`, wherever the service wants it.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LINK, LOCATION};
use http::{HeaderMap, Method, Request};
use push_protocol::headers::Relation;
use push_protocol::session::user_agent::{
    Identity, NewSubscription, PushResource, Registered, SubscriptionResource,
};
use push_protocol::vapid::PublicKey;
use url::Url;

use super::answer::HttpAnswer;
use super::request;
use super::requester::{IN_CLEAR, NO_SERVER, Requester};
use super::unsubscribe::{not_done, unsubscribe};
use crate::defaults::REDIRECTIONS;
use crate::links;
use crate::request_error::RequestError;
use crate::retry_after;
use crate::server_url::ServerUrl;

/// RFC 8292 §4.1.
const OPTIONS_TYPE: &str = "application/webpush-options+json";

/// What is asked for.
pub(super) struct SubscriptionRequest {
    /// The push service resource.
    pub(super) service: Url,
    /// The set that the subscription is to be in.
    pub(super) set: Option<Identity>,
    /// If the service doesn't know the set, a subscription in another one is taken.
    pub(super) may_leave_set: bool,
    /// Who alone may send.
    pub(super) application_server: Option<PublicKey>,
}

/// The answer to a [`SubscriptionRequest`].
pub(super) enum SubscribeResult {
    Subscription(NewSubscription),
    /// For the session, and for people.
    Refused(Registered, RequestError),
}

/// Asks, follows redirections (R30-LB-1), and asks again without a set that the service doesn't know (R30-SET-4).
///
/// A 400 or 404 may have other reasons than the set: only the answer to a request without it tells. So a set is never given up
/// for a mistake that has nothing to do with it. If the answer is a subscription in another set, the service doesn't know ours;
/// whether that is believed is not decided here (PR-47).
pub(super) async fn subscribe(requester: &Requester, mut wanted: SubscriptionRequest) -> SubscribeResult {
    let mut service = wanted.service.clone();
    let mut unknown = None;
    let mut redirections = 0;
    loop {
        let answer = match post(requester, &service, &wanted).await {
            Ok(answer) => answer,
            Err(why) => return SubscribeResult::Refused(Registered::Trouble, why),
        };
        match answer.status.as_u16() {
            201 => return made(requester, &service, &wanted, unknown.as_ref(), &answer.headers).await,
            307 | 308 => {
                service = match redirection(&answer.headers, &service) {
                    Ok(target) if redirections < REDIRECTIONS => target,
                    Ok(target) => {
                        let last = target.host_str().unwrap_or_default().to_owned();
                        return SubscribeResult::Refused(
                            Registered::Trouble,
                            RequestError::Redirections(last),
                        );
                    }
                    Err(why) => {
                        return SubscribeResult::Refused(Registered::Trouble, RequestError::Redirection(why));
                    }
                };
                redirections += 1;
            }
            400 | 404 | 410 if wanted.set.is_some() => {
                unknown = wanted.set.take();
                service = wanted.service.clone();
            }
            _ => return SubscribeResult::Refused(refusal(&answer), not_done(answer)),
        }
    }
}

async fn post(
    requester: &Requester,
    service: &Url,
    wanted: &SubscriptionRequest,
) -> Result<HttpAnswer, RequestError> {
    const NO_REQUEST: RequestError = RequestError::Redirection(NO_SERVER);
    let mut request = request(Method::POST, service.as_str()).ok_or(NO_REQUEST)?;
    if let Some(set) = &wanted.set {
        let link = Relation::Set.link(set.as_str());
        let mut link = http::HeaderValue::try_from(link).map_err(|_| NO_REQUEST)?;
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

/// Reads a 201. An answer without one of its parts can't be used; the subscription is asked for again later (R30-SUB-3, R30-SUB-4). `unknown` is our set, if the
/// service didn't take it.
async fn made(
    requester: &Requester,
    service: &Url,
    wanted: &SubscriptionRequest,
    unknown: Option<&Identity>,
    headers: &HeaderMap,
) -> SubscribeResult {
    let unusable = |what| SubscribeResult::Refused(Registered::Trouble, RequestError::Unusable(what));
    let made = match new_subscription(service, headers) {
        Ok(made) => made,
        Err(what) => return unusable(what),
    };
    match &wanted.set {
        // R30-SET-3 allows it, but the others can't be monitored together with it.
        Some(set) if *set != made.set => {
            // If that fails, the service keeps an unused subscription, which expires.
            let _ = unsubscribe(requester, &made.resource).await;
            unusable("another subscription set than that of the other subscriptions")
        }
        None if unknown.is_some_and(|ours| *ours != made.set) && !wanted.may_leave_set => {
            tracing::warn!(
                "the service did not know our subscription set and made a subscription in another one: it \
                 is ended and requested again"
            );
            let _ = unsubscribe(requester, &made.resource).await;
            let why = "another subscription set than that of the other subscriptions";
            SubscribeResult::Refused(Registered::Unknown, RequestError::Unusable(why))
        }
        _ => SubscribeResult::Subscription(made),
    }
}

/// Reads what was made, or says what is wrong with the answer.
fn new_subscription(service: &Url, headers: &HeaderMap) -> Result<NewSubscription, &'static str> {
    const NO_RESOURCE: &str = "no usable subscription resource: its Location is missing or not a URL";
    const NO_SET: &str =
        "no usable subscription set: its Link with urn:ietf:params:push:set is missing or not a URL";
    const NO_PUSH: &str =
        "no usable push resource: its Link with urn:ietf:params:push is missing or not a URL";
    const APART: &str = "its subscription and its subscription set at two origins";
    const DOWNGRADE: &str = "its subscription at an http:// URL, where others could read everything";
    let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
    let resource = location.and_then(|location| links::absolute(location, service));
    let resource = resource.ok_or(NO_RESOURCE)?;
    let set = links::find(headers, Relation::Set, service).ok_or(NO_SET)?;
    let push_resource = links::find(headers, Relation::Push, service).ok_or(NO_PUSH)?;
    let made = NewSubscription {
        set: Identity::of_set(&set).ok_or(NO_SET)?,
        resource: SubscriptionResource::parse(&resource).ok_or(NO_RESOURCE)?,
        push_resource: PushResource::parse(&push_resource).ok_or(NO_PUSH)?,
    };
    // Both URLs are secrets: they must have one origin, and https if the service has it.
    let at = Url::parse(&resource).map_err(|_| NO_RESOURCE)?;
    let set_at = Url::parse(&set).map_err(|_| NO_SET)?;
    if service.scheme() == "https" && at.scheme() != "https" {
        return Err(DOWNGRADE);
    }
    if at.origin() != set_at.origin() {
        return Err(APART);
    }
    Ok(made)
}

/// Where a redirection leads, unless that is in clear where this one is not; or why it is not followed.
fn redirection(headers: &HeaderMap, from: &Url) -> Result<Url, &'static str> {
    let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
    let target = location.and_then(|location| links::absolute(location, from));
    let target = target.and_then(|target| Url::parse(&target).ok());
    let target = target.filter(Url::has_host).ok_or(NO_SERVER)?;
    if target.scheme() == "https" || target.scheme() == from.scheme() {
        return Ok(target);
    }
    Err(if target.scheme() == "http" {
        IN_CLEAR
    } else {
        NO_SERVER
    })
}

fn refusal(answer: &HttpAnswer) -> Registered {
    let told = retry_after::read(&answer.headers, SystemTime::now());
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
