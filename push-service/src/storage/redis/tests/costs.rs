//! How much work steps on a long queue cost: each argument that a script hands to Redis, and each element that it gets back,
//! counts one.

use std::sync::Arc;

use push_protocol::Urgency;
use push_tests::redis::{Configuration, Server};

use super::{OWN, laboratory};
use crate::defaults::ORDER_FROM;
use crate::storage::contract::{Rig, enqueue, name, user_agent};
use crate::storage::{Enqueue, Enqueued, QueueLimits};

/// Comes before the script's own text.
const PRELUDE: &str = "
local redis = (function(real)
    return {
        error_reply = real.error_reply,
        pcall = real.pcall,
        call = function(...)
            local answer = real.call(...)
            real.call('INCRBY', 'cost', select('#', ...) + (type(answer) == 'table' and #answer or 1))
            return answer
        end,
    }
end)(redis)
";

async fn counting(server: &Server) -> Rig {
    Rig::opening(async |announce, clock| {
        Arc::new(laboratory::open(server, PRELUDE, OWN, announce, clock).await)
    })
    .await
}

/// The cost of a step.
async fn cost(server: &Server, step: impl Future<Output = ()>) -> i64 {
    server.command(&["DEL", "cost"]).await;
    step.await;
    let cost = server.command(&["INCRBY", "cost", "0"]).await.integer();
    assert!(cost > 0, "it was counted");
    cost
}

/// PR-43: beside a long queue, accepting a message for which another is evicted, refusing one, and ending a subscription
/// that never had a message cost the same, however long the queue is.
#[tokio::test]
async fn steps_cost_the_same_beside_any_queue() {
    let server = Server::start(Configuration::new()).await;
    let rig = counting(&server).await;
    let mut costs = Vec::new();
    for (agent, length) in [(1, 8 * ORDER_FROM), (2, 100 * ORDER_FROM)] {
        for n in 1..=4 {
            rig.subscribed(agent, agent * 10 + n).await;
        }
        let of = |n: usize, urgency| {
            let body = [&[agent][..], &n.to_be_bytes()].concat();
            Enqueue {
                queue_limits: QueueLimits {
                    messages: length as u32,
                    bytes: 1 << 30,
                },
                urgency,
                ..enqueue(agent, agent * 10 + 1 + (n % 2) as u8, &body)
            }
        };
        for n in 0..length {
            rig.stored(of(n, Urgency::Normal)).await;
        }
        let ended = async |n| {
            let ended = rig
                .storage
                .unsubscribe(user_agent(agent), name(agent * 10 + n))
                .await;
            assert!(ended.unwrap().is_some());
        };
        // The orders do not exist yet.
        let early = cost(&server, ended(3)).await;
        let evicting = async |n| {
            let enqueued = rig.storage.enqueue(of(n, Urgency::Normal)).await.unwrap();
            assert!(
                matches!(enqueued, Enqueued::Stored { evicted: 1, .. }),
                "{enqueued:?}"
            );
        };
        // The first one makes the orders; the next ones use them.
        for n in 0..4 {
            evicting(length + n).await;
        }
        let refused = async {
            let enqueued = rig.storage.enqueue(of(length, Urgency::VeryLow)).await.unwrap();
            assert!(matches!(enqueued, Enqueued::QueueFull), "{enqueued:?}");
        };
        costs.push([
            cost(&server, evicting(length + 4)).await,
            cost(&server, refused).await,
            cost(&server, ended(4)).await,
            early,
        ]);
    }
    println!("accepted, refused, ended: {costs:?}");
    for (short, long) in costs[0].into_iter().zip(costs[1]) {
        assert!(long <= short + 5, "{costs:?}");
    }
}
