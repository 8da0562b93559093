//! The driver under a third kind of channel, which exists only here: it passes messages in memory.
//!
//! What is proven here holds for every kind. What bytes do is proven beside each kind.

use std::collections::VecDeque;
use std::future::{Future, ready};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use push_protocol::capability::PushCapability;
use push_protocol::session::{Action, CloseReason, Moment, Wanted};
use push_protocol::{MessageId, PushMessage, Urgency, UserAgentId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::PollSender;

use super::{ChannelCommand, Driver};
use crate::channels::rig::{ATTACHING, Rig};
use crate::channels::shared::Shared;
use crate::defaults::{ANSWER_WITHIN, CHANNEL_TICK, PENDING_ACKNOWLEDGEMENTS, STORAGE_RETRY_AFTER};
use crate::metrics::ChannelKind;

/// A channel in memory. The peer says which messages it acknowledges, and leaves by saying nothing more.
struct MemoryChannel {
    driver: Driver,
    actions: Vec<Action>,
    said: mpsc::Receiver<Vec<MessageId>>,
    peer: PollSender<Arc<PushMessage>>,
    unsent: VecDeque<Arc<PushMessage>>,
    closed: Option<oneshot::Sender<CloseReason>>,
    leave: Option<BoxFuture<'static, ()>>,
}

impl Future for MemoryChannel {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let channel = self.get_mut();
        channel.driver.begin_poll(cx.waker());
        let polled = channel.run(cx);
        if polled.is_pending() {
            channel.driver.end_poll(channel.driver.next_due());
        }
        polled
    }
}

impl MemoryChannel {
    fn run(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.driver.shared.now();
        loop {
            if let Some(leave) = &mut self.leave {
                return leave.as_mut().poll(cx);
            }
            let mut busy = self.driver.take_marks(false, now, &mut self.actions);
            busy |= self.driver.take_wake_ups(now, &mut self.actions, |_| {});
            busy |= self.driver.take_steps(cx, now, &mut self.actions);
            busy |= self.perform(now);
            busy |= self.read(cx, now);
            busy |= self.driver.start_steps();
            busy |= self.write(cx, now);
            if !busy {
                return Poll::Pending;
            }
        }
    }

    fn read(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        if !self.driver.has_room_for_acknowledgements() || self.driver.session.is_closed() {
            return false;
        }
        match self.said.poll_recv(cx) {
            Poll::Pending => return false,
            Poll::Ready(None) => self.end(),
            Poll::Ready(Some(messages)) => {
                self.driver.session.heard(now);
                self.driver.session.acknowledge(messages, now, &mut self.actions);
                self.perform(now);
            }
        }
        true
    }

    fn perform(&mut self, now: Moment) -> bool {
        let actions = std::mem::take(&mut self.actions);
        let busy = !actions.is_empty();
        for action in actions {
            match self.driver.perform(action) {
                Some(ChannelCommand::Offer(message)) => self.unsent.push_back(message),
                Some(ChannelCommand::Ping) => self.driver.session.heard(now),
                Some(ChannelCommand::Close(reason)) => {
                    self.closed.take().map(|closed| closed.send(reason));
                    self.end();
                }
                Some(ChannelCommand::Welcome(_) | ChannelCommand::Ended(_)) | None => {}
            }
        }
        busy
    }

    fn write(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let mut busy = false;
        while !self.unsent.is_empty() && self.peer.poll_reserve(cx).is_ready() {
            let message = self.unsent.pop_front().unwrap();
            busy = true;
            if self.peer.send_item(message).is_err() {
                break;
            }
        }
        let unsent = self.unsent.iter().map(|message| message.content.body.len());
        self.driver.keep_share(unsent.sum());
        let is_writable = self.unsent.is_empty();
        self.driver
            .session
            .set_writable(is_writable, now, &mut self.actions);
        busy || !self.actions.is_empty()
    }

    fn end(&mut self) {
        self.driver.end();
        self.leave = Some(self.driver.leave(ready(())));
    }
}

/// The user agent at the other end.
struct Peer {
    say: mpsc::Sender<Vec<MessageId>>,
    messages: mpsc::Receiver<Arc<PushMessage>>,
    closed: oneshot::Receiver<CloseReason>,
}

