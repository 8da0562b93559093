//! What an HTTP/2 peer sends, frame by frame, as it's read: whether it is paid for, and whether what began also ends.
//!
//! `h2` takes any number of PING, SETTINGS, PRIORITY, WINDOW_UPDATE and unknown frames, answers what has to be answered and
//! says nothing of them; each costs the peer a few bytes and us work. So frames are counted here, where their bytes pass,
//! against a credit that answers, messages and time renew. Only the nine bytes of each frame's head are looked at: payloads
//! are skipped unseen, so that a large frame costs no more than a small one.
//!
//! `h2` accepts promises after the peer's GOAWAY, and does not report it. So GOAWAY is noticed here, too (RFC 9113
//! §6.8).
//!
//! Deliberately knows neither streams nor field blocks' contents: what is wrong with those, `h2` says.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::defaults::{
    HTTP2_COSTLY_FRAME, HTTP2_FRAME_CREDIT, HTTP2_FRAMES_PER_ANSWER, HTTP2_FRAMES_PER_SECOND,
    HTTP2_SMALL_DATA_BYTES, HTTP2_TURN_BYTES,
};
use crate::metrics::Cut;

/// The preface before the first frame (RFC 9113 §3.4), in bytes.
const PREFACE_BYTES: u32 = 24;

/// The head of a frame (RFC 9113 §4.1), in bytes.
const HEAD_BYTES: usize = 9;

/// What a peer may still send before it has to be answered, and whether it has to go. Shared by the stream, which counts
/// frames, and the connection's task, which answers requests.
#[derive(Clone)]
pub(super) struct FrameWatch(Arc<Shared>);

struct Shared {
    credit: AtomicU32,
    /// Bytes that came in this turn.
    turn: AtomicU32,
    cut: OnceLock<Cut>,
    /// The peer has sent GOAWAY.
    goes_away: AtomicBool,
    /// Whether the input has ended, and whether everything before the end was handled.
    is_over: AtomicBool,
    is_read: AtomicBool,
}

impl FrameWatch {
    /// Of a connection that begins.
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            credit: AtomicU32::new(HTTP2_FRAME_CREDIT),
            turn: AtomicU32::new(0),
            cut: OnceLock::new(),
            goes_away: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            // Before turns begin, there are no requests to lose.
            is_read: AtomicBool::new(true),
        }))
    }

    /// Whether the peer has sent GOAWAY: no stream may be opened towards it any more (RFC 9113 §6.8).
    pub(super) fn goes_away(&self) -> bool {
        self.0.goes_away.load(Ordering::Relaxed)
    }

    /// Why the peer has to go, if it has to: nothing more is read of it then.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.0.cut.get().copied()
    }

    /// From now on requests are taken in turns.
    pub(super) fn serve(&self) {
        self.0.is_read.store(false, Ordering::Relaxed);
    }

    /// The connection's task has given way to others.
    pub(super) fn next_turn(&self) {
        self.0.turn.store(0, Ordering::Relaxed);
        if self.0.is_over.load(Ordering::Relaxed) {
            self.0.is_read.store(true, Ordering::Relaxed);
        }
    }

    /// So many requests were answered, or messages brought.
    pub(super) fn renew_credit(&self, times: u32) {
        self.add(times.saturating_mul(HTTP2_FRAMES_PER_ANSWER));
    }

    fn add(&self, frames: u32) {
        let added = |credit: u32| Some(credit.saturating_add(frames).min(HTTP2_FRAME_CREDIT));
        let _ = self
            .0
            .credit
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
    }

    /// False if there is less than that.
    fn spend(&self, frames: u32) -> bool {
        let spent = |credit: u32| credit.checked_sub(frames);
        let credit = &self.0.credit;
        credit
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent)
            .is_ok()
    }
}

/// Counts the frames of one connection.
pub(super) struct Frames {
    watch: FrameWatch,
    /// Up to when time has been credited.
    credited: Instant,
    /// How long a frame, or a field block in several frames, may take.
    within: Duration,
    head: [u8; HEAD_BYTES],
    /// How much of `head` has come.
    has: usize,
    /// What is still to come of the payload, or of the preface.
    rest: u32,
    /// A field block goes on in the next frame (RFC 9113 §6.10).
    goes_on: bool,
    /// Runs while the rest is waited for. Most frames come whole and need no timer.
    due: Option<Pin<Box<Sleep>>>,
}

