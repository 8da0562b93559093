//! The steps of the storage as scripts that run inside Redis, one each (PR-31).
//!
//! A script is its file, behind the parts that it shares with others. Its first line names its flags: steps
//! that take memory are refused when Redis has none left, the others are `allow-oom`, so that what waits can be fetched,
//! acknowledged and dropped when memory is short. Its second line has its name and version, for operators who watch Redis.
//!
//! Three things are inserted:
//!
//! - The names of its keys, from its [`KeySet`], in front.
//! - A part, where a line says `--+` and the part's name. As a function it would cost every message more. For the same
//!   reason the scripts of the hot path come without parts that few messages need. They answer
//!   [`AGAIN`](super::layout::letter::AGAIN) if they have to be run again with those parts.
//! - Formats, sizes, positions and letters, where it says `layout.NAME`.

use push_protocol::UserAgentId;

use super::bucket::Bucket;
use super::keys::{ALL, BUCKET_DEADLINES, KeySet, NODES, QUEUE, QUEUE_AND_OUTBOX, SUM, Store, SumOf};
use super::layout::{EPOCH, FORMAT, LANE};
use super::layout_names::in_scripts;
use super::links::{Repeat, Script};
use crate::defaults::{
    ACKNOWLEDGE_WITHIN, EVICTIONS_PER_STEP, MESSAGE_OVERHEAD_BYTES, ORDER_BELOW, ORDER_FROM,
    PASSING_RECEIPTS, RECEIPT_KEPT, RECEIPT_SUBSCRIPTION_KEPT, REDIS_CLOCK_REFUSED, REDIS_ENDING_COUNTED,
    REDIS_ENTRIES_EXAMINED, REDIS_STEP_MESSAGES,
};
use crate::storage::PASSING_WITH_RECEIPT;

const KEYS: &str = include_str!("scripts/parts/keys.lua");
const TIME: &str = include_str!("scripts/parts/time.lua");
const RECORD: &str = include_str!("scripts/parts/record.lua");
const NEW_RECORD: &str = include_str!("scripts/parts/new_record.lua");
const RENEW: &str = include_str!("scripts/parts/renew.lua");
const INDEX: &str = include_str!("scripts/parts/index.lua");
const SOLE: &str = include_str!("scripts/parts/sole.lua");
const EXPIRY: &str = include_str!("scripts/parts/expiry.lua");
const OUTBOX: &str = include_str!("scripts/parts/outbox.lua");
const EXPECT_OUTCOME: &str = include_str!("scripts/parts/expect_outcome.lua");
const PASSING: &str = include_str!("scripts/parts/passing.lua");
const WITHOUT_OUTBOX: &str = include_str!("scripts/parts/without_outbox.lua");
const DUE: &str = include_str!("scripts/parts/due.lua");
const PUT_EXPECTED: &str = include_str!("scripts/parts/put_expected.lua");
const ENDING: &str = include_str!("scripts/parts/ending.lua");
const FORGET: &str = include_str!("scripts/parts/forget.lua");
const TAKE_OUT: &str = include_str!("scripts/parts/take_out.lua");
const RECOUNT: &str = include_str!("scripts/parts/recount.lua");
const TELL: &str = include_str!("scripts/parts/tell.lua");
const PAGE: &str = include_str!("scripts/parts/page.lua");

/// The parts of a step of the hot path that comes with the outbox.
const WITH_OUTBOX: &[&str] = &[
    TIME,
    RECORD,
    INDEX,
    SOLE,
    RECOUNT,
    OUTBOX,
    EXPIRY,
    EXPECT_OUTCOME,
    PASSING,
    TAKE_OUT,
    TELL,
];

/// The parts that a line `--+ name` stands for.
const INSERTED: &[(&str, &str)] = &[
    ("append", include_str!("scripts/parts/append.lua")),
    ("count_out", include_str!("scripts/parts/count_out.lua")),
    ("counted", include_str!("scripts/parts/counted.lua")),
    ("drop_orders", include_str!("scripts/parts/drop_orders.lua")),
    ("drop_queue", include_str!("scripts/parts/drop_queue.lua")),
    ("make_room", include_str!("scripts/parts/make_room.lua")),
    ("order", include_str!("scripts/parts/order.lua")),
    ("orders", include_str!("scripts/parts/orders.lua")),
    ("orders_join", include_str!("scripts/parts/orders_join.lua")),
    ("orders_kept", include_str!("scripts/parts/orders_kept.lua")),
    ("orders_leave", include_str!("scripts/parts/orders_leave.lua")),
    ("orders_left", include_str!("scripts/parts/orders_left.lua")),
    ("orders_short", include_str!("scripts/parts/orders_short.lua")),
    (
        "record_outcomes",
        include_str!("scripts/parts/record_outcomes.lua"),
    ),
];