impl Peer {
    fn connect(shared: Arc<Shared>, user_agent: UserAgentId) -> Self {
        let (say, said) = mpsc::channel(1);
        let (peer, messages) = mpsc::channel(4);
        let (tell, closed) = oneshot::channel();
        let mut actions = Vec::new();
        let wanted = Wanted::Everything(Urgency::VeryLow);
        tokio::spawn(MemoryChannel {
            driver: Driver::of_user_agent(
                shared,
                ChannelKind::Events,
                user_agent,
                wanted,
                false,
                &mut actions,
            ),
            actions,
            said,
            peer: PollSender::new(peer),
            unsent: VecDeque::new(),
            closed: Some(tell),
            leave: None,
        });
        Self {
            say,
            messages,
            closed,
        }
    }

    async fn receive(&mut self) -> Arc<PushMessage> {
        let received = timeout(Duration::from_secs(30), self.messages.recv()).await;
        received.expect("a message comes").expect("the channel lives")
    }

    async fn acknowledge(&self, message: MessageId) {
        self.say.send(vec![message]).await.unwrap();
    }

    async fn closed(self) -> CloseReason {
        timeout(Duration::from_secs(30), self.closed)
            .await
            .expect("it is closed")
            .expect("it says why")
    }
}

/// A user agent with one subscription, which is not connected.
async fn subscribed(rig: &Rig) -> PushCapability {
    let mut agent = rig.connect();
    agent.hello(None).await;
    let subscription = agent.register(1).await;
    agent.close().await;
    rig.emptied().await;
    subscription
}

/// PR-4, PR-10, PR-18: a kind of channel that supplies only how it sends, when it can send and how it closes attaches, reads
/// all pages, acknowledges, and gives its seat up.
#[tokio::test(start_paused = true)]
async fn a_third_kind_of_channel() {
    let rig = Rig::new();
    let subscription = subscribed(&rig).await;
    let many = 3 * usize::from(crate::channels::rig::limits().in_flight);
    for _ in 0..many {
        rig.push(subscription, b"x").await;
    }
    let mut peer = Peer::connect(rig.shared(), subscription.user_agent);
    let mut numbers = Vec::new();
    for _ in 0..many {
        let message = peer.receive().await;
        numbers.push(message.id.number);
        peer.acknowledge(message.id).await;
    }
    assert!(numbers.is_sorted(), "in the order of acceptance");
    rig.until(|rig| rig.waiting() == 0).await;
    rig.push(subscription, b"a wake-up brings it").await;
    let message = peer.receive().await;
    assert!(rig.seated(subscription.user_agent).await);
    peer.acknowledge(message.id).await;
    drop(peer);
    rig.emptied().await;
    assert_eq!(rig.waiting(), 0, "the last acknowledgement counts");
    assert!(!rig.seated(subscription.user_agent).await);
}

/// PR-4, PR-18: while storage takes no acknowledgements, a channel keeps as many as the bound says and then takes no more; none is
/// lost.
#[tokio::test(start_paused = true)]
async fn pending_acknowledgements_are_bounded() {
    const AT_ONCE: usize = 100;
    let rig = Rig::new();
    let subscription = subscribed(&rig).await;
    rig.push(subscription, b"x").await;
    let mut peer = Peer::connect(rig.shared(), subscription.user_agent);
    let message = peer.receive().await;
    rig.storage.trouble(true);
    let mut taken = 0;
    let say = |messages| timeout(STORAGE_RETRY_AFTER * 10, peer.say.send(messages));
    while say(vec![message.id; AT_ONCE]).await.is_ok() {
        taken += AT_ONCE;
        assert!(taken <= PENDING_ACKNOWLEDGEMENTS + 2 * AT_ONCE, "{taken}");
    }
    assert!(taken >= PENDING_ACKNOWLEDGEMENTS, "{taken}");
    rig.storage.trouble(false);
    rig.until(|rig| rig.waiting() == 0).await;
}