impl Frames {
    /// Of a connection whose preface is still to be read. What begins has to be whole `within` this time: the first frame
    /// begins with the connection.
    pub(super) fn new(watch: FrameWatch, within: Duration) -> Self {
        Self {
            watch,
            credited: Instant::now(),
            within,
            head: [0; HEAD_BYTES],
            has: 0,
            rest: PREFACE_BYTES,
            goes_on: true,
            due: None,
        }
    }

    /// Whether nothing more is to be read of the peer.
    pub(super) fn is_over(&self) -> bool {
        self.watch.cut().is_some()
    }

    /// Whether enough was read until others have had their turn.
    pub(super) fn is_turn_over(&self) -> bool {
        self.watch.0.turn.load(Ordering::Relaxed) >= HTTP2_TURN_BYTES
    }

    /// The input has ended. Returns whether `h2` may be told: it then drops the requests that were not yet taken from
    /// it, and a complete request has to be served (PR-18). So it is told in the next turn.
    pub(super) fn may_end(&self) -> bool {
        self.watch.0.is_over.store(true, Ordering::Relaxed);
        self.watch.0.is_read.load(Ordering::Relaxed)
    }

    /// These bytes came.
    pub(super) fn came(&mut self, mut bytes: &[u8]) {
        self.watch.0.turn.fetch_add(bytes.len() as u32, Ordering::Relaxed);
        while !bytes.is_empty() {
            let skipped = bytes.len().min(self.rest as usize);
            self.rest -= skipped as u32;
            bytes = &bytes[skipped..];
            let taken = bytes.len().min(HEAD_BYTES - self.has);
            self.head[self.has..self.has + taken].copy_from_slice(&bytes[..taken]);
            self.has += taken;
            bytes = &bytes[taken..];
            if self.has == HEAD_BYTES {
                self.has = 0;
                self.frame(Frame::of(self.head));
            }
        }
        if self.is_between() {
            self.due = None;
        }
    }

    /// Nothing comes: while that is in the middle of a frame or a field block, the time runs.
    pub(super) fn look_at_time(&mut self, cx: &mut Context<'_>) {
        if self.is_between() {
            return;
        }
        let within = self.within;
        let due = self.due.get_or_insert_with(|| Box::pin(sleep(within)));
        if due.as_mut().poll(cx).is_ready() {
            self.cut(Cut::Slow);
        }
    }

    fn cut(&self, why: Cut) {
        // The first reason counts.
        let _ = self.watch.0.cut.set(why);
    }

    fn is_between(&self) -> bool {
        self.rest == 0 && self.has == 0 && !self.goes_on
    }

    fn frame(&mut self, frame: Frame) {
        self.rest = frame.length;
        self.goes_on = frame.leaves_block_open();
        if frame.kind == Frame::GOAWAY {
            self.watch.0.goes_away.store(true, Ordering::Relaxed);
        }
        let cost = frame.cost();
        if !self.watch.spend(cost) {
            self.credit_time();
            if !self.watch.spend(cost) {
                self.cut(Cut::Excess);
            }
        }
    }

    /// Only when credit is short: most connections never look at the clock.
    fn credit_time(&mut self) {
        let now = Instant::now();
        let frames = (now - self.credited).as_secs_f64() * f64::from(HTTP2_FRAMES_PER_SECOND);
        if frames >= 1.0 {
            self.watch.add(frames as u32);
            self.credited = now;
        }
    }
}

/// The head of a frame.
#[derive(Clone, Copy)]
struct Frame {
    length: u32,
    kind: u8,
    flags: u8,
}

impl Frame {
    const DATA: u8 = 0x0;
    const HEADERS: u8 = 0x1;
    const SETTINGS: u8 = 0x4;
    const GOAWAY: u8 = 0x7;
    const CONTINUATION: u8 = 0x9;
    const END_STREAM: u8 = 0x1;
    const ACK: u8 = 0x1;
    const END_HEADERS: u8 = 0x4;

    fn of(head: [u8; HEAD_BYTES]) -> Self {
        let [high, middle, low, kind, flags, ..] = head;
        Self {
            length: u32::from_be_bytes([0, high, middle, low]),
            kind,
            flags,
        }
    }

    fn leaves_block_open(&self) -> bool {
        matches!(self.kind, Self::HEADERS | Self::CONTINUATION) && self.flags & Self::END_HEADERS == 0
    }

