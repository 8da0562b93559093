//! Requests about subscriptions, one at a time: services may allow a user agent no more than one stream for them
//! (R30-LB-4).

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use push_protocol::identifiers::SubscriptionName;
use push_protocol::session::user_agent::{Identity, SubscriptionResource, Unregistered};
use push_protocol::vapid::PublicKey;
use url::Url;

use super::incoming::Incoming;
use super::requester::Requester;
use super::subscribe::{SubscribeResult, SubscriptionRequest, subscribe};
use super::unsubscribe::unsubscribe;

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
pub(super) struct RequestContext<'a> {
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
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, context: &RequestContext<'_>) -> Poll<Incoming> {
        if self.under_way.is_none() {
            let Some(next) = self.waiting.pop_front() else {
                return Poll::Pending;
            };
            if self.waiting.is_empty() {
                // An idle channel owns no buffer.
                self.waiting = VecDeque::new();
            }
            self.under_way = Some(begin(next, context));
        }
        let Some(under_way) = &mut self.under_way else {
            return Poll::Pending;
        };
        let answer = std::task::ready!(under_way.as_mut().poll(cx));
        self.under_way = None;
        Poll::Ready(answer)
    }
}

fn begin(request: Request, context: &RequestContext<'_>) -> UnderWay {
    let requester = context.requester.clone();
    match request {
        Request::Register {
            name,
            application_server,
        } => {
            let wanted = SubscriptionRequest {
                service: context.service.clone(),
                set: context.set.cloned(),
                may_leave_set: context.may_leave_set,
                application_server,
            };
            Box::pin(async move {
                match subscribe(&requester, wanted).await {
                    SubscribeResult::Subscription(made) => Incoming::SubscriptionMade(name, made),
                    SubscribeResult::Refused(answer, why) => Incoming::SubscriptionNotMade(name, answer, why),
                }
            })
        }
        Request::Unregister { name, resource } => Box::pin(async move {
            let (answer, why) = match resource {
                Some(resource) => unsubscribe(&requester, &resource).await,
                // The service never gave its URL, so it can't be ended.
                None => (Unregistered::Done, None),
            };
            Incoming::Unregistered(name, answer, why)
        }),
    }
}