/// PR-10: a newer channel of the same user agent displaces the older one, whatever kinds they are.
#[tokio::test(start_paused = true)]
async fn the_newer_channel_displaces() {
    let rig = Rig::new();
    let subscription = subscribed(&rig).await;
    let older = Peer::connect(rig.shared(), subscription.user_agent);
    rig.until(|rig| rig.storage.attaches() == 1).await;
    let mut newer = Peer::connect(rig.shared(), subscription.user_agent);
    assert_eq!(older.closed().await, CloseReason::Displaced);
    rig.push(subscription, b"x").await;
    newer.receive().await;
}

/// PR-36: a drained channel is closed with the reason, and gives its seat up.
#[tokio::test(start_paused = true)]
async fn a_drained_channel_leaves() {
    let rig = Rig::new();
    let subscription = subscribed(&rig).await;
    rig.push(subscription, b"x").await;
    let mut peer = Peer::connect(rig.shared(), subscription.user_agent);
    peer.receive().await;
    rig.drain(Duration::ZERO).await;
    assert_eq!(peer.closed().await, CloseReason::GoingAway);
    assert!(!rig.seated(subscription.user_agent).await);
    assert_eq!(rig.waiting(), 1, "it was not acknowledged");
}

/// PR-15, PR-16: a channel that ends while others have all turns to attach is gone at once, and storage is not asked for it.
#[tokio::test(start_paused = true)]
async fn a_channel_that_ends_waits_for_no_turn() {
    let rig = Rig::new();
    let subscription = subscribed(&rig).await;
    let before = rig.storage.attaches();
    rig.storage.takes(ANSWER_WITHIN / 2);
    let mut slow = Vec::new();
    for n in 0..ATTACHING {
        slow.push(Peer::connect(rig.shared(), UserAgentId([n as u8; 16])));
    }
    rig.until(|rig| rig.turns_to_attach() == 0).await;
    drop(Peer::connect(rig.shared(), subscription.user_agent));
    timeout(CHANNEL_TICK, rig.until(|rig| rig.channels() == ATTACHING))
        .await
        .expect("it is gone before there is a turn");
    assert_eq!(rig.storage.attaches() - before, ATTACHING);
}

/// PR-10, PR-18: a channel that ends while storage is asked for its seat gives up the seat that it gets.
#[tokio::test(start_paused = true)]
async fn a_channel_that_ends_while_it_attaches_leaves_no_seat() {
    let rig = Rig::new();
    let subscription = subscribed(&rig).await;
    let go = rig.storage.attach.next();
    let peer = Peer::connect(rig.shared(), subscription.user_agent);
    rig.until(|rig| rig.storage.attach.has_come()).await;
    drop(peer);
    tokio::time::sleep(CHANNEL_TICK).await;
    go.send(()).unwrap();
    rig.emptied().await;
    assert!(!rig.seated(subscription.user_agent).await);
}

/// PR-16: a channel whose peer takes nothing keeps its share of the node's delivery bytes, and gives it back when it ends.
#[tokio::test(start_paused = true)]
async fn a_share_is_kept_until_it_is_written() {
    let rig = Rig::new();
    let subscription = subscribed(&rig).await;
    for _ in 0..20 {
        rig.push(subscription, &[0; 2_000]).await;
    }
    let mut peer = Peer::connect(rig.shared(), subscription.user_agent);
    peer.receive().await;
    let all = rig.take_all_shares();
    assert!(timeout(CHANNEL_TICK, all).await.is_err(), "the channel has one");
    drop(peer);
    rig.emptied().await;
    let all = timeout(CHANNEL_TICK, rig.take_all_shares()).await;
    drop(all.expect("it is given back"));
}

/// Each line that a channel writes to the log tells its kind and its id.
#[tokio::test]
async fn a_line_of_the_log_tells_whose_it_is() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _subscriber = tracing::subscriber::set_default(subscriber);
    let rig = Rig::new();
    let agent = tracing::info_span!("connection", peer = "192.0.2.1").in_scope(|| rig.connect());
    agent.close().await;
    rig.emptied().await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = log
        .lines()
        .find(|line| line.contains("the channel ends"))
        .unwrap();
    assert!(
        line.contains("connection{peer=\"192.0.2.1\"}:channel{kind=\"websocket\" id="),
        "{line}"
    );
}
