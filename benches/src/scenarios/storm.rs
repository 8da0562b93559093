//! A storm: all user agents that were away come back at the same moment, to nodes that share one Redis.
//!
//! It is [`Absent`] in another size, on a service of its own with two nodes at least.

use clap::Args;

use super::absent::{Absent, Returned};
use crate::failure::BenchResult;
use crate::target::Target;

/// Options of `storm`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Storm {
    /// How many user agents are not connected, each with a subscription
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    pub(crate) user_agents: usize,

    /// How many messages wait for each user agent
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) messages_each: usize,
}

impl Storm {
    /// Stores messages for all, lets them come back to all nodes in turn, and checks that each got its own, once.
    pub(crate) async fn run(self, target: &Target) -> BenchResult<Returned> {
        let absent = Absent {
            user_agents: self.user_agents,
            messages_each: self.messages_each,
            ..Absent::default()
        };
        absent.run(target).await
    }
}
