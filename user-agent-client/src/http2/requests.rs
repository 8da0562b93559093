//! Requests about subscriptions, one at a time: services may allow a user agent no more than one stream for them
//! (R30-LB-4).

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use http::Method;
use push_protocol::identifiers::SubscriptionName;
use push_protocol::session::user_agent::{Identity, SubscriptionResource, Unregistered};
use push_protocol::vapid::PublicKey;
use url::Url;

use super::answer::Answer;
use super::incoming::Incoming;
use super::request;
use super::requester::Requester;
use super::subscribe::{Made, Wanted, subscribe};
use crate::request_error::RequestError;
use crate::retry_after;

/// What the session asks for.
pub(super) enum Request {
    Register {
        name: SubscriptionName,
        application_server: Option<PublicKey>,
    },
    Unregister {
        name: SubscriptionName,
        resource: Option<SubscriptionResource>,
    },
}

/// **Invariant:** no longer than the requests that the session has under way, which it bounds.
#[derive(Default)]
pub(super) struct Requests {
    waiting: VecDeque<Request>,
    under_way: Option<UnderWay>,
}

type UnderWay = Pin<Box<dyn Future<Output = Incoming> + Send>>;

/// What requests are made with.
pub(super) struct Means<'a> {
    pub(super) requester: &'a Requester,
    pub(super) service: &'a Url,
    pub(super) set: Option<&'a Identity>,
    pub(super) may_leave_set: bool,
}

impl Requests {
    pub(super) fn push(&mut self, request: Request) {
        self.waiting.push_back(request);
    }

    /// The answer to the request that is under way; then the next one is begun by the next call.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, means: &Means<'_>) -> Poll<Incoming> {
        if self.under_way.is_none() {
            let Some(next) = self.waiting.pop_front() else {
                return Poll::Pending;
            };
            if self.waiting.is_empty() {
                // As for everything that is idle.
                self.waiting = VecDeque::new();
            }
            self.under_way = Some(begin(next, means));
        }
        let Some(under_way) = &mut self.under_way else {
            return Poll::Pending;
        };
        let answer = std::task::ready!(under_way.as_mut().poll(cx));
        self.under_way = None;
        Poll::Ready(answer)
    }
}

fn begin(request: Request, means: &Means<'_>) -> UnderWay {
    let requester = means.requester.clone();
    match request {
        Request::Register {
            name,
            application_server,
        } => {
            let wanted = Wanted {
                service: means.service.clone(),
                set: means.set.cloned(),
                may_leave_set: means.may_leave_set,
                application_server,
            };
            Box::pin(async move {
                match subscribe(&requester, wanted).await {
                    Made::Subscription(enrolled) => Incoming::Enrolled(name, enrolled),
                    Made::Nothing(answer, why) => Incoming::NotEnrolled(name, answer, why),
                }
            })
        }
        Request::Unregister { name, resource } => Box::pin(async move {
            let (answer, why) = match resource {
                Some(resource) => end(&requester, &resource).await,
                // The service never said where: there is nothing that we could end.
                None => (Unregistered::Done, None),
            };
            Incoming::Unregistered(name, answer, why)
        }),
    }
}

/// Ends a subscription. One that is gone already is what was wanted (R30-EXP-8). What came of it, and why it is not done.
pub(super) async fn end(
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
    let told = retry_after::told(&answer.headers, SystemTime::now());
    match answer.status.as_u16() {
        200..=299 | 404 | 410 => (Unregistered::Done, None),
        _ => (
            told.map_or(Unregistered::Trouble, Unregistered::Later),
            Some(not_done(answer)),
        ),
    }
}

/// What an answer says that is no success.
pub(super) fn not_done(answer: Answer) -> RequestError {
    RequestError::Status {
        status: answer.status.as_u16(),
        explanation: answer.said.map(Into::into),
    }
}
