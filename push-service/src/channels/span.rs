//! The tracing span of a channel: its kind and an id, so that each line of the log tells whose it is.

use tracing::Span;

use crate::storage::Seat;

/// The span of one channel, inside the span of its connection. Boxed and absent if the log does not show it: an idle channel
/// pays 8 bytes for it.
#[derive(Default)]
pub(super) struct ChannelSpan(Option<Box<Span>>);

impl ChannelSpan {
    /// The id is the one of the channel's seat. It opens nothing, so it is no secret.
    pub(super) fn new(kind: &'static str, seat: Seat) -> Self {
        let span = tracing::debug_span!("channel", kind, id = %format_args!("{:016x}", seat.session));
        Self((!span.is_disabled()).then(|| Box::new(span)))
    }

    /// Runs `work` inside the span.
    pub(super) fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(span) => span.in_scope(work),
            None => work(),
        }
    }
}
