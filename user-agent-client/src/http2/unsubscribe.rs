//! Ending a subscription (RFC 8030 §7.3): one `DELETE` on its resource.

use std::time::SystemTime;

use http::Method;
use push_protocol::session::user_agent::{SubscriptionResource, Unregistered};
use url::Url;

use super::answer::HttpAnswer;
use super::request;
use super::requester::Requester;
use crate::request_error::RequestError;
use crate::retry_after;

/// Ends a subscription. A subscription that is gone already counts as ended (R30-EXP-8). Returns the answer for the session, and
/// for people why the subscription is not ended.
pub(super) async fn unsubscribe(
    requester: &Requester,
    resource: &SubscriptionResource,
) -> (Unregistered, Option<RequestError>) {
    let (Ok(url), Some(request)) = (
        Url::parse(resource.as_str()),
        request(Method::DELETE, resource.as_str()),
    ) else {
        return (Unregistered::Done, None);
    };
    let answer = match requester.exchange(&url, request, None).await {
        Ok(answer) => answer,
        Err(why) => return (Unregistered::Trouble, Some(why)),
    };
    let told = retry_after::read(&answer.headers, SystemTime::now());
    match answer.status.as_u16() {
        200..=299 | 404 | 410 => (Unregistered::Done, None),
        _ => (
            told.map_or(Unregistered::Trouble, Unregistered::Later),
            Some(not_done(answer)),
        ),
    }
}

/// The error for an answer that is not a success.
pub(super) fn not_done(answer: HttpAnswer) -> RequestError {
    RequestError::Status {
        status: answer.status.as_u16(),
        explanation: answer.said.map(Into::into),
    }
}