/// A script, and the keys that it takes about its subject.
pub(super) struct Step<Of> {
    pub(super) script: Script,
    pub(super) keys: KeySet<Of>,
    /// The same step with the outbox. It runs if this one answers [`AGAIN`](super::layout::letter::AGAIN): then this one has
    /// changed nothing.
    pub(super) with_outbox: Option<Box<Step<Of>>>,
}

/// The steps about a user agent or a bucket, hashed once.
pub(super) struct Scripts {
    pub(super) subscribe: Step<UserAgentId>,
    pub(super) unsubscribe: Step<UserAgentId>,
    /// A message without a receipt.
    pub(super) enqueue: Step<UserAgentId>,
    /// A message that a receipt was asked for.
    pub(super) enqueue_with_receipt: Step<UserAgentId>,
    pub(super) attach: Step<UserAgentId>,
    pub(super) page: Step<UserAgentId>,
    pub(super) refresh: Step<UserAgentId>,
    pub(super) release: Step<UserAgentId>,
    pub(super) acknowledge: Step<UserAgentId>,
    pub(super) expire: Step<UserAgentId>,
    pub(super) report: Step<UserAgentId>,
    pub(super) import: Step<UserAgentId>,
    pub(super) has: Step<UserAgentId>,
    pub(super) expect: Step<UserAgentId>,
    pub(super) settle: Step<UserAgentId>,
    pub(super) outcomes: Step<UserAgentId>,
    pub(super) clear: Step<UserAgentId>,
    pub(super) trace: Step<UserAgentId>,
    pub(super) overdue: Step<Bucket>,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self::with_sources(&|source| source)
    }

    /// With each source changed.
    pub(super) fn with_sources(change: &dyn Fn(String) -> String) -> Self {
        let take_memory = Build {
            flags: "#!lua",
            repeat: Repeat::Always,
            change,
        };
        let free = Build {
            flags: "#!lua flags=allow-oom",
            ..take_memory
        };
        let once = Repeat::IfNotRun;
        let enqueue_with_outbox = || {
            take_memory.repeated(once).step(
                "enqueue-with-outbox",
                QUEUE_AND_OUTBOX,
                WITH_OUTBOX,
                include_str!("scripts/enqueue.lua"),
            )
        };
        let acknowledge_with_outbox = free.step(
            "acknowledge-with-outbox",
            QUEUE_AND_OUTBOX,
            WITH_OUTBOX,
            include_str!("scripts/acknowledge.lua"),
        );
        Self {
            // Asked again, it finds what it made.
            subscribe: take_memory.step(
                "subscribe",
                QUEUE_AND_OUTBOX,
                &[TIME, RECORD, NEW_RECORD, RENEW, OUTBOX],
                include_str!("scripts/subscribe.lua"),
            ),
            // Asked again, it would say that there was no such subscription.
            unsubscribe: free.repeated(once).step(
                "unsubscribe",
                ALL,
                &[
                    TIME, RECORD, INDEX, SOLE, RECOUNT, OUTBOX, DUE, ENDING, FORGET, TAKE_OUT, TELL,
                ],
                include_str!("scripts/unsubscribe.lua"),
            ),
            enqueue: take_memory
                .repeated(once)
                .step(
                    "enqueue",
                    QUEUE,
                    &[TIME, RECORD, INDEX, SOLE, WITHOUT_OUTBOX, TAKE_OUT, TELL],
                    include_str!("scripts/enqueue.lua"),
                )
                .or(enqueue_with_outbox()),
            enqueue_with_receipt: enqueue_with_outbox(),
            attach: free.step(
                "attach",
                QUEUE,
                &[TIME, RECORD, RENEW, INDEX, SOLE, RECOUNT, TELL, PAGE],
                include_str!("scripts/attach.lua"),
            ),
            page: free.step(
                "page",
                QUEUE,
                &[TIME, RECORD, INDEX, SOLE, RECOUNT, PAGE],
                include_str!("scripts/page.lua"),
            ),
            refresh: free.step(
                "refresh",
                QUEUE,
                &[TIME, RECORD, RENEW],
                include_str!("scripts/refresh.lua"),
            ),
            release: free.step(
                "release",
                ALL,
                &[TIME, RECORD, INDEX, SOLE, OUTBOX, DUE, ENDING, FORGET],
                include_str!("scripts/release.lua"),
            ),
            acknowledge: free
                .step(
                    "acknowledge",
                    QUEUE,
                    &[TIME, RECORD, INDEX, SOLE, WITHOUT_OUTBOX, TAKE_OUT, TELL],
                    include_str!("scripts/acknowledge.lua"),
                )
                .or(acknowledge_with_outbox),
            expire: free.step(
                "expire",
                ALL,
                &[TIME, RECORD, INDEX, SOLE, RECOUNT, OUTBOX, DUE, TAKE_OUT, TELL],
                include_str!("scripts/expire.lua"),
            ),
            report: free.step(
                "report",
                QUEUE,
                &[TIME, RECORD, INDEX, SOLE, RECOUNT],
                include_str!("scripts/report.lua"),
            ),
            import: take_memory.step(
                "import",
                ALL,
                &[
                    TIME,
                    RECORD,
                    NEW_RECORD,
                    INDEX,
                    SOLE,
                    RECOUNT,
                    OUTBOX,
                    DUE,
                    EXPIRY,
                    EXPECT_OUTCOME,
                    PUT_EXPECTED,
                    TAKE_OUT,
                ],
                include_str!("scripts/import.lua"),
            ),
            has: free.step("has", QUEUE, &[TIME, RECORD], include_str!("scripts/has.lua")),
            expect: take_memory.step(
                "expect",
                ALL,
                &[TIME, RECORD, RENEW, EXPIRY, EXPECT_OUTCOME, PUT_EXPECTED],
                include_str!("scripts/expect.lua"),
            ),
            // What joins the queue was expected before, and leaves there.
            settle: free.step(
                "settle",
                ALL,
                &[TIME, RECORD, RENEW, INDEX, SOLE, RECOUNT, TELL],
                include_str!("scripts/settle.lua"),
            ),
            outcomes: free.step(
                "outcomes",
                ALL,
                &[TIME, RECORD, OUTBOX, DUE],
                include_str!("scripts/outcomes.lua"),
            ),
            clear: free.step(
                "clear",
                ALL,
                &[TIME, RECORD, OUTBOX, DUE],
                include_str!("scripts/clear.lua"),
            ),
            trace: free.step(
                "trace",
                ALL,
                &[TIME, RECORD, OUTBOX],
                include_str!("scripts/trace.lua"),
            ),
            overdue: free.step(
                "overdue",
                BUCKET_DEADLINES,
                &[TIME],
                include_str!("scripts/overdue.lua"),
            ),
        }
    }
}

