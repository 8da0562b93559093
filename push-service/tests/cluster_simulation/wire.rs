//! A connection between a user agent and a node: bytes arrive in order and late, and the connection may break.
//!
//! A channel uses the node's end, and everything that the node reads and writes passes its [`Tap`]. The device calls
//! the user agent's end directly.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::tap::Tap;
use crate::world::World;

/// How many bytes a node may write to a user agent that reads nothing. Chosen: a few push messages.
const ROOM: usize = 2_000;

/// A connection.
pub(crate) struct Wire {
    world: Arc<World>,
    state: Mutex<WireState>,
    /// Wakes the user agent's end.
    device: Notify,
}

struct WireState {
    toward_node: Pipe,
    toward_device: Pipe,
    stalled: bool,
    /// The last moment at which the user agent read nothing, in milliseconds of the world.
    stalled_at: Option<u64>,
    /// Wakes the node's end, which waits for bytes or for room.
    node: Option<Waker>,
}

/// One direction.
struct Pipe {
    pieces: VecDeque<(Instant, Vec<u8>)>,
    /// When the last piece arrives: the next one comes no earlier.
    last: Instant,
    /// When the reader learns of the end.
    end: Option<Instant>,
    /// Whether the writer has ended.
    closed: bool,
}

impl Pipe {
    fn new() -> Self {
        Self {
            pieces: VecDeque::new(),
            last: Instant::now(),
            end: None,
            closed: false,
        }
    }

    /// The next moment at which the reader has something to read.
    fn due(&self) -> Option<Instant> {
        self.pieces.front().map(|(due, _)| *due).or(self.end)
    }

    fn put(&mut self, bytes: &[u8], delay: Duration) {
        if !self.closed {
            self.last = self.last.max(Instant::now() + delay);
            self.pieces.push_back((self.last, bytes.to_vec()));
        }
    }

    /// Ends this direction; bytes on their way still arrive.
    fn close(&mut self, learns_after: Option<Duration>) {
        self.closed = true;
        if let (Some(after), None) = (learns_after, self.end) {
            self.end = Some(self.last.max(Instant::now() + after));
        }
    }