    fn cost(&self) -> u32 {
        match self.kind {
            // Content pays for itself: flow control and the longest body bound it.
            Self::DATA if self.length >= HTTP2_SMALL_DATA_BYTES || self.flags & Self::END_STREAM != 0 => 0,
            // These are applied to every stream of the connection.
            Self::SETTINGS if self.flags & Self::ACK == 0 => HTTP2_COSTLY_FRAME,
            Self::GOAWAY => HTTP2_COSTLY_FRAME,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Frames {
        let mut frames = Frames::new(FrameWatch::new(), Duration::from_secs(10));
        frames.came(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frames
    }

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut bytes = (payload as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags, 0, 0, 0, 1]);
        bytes.resize(9 + payload, 0xff);
        bytes
    }

    fn left(frames: &Frames) -> u32 {
        frames.watch.0.credit.load(Ordering::Relaxed)
    }

    /// RFC 9113 §4.1: frames are told apart by their heads, however their bytes are cut into reads.
    #[tokio::test]
    async fn frames_are_found_in_any_pieces() {
        let stream = [
            frame(Frame::SETTINGS, 0, 6),
            frame(Frame::HEADERS, Frame::END_HEADERS, 300),
            frame(Frame::DATA, 0, 4_096),
            frame(Frame::DATA, Frame::END_STREAM, 0),
            frame(Frame::DATA, 0, 1),
            frame(0x6, 0, 8),
            frame(0xfa, 0, 0),
        ]
        .concat();
        for size in [1, 2, 8, 9, 10, 313, stream.len()] {
            let mut frames = frames();
            for piece in stream.chunks(size) {
                frames.came(piece);
            }
            assert!(frames.is_between(), "in pieces of {size}");
            assert_eq!(left(&frames), HTTP2_FRAME_CREDIT - HTTP2_COSTLY_FRAME - 4);
        }
    }

    /// RFC 9113 §6.8: GOAWAY is noticed by its frame header, and no other frame is taken for it.
    #[tokio::test]
    async fn goaway_is_noticed() {
        let mut frames = frames();
        frames.came(&frame(Frame::DATA, 0, 300));
        frames.came(&frame(0x6, 0, 8));
        frames.came(&frame(Frame::GOAWAY, 0, 8)[..8]);
        assert!(!frames.watch.goes_away());
        frames.came(&frame(Frame::GOAWAY, 0, 8)[8..]);
        assert!(frames.watch.goes_away());
    }

    /// A field block is open until a frame ends it, a frame until its last byte, and the first one from the start
    /// (RFC 9113 §3.4, §6.10).
    #[tokio::test]
    async fn what_began_is_not_between() {
        let mut frames = Frames::new(FrameWatch::new(), Duration::from_secs(10));
        frames.came(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert!(!frames.is_between(), "SETTINGS have to follow");
        frames.came(&frame(Frame::SETTINGS, 0, 0));
        assert!(frames.is_between());
        for (bytes, is_between) in [
            (frame(Frame::HEADERS, 0, 5), false),
            (frame(Frame::CONTINUATION, 0, 5), false),
            (frame(Frame::CONTINUATION, Frame::END_HEADERS, 5), true),
            (frame(0x6, 0, 8)[..16].to_vec(), false),
            (vec![0], true),
            (vec![0], false),
        ] {
            frames.came(&bytes);
            assert_eq!(frames.is_between(), is_between);
        }
    }

    /// PR-16: who sends frames and lets nothing be answered is cut off at the bound; answers and time renew the credit, to
    /// the bound and no further.
    #[tokio::test(start_paused = true)]
    async fn frames_are_paid_for() {
        let mut frames = frames();
        let ping = frame(0x6, 0, 8);
        let mut sent = 0;
        while frames.watch.cut().is_none() {
            frames.came(&ping);
            sent += 1;
        }
        assert_eq!(
            (sent, frames.watch.cut()),
            (HTTP2_FRAME_CREDIT + 1, Some(Cut::Excess))
        );

        let mut frames = self::frames();
        assert!(frames.watch.spend(HTTP2_FRAME_CREDIT));
        frames.watch.renew_credit(1);
        for _ in 0..HTTP2_FRAMES_PER_ANSWER {
            frames.came(&ping);
        }
        assert_eq!(frames.watch.cut(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..HTTP2_FRAMES_PER_SECOND {
            frames.came(&ping);
        }
        assert_eq!(frames.watch.cut(), None);
        frames.watch.renew_credit(u32::MAX);
        assert_eq!(left(&frames), HTTP2_FRAME_CREDIT);
    }
}
