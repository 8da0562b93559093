//! What a request costs, before it is checked (PR-42).

use http::Method;

use super::routes::Resource;
use crate::defaults::{COST_MONITOR, COST_PUSH, COST_REQUEST, COST_STEP, COST_SUBSCRIBE, COST_UNSUBSCRIBE};

/// In tokens. Further costs of some requests, such as a new VAPID token, are taken where they arise.
pub(super) fn of(resource: Option<Resource>, method: &Method) -> u32 {
    let Some(resource) = resource.filter(|resource| resource.has(method)) else {
        return COST_REQUEST;
    };
    match (resource, method) {
        (_, &Method::OPTIONS) => COST_REQUEST,
        (Resource::Push(_), _) => COST_PUSH,
        (Resource::Subscribe, _) => COST_SUBSCRIBE,
        (Resource::Message, _) | (_, &Method::HEAD) => COST_STEP,
        (_, &Method::DELETE) => COST_UNSUBSCRIBE,
        (Resource::Subscription | Resource::Set | Resource::Receipts, _) => COST_MONITOR,
    }
}