    fn waits(&self) -> usize {
        self.pieces.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

impl Wire {
    /// Both ends of a connection, the node's with its tap.
    pub(crate) fn open(world: &Arc<World>, tap: Tap) -> (Arc<Self>, NodeEnd) {
        let wire = Arc::new(Self {
            world: Arc::clone(world),
            state: Mutex::new(WireState {
                toward_node: Pipe::new(),
                toward_device: Pipe::new(),
                stalled: false,
                stalled_at: None,
                node: None,
            }),
            device: Notify::new(),
        });
        world.keep_wire(&wire);
        let node = NodeEnd {
            wire: Arc::clone(&wire),
            tap,
            sleep: None,
        };
        (wire, node)
    }

    /// The user agent writes bytes.
    pub(crate) fn say(&self, bytes: &[u8]) {
        let delay = self.world.wire_delay();
        let mut state = self.lock();
        state.toward_node.put(bytes, delay);
        state.wake_node();
    }

    /// The next bytes for the user agent, or the end.
    pub(crate) async fn hear(&self) -> Option<Vec<u8>> {
        loop {
            let due = {
                let mut state = self.lock();
                let pipe = &mut state.toward_device;
                let due = pipe.due();
                if due.is_some_and(|due| due <= Instant::now()) && !state.stalled {
                    let heard = state.toward_device.pieces.pop_front();
                    state.wake_node();
                    return heard.map(|(_, bytes)| bytes);
                }
                due.filter(|_| !state.stalled)
            };
            match due {
                Some(due) => tokio::select! {
                    biased;
                    () = sleep_until(due) => {}
                    () = self.device.notified() => {}
                },
                None => self.device.notified().await,
            }
        }
    }

    /// The user agent ends its direction.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        state.toward_node.close(Some(Duration::ZERO));
        state.wake_node();
    }

    /// The user agent disappears without a close.
    pub(crate) fn abandon(&self) {
        let learns = self.world.learns_after();
        let mut state = self.lock();
        state.toward_node.close(learns);
        state.wake_node();
    }

    /// The connection breaks. Bytes on their way arrive or don't; each end learns of it at once, late or never.
    pub(crate) fn cut(&self) {
        let draws = [0, 1].map(|_| {
            let lost = self.world.chance().one_in(2);
            (lost, self.world.learns_after())
        });
        let mut state = self.lock();
        let state = &mut *state;
        for (pipe, (lost, learns)) in [&mut state.toward_node, &mut state.toward_device]
            .into_iter()
            .zip(draws)
        {
            if lost {
                pipe.pieces.clear();
            }
            pipe.close(learns);
        }
        state.wake_node();
        self.device.notify_one();
    }

    pub(crate) fn stall(&self, stalled: bool) {
        let mut state = self.lock();
        state.stalled = stalled;
        state.stalled_at = Some(self.world.time_ms());
        state.wake_node();
        self.device.notify_one();
    }

    /// The troubles are over: both ends learn of a broken connection.
    pub(crate) fn heal(&self) {
        let mut state = self.lock();
        let state = &mut *state;
        state.stalled = false;
        for pipe in [&mut state.toward_node, &mut state.toward_device] {
            if pipe.closed {
                pipe.end = Some(pipe.last.max(Instant::now()));
            }
        }
        state.wake_node();
        self.device.notify_one();
    }

    /// Whether the node may have kept bytes because the user agent read nothing, not long ago.
    pub(crate) fn was_stalled(&self, within_ms: u64) -> bool {
        let state = self.lock();
        state.stalled
            || state
                .stalled_at
                .is_some_and(|at| at + within_ms > self.world.time_ms())
    }

    fn lock(&self) -> MutexGuard<'_, WireState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WireState {
    fn wake_node(&mut self) {
        if let Some(waker) = self.node.take() {
            waker.wake();
        }
    }
}

/// The node's end, which a channel reads and writes.
pub(crate) struct NodeEnd {
    wire: Arc<Wire>,
    tap: Tap,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl NodeEnd {
    /// Wakes the channel when there is something to read, or when the user agent's end says so.
    fn wait(&mut self, due: Option<Instant>, cx: &mut Context<'_>) {
        self.wire.lock().node = Some(cx.waker().clone());
        if let Some(due) = due {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
            sleep.as_mut().reset(due);
            if sleep.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
    }
}

impl AsyncRead for NodeEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (due, read) = {
            let mut state = self.wire.lock();
            let pipe = &mut state.toward_node;
            let due = pipe.due();
            if due.is_none_or(|due| due > Instant::now()) {
                (due, None)
            } else {
                (due, Some(pipe.pieces.pop_front()))
            }
        };
        match read {
            None => {
                self.wait(due, cx);
                Poll::Pending
            }
            Some(None) => Poll::Ready(Ok(())),
            Some(Some((due, mut bytes))) => {
                let rest = bytes.split_off(bytes.len().min(into.remaining()));
                into.put_slice(&bytes);
                if !rest.is_empty() {
                    self.wire.lock().toward_node.pieces.push_front((due, rest));
                }
                self.tap.heard(&bytes);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for NodeEnd {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let delay = self.wire.world.wire_delay();
        let is_full = {
            let state = self.wire.lock();
            state.stalled && state.toward_device.waits() > ROOM
        };
        if is_full {
            self.wait(None, cx);
            return Poll::Pending;
        }
        self.wire.lock().toward_device.put(from, delay);
        let is_late = self.wire.was_stalled(30_000);
        self.tap.told(from, is_late);
        self.wire.device.notify_one();
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.lock().toward_device.close(Some(Duration::ZERO));
        self.wire.device.notify_one();
        Poll::Ready(Ok(()))
    }
}

impl Drop for NodeEnd {
    fn drop(&mut self) {
        let learns = self.wire.world.learns_after();
        let mut state = self.wire.lock();
        state.toward_device.close(learns);
        // Bytes of the user agent are dropped.
        state.toward_node.close(None);
        drop(state);
        self.wire.device.notify_one();
    }
}
