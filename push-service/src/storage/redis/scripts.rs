//! The steps of the storage as scripts that run inside Redis, one each (PR-31).
//!
//! A script is what it says in its file, behind the parts that it shares with others. Its first line names its flags: steps
//! that take memory are refused when Redis has none left, the others are `allow-oom`, so that what waits can be fetched,
//! acknowledged and dropped when memory is short. Name and version stand in its second line, where whoever watches Redis
//! finds them.
//!
//! A line `--+ name` is replaced by that part's text: as a function it would cost every message more. For the same
//! reason the scripts of the hot path come without parts that few messages need. They answer `O` if they have to be
//! run again with those parts.

use super::layout::{EPOCH, LANE};
use super::links::{Repeat, Script};
use crate::defaults::{
    ACKNOWLEDGE_WITHIN, EVICTIONS_PER_STEP, MESSAGE_OVERHEAD_BYTES, ORDER_BELOW, ORDER_FROM,
    PASSING_RECEIPTS, RECEIPT_KEPT, RECEIPT_SUBSCRIPTION_KEPT, REDIS_CLOCK_REFUSED, REDIS_ENDING_COUNTED,
    REDIS_ENTRIES_EXAMINED, REDIS_STEP_MESSAGES,
};
use crate::storage::PASSING_WITH_RECEIPT;

/// The format that these scripts write, and the newest that they read (PR-35).
pub(super) const FORMAT: u8 = 1;

const RECORD: &str = include_str!("scripts/parts/record.lua");
const RENEW: &str = include_str!("scripts/parts/renew.lua");
const INDEX: &str = include_str!("scripts/parts/index.lua");
const SOLE: &str = include_str!("scripts/parts/sole.lua");
const OUTBOX: &str = include_str!("scripts/parts/outbox.lua");
const PROMISE: &str = include_str!("scripts/parts/promise.lua");
const PASSING: &str = include_str!("scripts/parts/passing.lua");
const WITHOUT_OUTBOX: &str = include_str!("scripts/parts/without_outbox.lua");
const DUE: &str = include_str!("scripts/parts/due.lua");
const EXPECTED: &str = include_str!("scripts/parts/expected.lua");
const PUT_EXPECTED: &str = include_str!("scripts/parts/put_expected.lua");
const ENDING: &str = include_str!("scripts/parts/ending.lua");
const FORGET: &str = include_str!("scripts/parts/forget.lua");
const TAKE_OUT: &str = include_str!("scripts/parts/take_out.lua");
const MEND: &str = include_str!("scripts/parts/mend.lua");
const DECIDE: &str = include_str!("scripts/parts/decide.lua");
const COUNT_OUT: &str = include_str!("scripts/parts/count_out.lua");
const COUNTED: &str = include_str!("scripts/parts/counted.lua");
const DROP_ORDERS: &str = include_str!("scripts/parts/drop_orders.lua");
const DROP_QUEUE: &str = include_str!("scripts/parts/drop_queue.lua");
const ORDERS: &str = include_str!("scripts/parts/orders.lua");
const ORDERS_JOIN: &str = include_str!("scripts/parts/orders_join.lua");
const ORDERS_KEPT: &str = include_str!("scripts/parts/orders_kept.lua");
const ORDERS_LEAVE: &str = include_str!("scripts/parts/orders_leave.lua");
const ORDERS_LEFT: &str = include_str!("scripts/parts/orders_left.lua");
const ORDERS_SHORT: &str = include_str!("scripts/parts/orders_short.lua");
const ORDER: &str = include_str!("scripts/parts/order.lua");
const MAKE_ROOM: &str = include_str!("scripts/parts/make_room.lua");
const ADMIT: &str = include_str!("scripts/parts/admit.lua");
const TELL: &str = include_str!("scripts/parts/tell.lua");
const PAGE: &str = include_str!("scripts/parts/page.lua");

