//! What goes on throughout: two user agents, an application server for each, and a record of what was sent and what came.
//!
//! One user agent stays on its channel and acknowledges whatever comes; the other is away until the end. A sender has one
//! push under way at a time, so the order of its answers is the order of acceptance.

use std::time::{Duration, Instant};

use push_tests::application_server::{Http, Push};
use push_tests::connector::Connector;
use push_tests::node::Node;
use push_tests::user_agent::{Closed, Event, UserAgent};
use push_tests::within;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// Between two pushes of a sender. Chosen: enough to be in the middle of whatever happens, and no load.
const PACE: Duration = Duration::from_millis(10);

/// How long the traffic may take to go on. Chosen: a failover on a busy machine, and its consequences.
const GOES_ON_WITHIN: Duration = Duration::from_secs(45);

/// All peers, at work.
pub(crate) struct Traffic {
    pub(crate) to_present: Sender,
    pub(crate) to_absent: Sender,
    present: Present,
    absent_uaid: String,
}

impl Traffic {
    /// The user agents arrive at one node; the senders send through another, or the same.
    pub(crate) async fn start(receiving: &Node, sending: &Node) -> Self {
        let (mut present, _) = UserAgent::arrive(&receiving.connector(), None).await;
        let (mut absent, absent_uaid) = UserAgent::arrive(&receiving.connector(), None).await;
        let to_present = present.subscribe(None).await.push_resource;
        let to_absent = absent.subscribe(None).await.push_resource;
        absent.leave().await;
        let traffic = Self {
            to_present: Sender::start(sending.connector(), to_present, "present"),
            to_absent: Sender::start(sending.connector(), to_absent, "absent"),
            present: Present::start(present),
            absent_uaid,
        };
        traffic.goes_on().await;
        traffic
    }

    /// Waits until both senders were answered 201 some times from now on; after how long the first of these came.
    pub(crate) async fn goes_on(&self) -> Duration {
        let began = Instant::now();
        let (one, other) = tokio::join!(self.to_present.accepted(3), self.to_absent.accepted(3));
        one.max(other).duration_since(began)
    }

    /// Waits until a push that began after now is refused with 503, and returns how long its sender waited.
    pub(crate) async fn is_refused(&self) -> Duration {
        let now = Instant::now();
        let refused = |sent: &&Sent| sent.asked > now && sent.status == 503;
        let mut pushes = self.to_present.pushes.subscribe();
        let wait = pushes.wait_for(|pushes| pushes.iter().any(|sent| refused(&sent)));
        let pushes = in_time("a push is refused", wait).await;
        let sent = pushes.iter().find(refused).expect("it was there");
        sent.answered - sent.asked
    }

    /// Stops the senders, waits for all that was accepted, and audits: the channel of the user agent that stayed is the
    /// one it came with; it and the other, who comes to `node`, got every message that was answered 201, in that order.
    pub(crate) async fn audit(self, node: &Node) -> Audit {
        let (to_present, to_absent) = tokio::join!(self.to_present.stop(), self.to_absent.stop());
        let came = self.present.until_all_of(&to_present).await;
        let mut audit = Audit::default();
        audit.enter(&to_present, &came);
        let absent = Present::start(super::returns(node, &self.absent_uaid).await);
        let came = absent.until_all_of(&to_absent).await;
        audit.enter(&to_absent, &came);
        audit
    }
}

/// What was seen.
#[derive(Default, Debug)]
pub(crate) struct Audit {
    pub(crate) accepted: usize,
    pub(crate) refused: usize,
    /// The longest that a sender waited for 503.
    pub(crate) longest_refusal: Duration,
    /// Messages that came more than once on the same channel.
    pub(crate) repeated: usize,
}

impl Audit {
    fn enter(&mut self, sent: &[Sent], came: &[String]) {
        let accepted: Vec<_> = sent.iter().filter(|sent| sent.status == 201).collect();
        let place = |sent: &&Sent| came.iter().position(|text| *text == sent.text);
        let places: Vec<_> = accepted
            .iter()
            .map(|sent| place(sent).expect("it came"))
            .collect();
        assert!(places.is_sorted(), "not in the order of acceptance: {came:?}");
        self.accepted += accepted.len();
        for refused in sent.iter().filter(|sent| sent.status == 503) {
            assert!(refused.retry_after.parse::<u64>().is_ok(), "{refused:?}");
            self.refused += 1;
            self.longest_refusal = self.longest_refusal.max(refused.answered - refused.asked);
        }
        // Never "unknown", and nothing else either (PR-3).
        let others: Vec<_> = sent
            .iter()
            .filter(|sent| ![201, 503].contains(&sent.status))
            .collect();
        assert!(others.is_empty(), "{others:?}");
        let mut different = came.to_vec();
        different.sort_unstable();
        different.dedup();
        self.repeated += came.len() - different.len();
    }
}

