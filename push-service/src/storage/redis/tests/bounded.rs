//! How much one step touches while a long queue waits (PR-31, PR-43).
//!
//! The scripts of this store count words: each argument that they hand to Redis, and each element that they get back. That is
//! two for a message that is read, and some 30 for one that is removed and for which a receipt was asked.

use push_protocol::{MessageId, ReceiptOutcome, SubscriptionId};

use super::OWN;
use super::laboratory::Laboratory;
use crate::storage::contract::{enqueue, everything, ids, name, seat, subscribe, user_agent};
use crate::storage::{
    Attached, Confirm, Enqueue, Enqueued, Manner, QueueLimits, Removal, Storage as _, Subscribed,
};

/// Messages of another subscription that wait.
const WAITING: usize = 1_000;

/// The most words of one step, which removes at most a hundred messages. To make the orders of the whole queue takes twice as
/// many.
const MOST_WORDS: i64 = 4_000;

/// Comes before the script's own text. Keeps the largest number of words of one script under the key `words`.
const PRELUDE: &str = "
local redis = (function(real)
    local words = 0
    return {
        error_reply = real.error_reply,
        pcall = real.pcall,
        call = function(...)
            local reply = real.call(...)
            words = words + select('#', ...) + (type(reply) == 'table' and #reply or 1)
            if words > tonumber(real.call('GET', 'words') or '0') then
                real.call('SET', 'words', words)
            end
            return reply
        end,
    }
end)(redis)
";

/// A store with two subscriptions.
async fn counting() -> Laboratory {
    let laboratory = Laboratory::open(PRELUDE, OWN).await;
    for n in [1, 2] {
        let made = laboratory.redis.subscribe(subscribe(1, n)).await.unwrap();
        assert!(matches!(made, Subscribed::Created(_)));
    }
    laboratory
}

impl Laboratory {
    /// What a step answers, and the most words of one of its scripts.
    async fn words<T>(&self, step: impl Future<Output = T>) -> (T, i64) {
        self.server.command(&["SET", "words", "0"]).await.expect_ok();
        let answer = step.await;
        let words = self.server.command(&["GET", "words"]).await;
        (answer, words.text().parse().unwrap())
    }

    async fn stored(&self, n: u8, nonce: u64, change: impl FnOnce(&mut Enqueue)) -> MessageId {
        let mut request = Enqueue {
            nonce,
            queue_limits: QueueLimits {
                messages: 10_000,
                bytes: 1 << 24,
            },
            ..enqueue(1, n, b"a")
        };
        change(&mut request);
        match self.redis.enqueue(request).await.unwrap() {
            Enqueued::Stored { id, .. } => id,
            refused => panic!("{refused:?}"),
        }
    }

    /// Messages of subscription 2, which asked for receipts, among those of subscription 1.
    async fn fill(&self, of_two: usize) -> (Vec<MessageId>, Vec<MessageId>) {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for n in 0..WAITING {
            one.push(self.stored(1, n as u64, |_| ()).await);
            if n < of_two {
                let asking = |request: &mut Enqueue| request.receipts = Some(user_agent(9));
                two.push(self.stored(2, (WAITING + n) as u64, asking).await);
            }
        }
        (one, two)
    }

    async fn waiting(&self) -> Vec<MessageId> {
        let mut all = Vec::new();
        let mut page = everything();
        loop {
            let attach = self
                .redis
                .attach(user_agent(1), seat(1), page.clone(), Manner::Insisting);
            let Attached::Known { page: read, .. } = attach.await.unwrap() else {
                panic!("unknown");
            };
            all.extend(ids(&read));
            page.after = read.upto;
            if !read.more {
                return all;
            }
        }
    }

    async fn acknowledged(&self, ids: &[MessageId]) -> Vec<bool> {
        let acknowledge =
            self.redis
                .acknowledge(user_agent(1), ids, Removal::Acknowledged, Confirm::Durably, None);
        acknowledge.await.unwrap()
    }

    /// Ends subscription 2, checks that nothing of it is there from then on, and sweeps. Returns the most words of the
    /// step, and of a step of the sweeps.
    async fn end_two(&self, one: &[MessageId], two: &[MessageId]) -> (i64, i64) {
        let (ended, words) = self.words(self.redis.unsubscribe(user_agent(1), name(2))).await;
        assert_eq!(ended.unwrap(), Some(SubscriptionId([2; 8])));
        assert_eq!(self.waiting().await, one, "nothing of it is shown");
        let late = self.acknowledged(&two[two.len() - 1..]).await;
        assert_eq!(late, [false]);
        let (_, sweep_words) = self
            .words(async { while self.redis.expire(60).await.unwrap().total() > 0 {} })
            .await;
        assert_eq!(self.waiting().await, one);
        let report = self.redis.inspect(user_agent(1)).await.unwrap().unwrap();
        assert_eq!(report.messages as usize, one.len());
        let index = self
            .server
            .command(&["ZCARD", "push:{004}:i:01010101010101010101010101010101"])
            .await;
        assert_eq!(index.integer() as usize, one.len(), "nothing of it is left");
        let mut given_up = Vec::new();
        loop {
            let some = self.redis.outbox(user_agent(1), 1_000).await.unwrap();
            if some.is_empty() {
                break;
            }
            assert!(some.iter().all(|outcome| outcome.how == ReceiptOutcome::GivenUp));
            let ids: Vec<_> = some.iter().map(|outcome| outcome.id).collect();
            self.redis.clear_outbox(user_agent(1), &ids).await.unwrap();
            given_up.extend(ids);
        }
        given_up.sort_unstable();
        assert_eq!(given_up, two);
        // The sums are right: another message fits, and one more does not.
        let exact = one.len() as u32 + 1;
        let fits = |request: &mut Enqueue| request.queue_limits.messages = exact;
        self.stored(1, 1 << 40, fits).await;
        assert_eq!(self.waiting().await.len(), one.len() + 1);
        (words, sweep_words)
    }
}

/// PR-9, PR-31, PR-43: a subscription ends beside a long queue in a step that does not read it, whether few or many of its
/// messages wait there; sweeps remove them in bounded steps.
#[tokio::test]
async fn a_subscription_beside_a_long_queue_ends_in_bounded_steps() {
    for of_two in [1, 150] {
        let laboratory = counting().await;
        let (one, two) = laboratory.fill(of_two).await;
        let (words, sweep_words) = laboratory.end_two(&one, &two).await;
        println!("{of_two}: {words} words, sweeps {sweep_words}");
        assert!(words < 100, "{words} words");
        assert!(sweep_words < MOST_WORDS, "{sweep_words} words");
        laboratory.redis.close().await.unwrap();
    }
}

/// PR-31, PR-43: the same beside a queue that was full and so has orders. These name its messages, of which the step removes at
/// most a hundred.
#[tokio::test]
async fn a_subscription_beside_a_full_queue_ends_in_bounded_steps() {
    for of_two in [1, 100, 150] {
        let laboratory = counting().await;
        let (mut one, two) = laboratory.fill(of_two).await;
        let full = |request: &mut Enqueue| request.queue_limits.messages = (WAITING + of_two) as u32;
        one.push(laboratory.stored(1, 1 << 41, full).await);
        one.remove(0);
        let (words, sweep_words) = laboratory.end_two(&one, &two).await;
        println!("{of_two}: {words} words, sweeps {sweep_words}");
        assert!(words < MOST_WORDS, "{words} words");
        assert!(sweep_words < MOST_WORDS, "{sweep_words} words");
        laboratory.redis.close().await.unwrap();
    }
}