#[cfg(test)]
impl Scripts {
    /// The scripts of all steps.
    pub(super) fn all(&self) -> impl Iterator<Item = &Script> {
        fn of<Of>(step: &Step<Of>) -> impl Iterator<Item = &Script> {
            std::iter::once(&step.script).chain(step.with_outbox.iter().map(|step| &step.script))
        }
        let steps = [
            &self.subscribe,
            &self.unsubscribe,
            &self.enqueue,
            &self.enqueue_with_receipt,
            &self.attach,
            &self.page,
            &self.refresh,
            &self.release,
            &self.acknowledge,
            &self.expire,
            &self.report,
            &self.import,
            &self.has,
            &self.expect,
            &self.settle,
            &self.outcomes,
            &self.clear,
            &self.trace,
        ];
        steps.into_iter().flat_map(of).chain(of(&self.overdue))
    }
}

/// Says that a node is alive.
pub(super) fn present() -> Step<Store> {
    about_the_store(Repeat::Always).step("present", NODES, &[], include_str!("scripts/present.lua"))
}

/// Adds to the sum of a sender.
pub(super) fn senders() -> Step<SumOf> {
    about_the_store(Repeat::IfNotRun).step("senders", SUM, &[TIME], include_str!("scripts/senders.lua"))
}

fn about_the_store(repeat: Repeat) -> Build<'static> {
    Build {
        flags: "#!lua flags=allow-oom",
        repeat,
        change: &|source| source,
    }
}

/// How a script is built of its parts.
#[derive(Clone, Copy)]
struct Build<'a> {
    flags: &'a str,
    repeat: Repeat,
    change: &'a dyn Fn(String) -> String,
}