/// All of them, hashed once.
pub(super) struct Scripts {
    pub(super) subscribe: Script,
    pub(super) unsubscribe: Script,
    pub(super) enqueue: Script,
    pub(super) enqueue_owing: Script,
    pub(super) attach: Script,
    pub(super) page: Script,
    pub(super) refresh: Script,
    pub(super) release: Script,
    pub(super) acknowledge: Script,
    pub(super) acknowledge_owing: Script,
    pub(super) expire: Script,
    pub(super) report: Script,
    pub(super) import: Script,
    pub(super) has: Script,
    pub(super) expect: Script,
    pub(super) settle: Script,
    pub(super) outcomes: Script,
    pub(super) clear: Script,
    pub(super) trace: Script,
    pub(super) overdue: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let once = Repeat::IfNotRun;
        let always = Repeat::Always;
        Self {
            // Asked again, it finds what it made.
            subscribe: takes_memory(
                "subscribe",
                &[RECORD, RENEW, OUTBOX],
                include_str!("scripts/subscribe.lua"),
                always,
            ),
            // Asked again, it would say that there was no such subscription.
            unsubscribe: frees(
                "unsubscribe",
                &[
                    RECORD, INDEX, SOLE, MEND, OUTBOX, DUE, EXPECTED, ENDING, FORGET, TAKE_OUT, TELL,
                ],
                include_str!("scripts/unsubscribe.lua"),
                once,
            ),
            enqueue: takes_memory(
                "enqueue",
                &[RECORD, INDEX, SOLE, WITHOUT_OUTBOX, TAKE_OUT, TELL],
                include_str!("scripts/enqueue.lua"),
                once,
            ),
            enqueue_owing: takes_memory(
                "enqueue-owing",
                &[
                    RECORD, INDEX, SOLE, MEND, OUTBOX, PROMISE, PASSING, TAKE_OUT, TELL,
                ],
                include_str!("scripts/enqueue.lua"),
                once,
            ),
            attach: frees(
                "attach",
                &[RECORD, RENEW, INDEX, SOLE, MEND, TELL, PAGE],
                include_str!("scripts/attach.lua"),
                always,
            ),
            page: frees(
                "page",
                &[RECORD, INDEX, SOLE, MEND, PAGE],
                include_str!("scripts/page.lua"),
                always,
            ),
            refresh: frees(
                "refresh",
                &[RECORD, RENEW],
                include_str!("scripts/refresh.lua"),
                always,
            ),
            release: frees(
                "release",
                &[RECORD, INDEX, SOLE, OUTBOX, DUE, EXPECTED, ENDING, FORGET],
                include_str!("scripts/release.lua"),
                always,
            ),
            acknowledge: frees(
                "acknowledge",
                &[RECORD, INDEX, SOLE, WITHOUT_OUTBOX, TAKE_OUT, TELL],
                include_str!("scripts/acknowledge.lua"),
                always,
            ),
            acknowledge_owing: frees(
                "acknowledge-owing",
                &[
                    RECORD, INDEX, SOLE, MEND, OUTBOX, PROMISE, PASSING, TAKE_OUT, TELL,
                ],
                include_str!("scripts/acknowledge.lua"),
                always,
            ),
            expire: frees(
                "expire",
                &[RECORD, INDEX, SOLE, MEND, OUTBOX, DUE, TAKE_OUT, TELL],
                include_str!("scripts/expire.lua"),
                always,
            ),
            report: frees(
                "report",
                &[RECORD, INDEX, SOLE, MEND],
                include_str!("scripts/report.lua"),
                always,
            ),
            import: takes_memory(
                "import",
                &[
                    RECORD,
                    INDEX,
                    SOLE,
                    MEND,
                    OUTBOX,
                    DUE,
                    PROMISE,
                    EXPECTED,
                    PUT_EXPECTED,
                    TAKE_OUT,
                ],
                include_str!("scripts/import.lua"),
                always,
            ),
            has: frees("has", &[RECORD], include_str!("scripts/has.lua"), always),
            expect: takes_memory(
                "expect",
                &[RECORD, RENEW, PROMISE, EXPECTED, PUT_EXPECTED],
                include_str!("scripts/expect.lua"),
                always,
            ),
            // What joins the queue was expected before, and leaves there.
            settle: frees(
                "settle",
                &[RECORD, RENEW, INDEX, SOLE, MEND, EXPECTED, TELL],
                include_str!("scripts/settle.lua"),
                always,
            ),
            outcomes: frees(
                "outcomes",
                &[RECORD, OUTBOX, DUE],
                include_str!("scripts/outcomes.lua"),
                always,
            ),
            clear: frees(
                "clear",
                &[RECORD, OUTBOX, DUE],
                include_str!("scripts/clear.lua"),
                always,
            ),
            trace: frees(
                "trace",
                &[RECORD, OUTBOX],
                include_str!("scripts/trace.lua"),
                always,
            ),
            overdue: frees("overdue", &[], include_str!("scripts/overdue.lua"), always),
        }
    }
}

/// Of the store and not of a user agent: says that a node is alive.
pub(super) fn present() -> Script {
    frees(
        "present",
        &[],
        include_str!("scripts/present.lua"),
        Repeat::Always,
    )
}

/// Belongs to the store and not to a user agent: adds to the sum of a sender.
pub(super) fn senders() -> Script {
    frees(
        "senders",
        &[],
        include_str!("scripts/senders.lua"),
        Repeat::IfNotRun,
    )
}

#[cfg(test)]
impl Scripts {
    /// Rewrites the source of each script.
    pub(super) fn rewritten(mut self, rewrite: impl Fn(&str) -> String) -> Self {
        for script in [
            &mut self.subscribe,
            &mut self.unsubscribe,
            &mut self.enqueue,
            &mut self.enqueue_owing,
            &mut self.attach,
            &mut self.page,
            &mut self.refresh,
            &mut self.release,
            &mut self.acknowledge,
            &mut self.acknowledge_owing,
            &mut self.expire,
            &mut self.report,
            &mut self.import,
            &mut self.has,
            &mut self.expect,
            &mut self.settle,
            &mut self.outcomes,
            &mut self.clear,
            &mut self.trace,
            &mut self.overdue,
        ] {
            *script = Script::new(script.name, rewrite(&script.source), script.repeat);
        }
        self
    }

