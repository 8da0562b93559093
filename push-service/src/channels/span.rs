//! The tracing span of a channel: its kind and an id, inside the span of its connection.

use crate::metrics::{ChannelKind, Label as _};
use crate::storage::Seat;
use crate::tasks::Owner;

/// What each line of the log says about the channel that wrote it. The id is the one of the channel's seat: it opens nothing, so
/// it is no secret.
pub(super) fn owner(kind: ChannelKind, seat: Seat) -> Owner {
    let kind = kind.as_str();
    Owner::new(tracing::debug_span!("channel", kind, id = %format_args!("{:016x}", seat.session)))
}
