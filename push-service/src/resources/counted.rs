//! The metric labels of a request and its refusal. Labels come from closed sets: nothing that a peer sent becomes one.

use push_protocol::headers::HeaderError;

use super::answer::Problem;
use super::body::Fault;
use super::routes::Resource;
use crate::broker::Refusal;
use crate::budgets::Budget;
use crate::metrics::{self, Refused};

/// The resource that was asked.
pub(super) fn resource(resource: Option<Resource>) -> metrics::Resource {
    match resource {
        Some(Resource::Push(_)) => metrics::Resource::Push,
        Some(Resource::Message) => metrics::Resource::Message,
        Some(Resource::Subscribe) => metrics::Resource::Subscribe,
        Some(Resource::Subscription | Resource::Set) => metrics::Resource::Subscription,
        Some(Resource::Receipts) => metrics::Resource::Receipt,
        None => metrics::Resource::Other,
    }
}

/// Why it refused.
pub(super) fn refusal(problem: &Problem) -> Refused {
    match problem {
        Problem::Refused(refusal) => broker_refusal(refusal),
        Problem::Header(error) => header_error(*error),
        Problem::SharedKey => Refused::Encryption,
        Problem::Options | Problem::NoOptions | Problem::NoPush => Refused::Malformed,
        Problem::Body(Fault::TooLarge) => Refused::TooLarge,
        Problem::Body(Fault::TooSlow) => Refused::TooSlow,
        Problem::Body(Fault::Broken) => Refused::Malformed,
    }
}

fn broker_refusal(refusal: &Refusal) -> Refused {
    match refusal {
        Refusal::UnknownResource | Refusal::UnknownReceipts | Refusal::UnknownSet => Refused::BadToken,
        Refusal::TooManySubscriptions => Refused::TooManySubscriptions,
        Refusal::TooManyReceipts => Refused::QueueFull,
        Refusal::CredentialsMissing
        | Refusal::CredentialsInvalid(_)
        | Refusal::OtherApplicationServer
        | Refusal::ApplicationServerNotListed => Refused::Vapid,
        Refusal::SubscriptionGone | Refusal::MessageGone => Refused::NoSubscription,
        Refusal::TooFast { .. } => Refused::RateLimited,
        Refusal::OverBudget(over) => match over.budget {
            Budget::Sender => Refused::SenderBudget,
            Budget::Records => Refused::RecordsBudget,
            Budget::Address | Budget::UserAgent => Refused::AddressBudget,
        },
        Refusal::QueueFull => Refused::QueueFull,
        Refusal::SenderFull => Refused::SenderFull,
        Refusal::SenderRefused { .. } => Refused::SenderRefused,
        Refusal::StorageUnavailable => Refused::StorageUnavailable,
        Refusal::StorageFull => Refused::StorageFull,
        Refusal::StoreFull => Refused::StoreFull,
    }
}

fn header_error(error: HeaderError) -> Refused {
    match error {
        HeaderError::MissingTtl | HeaderError::MalformedTtl | HeaderError::NegativeTtl => Refused::Ttl,
        HeaderError::RepeatedUrgency | HeaderError::UnknownUrgency => Refused::Urgency,
        HeaderError::MalformedTopic => Refused::Topic,
        _ => Refused::Encryption,
    }
}