    /// Each of them.
    pub(super) fn all(&self) -> [&Script; 20] {
        [
            &self.subscribe,
            &self.unsubscribe,
            &self.enqueue,
            &self.enqueue_owing,
            &self.attach,
            &self.page,
            &self.refresh,
            &self.release,
            &self.acknowledge,
            &self.acknowledge_owing,
            &self.expire,
            &self.report,
            &self.import,
            &self.has,
            &self.expect,
            &self.settle,
            &self.outcomes,
            &self.clear,
            &self.trace,
            &self.overdue,
        ]
    }
}

fn takes_memory(name: &'static str, parts: &[&str], step: &str, repeat: Repeat) -> Script {
    Script::new(name, source("#!lua", name, parts, step), repeat)
}

fn frees(name: &'static str, parts: &[&str], step: &str, repeat: Repeat) -> Script {
    Script::new(name, source("#!lua flags=allow-oom", name, parts, step), repeat)
}

fn source(flags: &str, name: &str, parts: &[&str], step: &str) -> String {
    // The scripts of the hot path are run again with the outbox if they find orders.
    let is_ordered = !parts.contains(&WITHOUT_OUTBOX);
    let (parts, step) = (
        spelled_out(&parts.concat(), is_ordered),
        spelled_out(step, is_ordered),
    );
    let passing = PASSING_WITH_RECEIPT.0;
    let (passing_ms, kept_ms) = (ACKNOWLEDGE_WITHIN.as_millis(), RECEIPT_KEPT.as_millis());
    let receipts_ms = RECEIPT_SUBSCRIPTION_KEPT.as_millis();
    let apart_us = REDIS_CLOCK_REFUSED.as_micros();
    format!(
        "{flags}\n-- push-service {name} {FORMAT}\n\
         local FORMAT, OVERHEAD, EVICTIONS, EXAMINED = \
         {FORMAT}, {MESSAGE_OVERHEAD_BYTES}, {EVICTIONS_PER_STEP}, {REDIS_ENTRIES_EXAMINED}\n\
         local EPOCH, LANE, STEP, ENDING = {EPOCH}, {LANE}, {REDIS_STEP_MESSAGES}, {REDIS_ENDING_COUNTED}\n\
         local ORDER_FROM, ORDER_BELOW = {ORDER_FROM}, {ORDER_BELOW}\n\
         local RECEIPTS_KEPT_MS, APART_US = {receipts_ms}, {apart_us}\n\
         local PASSING, PASSING_MS, PASSING_MOST, OUTBOX_KEPT_MS = {passing}, {passing_ms}, {PASSING_RECEIPTS}, {kept_ms}\n\
         {parts}{step}"
    )
}

/// Inserts each part where a line says `--+` and its name. Scripts that keep no orders come without the parts about
/// them.
fn spelled_out(text: &str, is_ordered: bool) -> String {
    let mut whole = String::with_capacity(2 * text.len());
    for line in text.lines() {
        let part = match line.trim().strip_prefix("--+ ") {
            Some("admit") => ADMIT,
            Some("count_out") => COUNT_OUT,
            Some("counted") => COUNTED,
            Some("decide") => DECIDE,
            // They expire.
            Some("drop_orders") if !is_ordered => "ordered = false\n",
            Some(part) if !is_ordered && part.starts_with("orders") => "",
            Some("drop_orders") => DROP_ORDERS,
            Some("drop_queue") => DROP_QUEUE,
            // Only reached with the outbox.
            Some("make_room") if !is_ordered => "",
            Some("make_room") => MAKE_ROOM,
            Some("order") => ORDER,
            Some("orders") => ORDERS,
            Some("orders_join") => ORDERS_JOIN,
            Some("orders_kept") => ORDERS_KEPT,
            Some("orders_leave") => ORDERS_LEAVE,
            Some("orders_left") => ORDERS_LEFT,
            Some("orders_short") => ORDERS_SHORT,
            _ => {
                whole.push_str(line);
                whole.push('\n');
                continue;
            }
        };
        whole.push_str(&spelled_out(part, is_ordered));
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-31: whatever a script calls is among the rights that operators are told to give, or it fails only where somebody
    /// gave no more than that.
    #[test]
    fn every_command_is_among_the_documented_rights() {
        let page = include_str!("../../../../docs/redis.md");
        let rights: Vec<&str> = page.split_whitespace().collect();
        let (scripts, present, senders) = (Scripts::new(), present(), senders());
        for script in scripts.all().into_iter().chain([&present, &senders]) {
            let calls = script.source().split("redis.call('").skip(1);
            for command in calls.filter_map(|call| call.split('\'').next()) {
                let right = format!("+{}", command.to_lowercase());
                assert!(rights.contains(&&right[..]), "{} needs {right}", script.name());
            }
        }
    }
}