impl Build<'_> {
    fn repeated(self, repeat: Repeat) -> Self {
        Self { repeat, ..self }
    }

    fn step<Of>(self, name: &'static str, keys: KeySet<Of>, parts: &[&str], step: &str) -> Step<Of> {
        let source = source(self.flags, name, keys.lua, parts, step);
        Step {
            script: Script::new(name, (self.change)(source), self.repeat),
            keys,
            with_outbox: None,
        }
    }
}

impl<Of> Step<Of> {
    fn or(self, with_outbox: Self) -> Self {
        Self {
            with_outbox: Some(Box::new(with_outbox)),
            ..self
        }
    }
}

fn source(flags: &str, name: &str, keys: &[&str], parts: &[&str], step: &str) -> String {
    // The scripts of the hot path are run again with the outbox if they find orders.
    let is_ordered = !parts.contains(&WITHOUT_OUTBOX);
    let positions: Vec<_> = (1..=keys.len()).map(|at| format!("KEYS[{at}]")).collect();
    let shared = if keys.len() > 1 { KEYS } else { "" };
    let text = [
        shared,
        &format!("local {} = {}\n", keys.join(", "), positions.join(", ")),
        &parts.concat(),
        step,
    ];
    let text = with_layouts(&with_parts(&text.concat(), is_ordered));
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
         {text}"
    )
}

/// Inserts each part where a line says `--+` and its name. Scripts that keep no orders come without the parts about
/// them.
fn with_parts(text: &str, is_ordered: bool) -> String {
    let mut whole = String::with_capacity(2 * text.len());
    for line in text.lines() {
        let part = match line.trim().strip_prefix("--+ ") {
            None => {
                whole.push_str(line);
                whole.push('\n');
                continue;
            }
            // They expire.
            Some("drop_orders") if !is_ordered => "ordered = false\n",
            // Only reached with the outbox.
            Some("make_room") if !is_ordered => "",
            Some(part) if !is_ordered && part.starts_with("orders") => "",
            Some(name) => {
                let part = INSERTED.iter().find(|(part, _)| *part == name);
                part.expect("a script names its parts as they are called").1
            }
        };
        whole.push_str(&with_parts(part, is_ordered));
    }
    whole
}

/// Puts in what each `layout.NAME` stands for.
fn with_layouts(text: &str) -> String {
    let layouts = in_scripts();
    let mut pieces = text.split("layout.");
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
        let end = piece.find(|c| !is_name(c)).unwrap_or(piece.len());
        let (name, rest) = piece.split_at(end);
        let layout = layouts.iter().find(|(layout, _)| *layout == name);
        whole.push_str(&layout.expect("a script names layouts as they are called").1);
        whole.push_str(rest);
    }
    whole
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// The source of each script.
    fn sources() -> Vec<String> {
        let sources = RefCell::new(vec![present().script.source, senders().script.source]);
        Scripts::with_sources(&|source| {
            sources.borrow_mut().push(source.clone());
            source
        });
        sources.into_inner()
    }

    /// PR-31: each command that a script calls is among the rights that operators are told to give.
    #[test]
    fn every_command_is_among_the_documented_rights() {
        let page = include_str!("../../../../docs/redis.md");
        let rights: Vec<&str> = page.split_whitespace().collect();
        for source in sources() {
            for call in ["redis.call('", "redis.pcall('"] {
                let calls = source.split(call).skip(1);
                for command in calls.filter_map(|call| call.split('\'').next()) {
                    let right = format!("+{}", command.to_lowercase());
                    assert!(rights.contains(&&right[..]), "{right}: {source}");
                }
            }
        }
    }

    /// PR-31: each script has a header, a name and a version, and says nothing twice: all that [`in_scripts`] has is used.
    #[test]
    fn scripts_have_a_header_and_use_all_layouts() {
        let sources = sources();
        assert_eq!(sources.len(), 23);
        for source in &sources {
            let mut lines = source.lines();
            assert!(lines.next().unwrap().starts_with("#!lua"), "{source}");
            let name = lines.next().unwrap();
            assert!(
                name.starts_with("-- push-service ") && name.ends_with(" 1"),
                "{name}"
            );
        }
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/storage/redis/scripts"));
        let parts = std::fs::read_dir(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/storage/redis/scripts/parts"
        ));
        let text: String = files
            .unwrap()
            .chain(parts.unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|lua| lua == "lua"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        for (name, _) in in_scripts() {
            let is_named = text.match_indices(&format!("layout.{name}")).any(|(at, found)| {
                let after = text[at + found.len()..].chars().next();
                after.is_none_or(|c| !c.is_ascii_uppercase() && c != '_')
            });
            assert!(is_named, "no script says layout.{name}");
        }
    }
}
