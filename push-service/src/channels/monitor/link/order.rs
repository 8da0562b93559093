//! The order of promises on a connection.
//!
//! `h2` writes what it holds of several requests in turns. So it would send promises out of the order of their stream ids, which
//! ends the connection (RFC 9113 §5.1.1). **Invariant:** `h2` holds promises of one request at a time.

#[derive(Default)]
pub(super) struct PromiseOrder {
    /// The request that promises now.
    request: u64,
    /// Promises that may be made and that `h2` does not have yet.
    reserved: usize,
    /// Promises that `h2` has had, the same when the connection was polled last, and how many of them have reached the socket.
    promised: u64,
    polled: u64,
    written: u64,
    /// Another request waits until all of them have.
    is_awaited: bool,
}

impl PromiseOrder {
    /// Reserves a promise on this request, if those of other requests are written.
    pub(super) fn begin_promise(&mut self, request: u64) -> bool {
        let is_clear = self.reserved == 0 && self.written == self.promised;
        if self.request != request && !is_clear {
            self.is_awaited = true;
            return false;
        }
        self.request = request;
        self.reserved += 1;
        true
    }

    /// `h2` has a promise that was reserved.
    pub(super) fn promised(&mut self) {
        self.reserved -= 1;
        self.promised += 1;
    }

    /// A promise that was reserved is not made.
    pub(super) fn not_promised(&mut self) {
        self.reserved -= 1;
    }

    /// `h2` is polled: what it has by now is written, or held back.
    pub(super) fn begin_poll(&mut self) {
        self.polled = self.promised;
    }

    /// Everything that `h2` had before the poll has reached the socket. Returns whether a request waits for that.
    pub(super) fn written(&mut self) -> bool {
        self.written = self.polled;
        std::mem::take(&mut self.is_awaited)
    }
}
