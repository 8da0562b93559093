//! Buffers that belong to a thread, lent to one channel for one poll.

use std::cell::Cell;

use push_protocol::session::Action;

use crate::defaults::{READ_BUFFER_BYTES, SCRATCH_KEEP_BYTES};

/// What a poll works with.
#[derive(Default)]
pub(super) struct Scratch {
    /// To read into.
    pub(super) read: Vec<u8>,
    /// To write from.
    pub(super) out: Vec<u8>,
    /// What the session decided.
    pub(super) actions: Vec<Action>,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

impl Scratch {
    /// The thread's buffers, or new ones if they are lent out. `out` and `actions` are empty.
    pub(super) fn borrow() -> Box<Self> {
        SCRATCH.take().unwrap_or_else(|| {
            Box::new(Self {
                read: vec![0; READ_BUFFER_BYTES],
                ..Self::default()
            })
        })
    }

    /// Gives them back. What grew beyond its usual size is given back to the allocator.
    pub(super) fn give_back(mut self: Box<Self>) {
        self.out.clear();
        self.out.shrink_to(SCRATCH_KEEP_BYTES);
        self.actions.clear();
        SCRATCH.set(Some(self));
    }
}
