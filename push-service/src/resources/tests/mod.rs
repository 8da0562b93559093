//! Every rule that shows in an answer, as tables keyed by its ID: request, expected answer.

mod budgets;
mod cancelling;
mod messages;
mod receipts;
pub(crate) mod rig;
mod routing;
mod senders;
mod trouble;