/// A push and its answer.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) text: String,
    pub(crate) asked: Instant,
    pub(crate) answered: Instant,
    /// 0: the connection ended without an answer.
    pub(crate) status: u16,
    pub(crate) retry_after: String,
}

/// An application server that sends one message after the other.
pub(crate) struct Sender {
    pushes: watch::Sender<Vec<Sent>>,
    work: JoinHandle<()>,
}

impl Sender {
    fn start(connector: Connector, push_resource: String, whom: &'static str) -> Self {
        let pushes = watch::Sender::new(Vec::new());
        let work = tokio::spawn(send(connector, push_resource, whom, pushes.clone()));
        Self { pushes, work }
    }

    /// Waits until so many pushes that began after now were answered 201; when the first of these was.
    pub(crate) async fn accepted(&self, count: usize) -> Instant {
        let now = Instant::now();
        let since = |sent: &&Sent| sent.asked > now && sent.status == 201;
        let mut pushes = self.pushes.subscribe();
        let wait = pushes.wait_for(|pushes| pushes.iter().filter(since).count() >= count);
        let pushes = in_time("pushes are accepted", wait).await;
        pushes.iter().find(since).expect("it was there").answered
    }

    /// Ends after the answer that is being waited for.
    async fn stop(self) -> Vec<Sent> {
        let mut pushes = self.pushes.subscribe();
        let answered = pushes.borrow_and_update().len();
        let _ = within(
            "a push is answered",
            pushes.wait_for(|pushes| pushes.len() > answered),
        )
        .await;
        // It pauses now: nothing is under way.
        self.work.abort();
        let _ = self.work.await;
        self.pushes.borrow().clone()
    }
}

async fn send(
    connector: Connector,
    push_resource: String,
    whom: &'static str,
    pushes: watch::Sender<Vec<Sent>>,
) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut http = Http::connect(&connector).await.expect("the node listens");
    for number in 0.. {
        let text = format!("{number} for the {whom} one");
        let asked = Instant::now();
        let answer = http.try_push(&Push::new(&push_resource, &text)).await;
        let sent = Sent {
            text,
            asked,
            answered: Instant::now(),
            status: answer.as_ref().map_or(0, |answer| answer.status.as_u16()),
            retry_after: answer.map_or_else(
                |_| String::new(),
                |answer| answer.header("retry-after").to_owned(),
            ),
        };
        pushes.send_modify(|pushes| pushes.push(sent));
        pace.tick().await;
    }
}

/// A user agent that acknowledges whatever comes.
struct Present {
    came: watch::Receiver<Vec<String>>,
    work: JoinHandle<Closed>,
}

impl Present {
    fn start(mut agent: UserAgent) -> Self {
        let (record, came) = watch::channel(Vec::new());
        let work = tokio::spawn(async move {
            loop {
                match agent.event().await {
                    Event::Notification(notification) => {
                        agent.acknowledge(&notification).await;
                        let text = notification.text().expect("the body is as it was sent");
                        record.send_modify(|texts: &mut Vec<String>| texts.push(text));
                    }
                    Event::Closed(closed) => return closed,
                    other => panic!("a push message was expected, not {other:?}"),
                }
            }
        });
        Self { came, work }
    }

    /// Waits for every message that was answered 201, over the channel that it has; what came over it, in order.
    async fn until_all_of(mut self, sent: &[Sent]) -> Vec<String> {
        let accepted = || sent.iter().filter(|sent| sent.status == 201);
        let all = |came: &Vec<String>| {
            let came: std::collections::HashSet<_> = came.iter().collect();
            accepted().all(|sent| came.contains(&sent.text))
        };
        let waited = tokio::time::timeout(GOES_ON_WITHIN, self.came.wait_for(all)).await;
        let whole = matches!(waited, Ok(Ok(_)));
        drop(waited);
        let came = self.came.borrow().clone();
        if !whole {
            let missing: Vec<_> = accepted().filter(|sent| !came.contains(&sent.text)).collect();
            let closed = self.work.is_finished();
            panic!(
                "{} messages did not come (channel closed: {closed}): {missing:?}",
                missing.len()
            );
        }
        assert!(!self.work.is_finished(), "the channel was closed");
        self.work.abort();
        came
    }
}

async fn in_time<'a>(
    what: &str,
    wait: impl Future<Output = Result<watch::Ref<'a, Vec<Sent>>, watch::error::RecvError>>,
) -> watch::Ref<'a, Vec<Sent>> {
    match tokio::time::timeout(GOES_ON_WITHIN, wait).await {
        Ok(pushes) => pushes.expect("the sender is there"),
        Err(_) => panic!("not within {GOES_ON_WITHIN:?}: {what}"),
    }
}
