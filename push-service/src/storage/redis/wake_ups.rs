//! What nodes tell each other through Redis: wake-ups, published from inside the steps that cause them (PR-13).
//!
//! Each is a hint. One that cannot be read comes from a newer node; it counts as "read again".

use std::sync::Arc;

use push_protocol::{MessageNumber, SubscriptionId, UserAgentId};

use super::answers::{ids, spelled};
use super::bucket::Bucket;
use super::layout::{PageRow, WAKE_UP_VERSION, WakeUpPassing, WakeUpStored, wake_up};
use super::links::ChannelHandler;
use super::packed::{Packed as _, U48};
use crate::storage::spelling::{Fields, Unreadable};
use crate::storage::{Announce, Seat, WakeUp};

/// Hands on the wake-ups for this node.
pub(super) struct WakeUpHandler {
    pub(super) announce: Arc<dyn Announce>,
    pub(super) incarnation: u64,
}

impl ChannelHandler for WakeUpHandler {
    fn message(&self, _: Bucket, payload: &[u8]) {
        let mut fields = Fields(payload);
        let Ok((version, kind, user_agent, session)) = address(&mut fields) else {
            tracing::debug!("a wake-up from Redis names no session");
            return;
        };
        let seat = Seat {
            incarnation: self.incarnation,
            session,
        };
        let wake_up = match version {
            WAKE_UP_VERSION => read(kind, &mut fields).unwrap_or(WakeUp::ReadAgain),
            _ => WakeUp::ReadAgain,
        };
        self.announce.announce(user_agent, seat, wake_up);
    }

    fn gap(&self, buckets: &[Bucket]) {
        let numbers: Vec<u16> = buckets.iter().map(|bucket| bucket.index() as u16).collect();
        self.announce.gap(&numbers);
    }
}

/// As scripts say it: there is something to read.
pub(super) fn read_again(user_agent: UserAgentId, session: u64) -> Vec<u8> {
    let head = [WAKE_UP_VERSION, wake_up::READ_AGAIN];
    [
        &head[..],
        user_agent.to_string().as_bytes(),
        &session.to_be_bytes(),
    ]
    .concat()
}

fn address(fields: &mut Fields<'_>) -> Result<(u8, u8, UserAgentId, u64), Unreadable> {
    let (version, kind) = (fields.byte()?, fields.byte()?);
    let user_agent = spelled(&fields.array::<32>()?)?;
    Ok((version, kind, user_agent, fields.number()?))
}

fn read(kind: u8, fields: &mut Fields<'_>) -> Result<WakeUp, Unreadable> {
    Ok(match kind {
        wake_up::STORED => {
            let stored = WakeUpStored::read(fields)?;
            let row = PageRow {
                number: stored.number,
                nonce: stored.nonce,
                subscription: stored.subscription,
                name: stored.name,
                urgency: stored.urgency,
                remaining_ms: stored.remaining_ms,
                body_bytes: 0,
                sealed_by: stored.sealed_by,
            };
            let (message, previous) = (row.message(fields.0.to_vec())?, stored.previous);
            let message = Arc::new(message);
            WakeUp::Stored { message, previous }
        }
        wake_up::PASSING => {
            let passing = WakeUpPassing::read(fields)?;
            let row = PageRow {
                number: MessageNumber(passing.number.into()),
                nonce: passing.nonce,
                subscription: passing.subscription,
                name: passing.name,
                urgency: passing.urgency,
                remaining_ms: U48(0),
                body_bytes: 0,
                sealed_by: passing.sealed_by,
            };
            WakeUp::Passing(Arc::new(row.message(fields.0.to_vec())?))
        }
        wake_up::REMOVED => WakeUp::Removed(ids(fields.0)?),
        wake_up::DISPLACED => WakeUp::Displaced,
        wake_up::ENDED if fields.0.is_empty() => WakeUp::Ended(None),
        wake_up::ENDED => WakeUp::Ended(Some(SubscriptionId(fields.array()?))),
        wake_up::READ_AGAIN => WakeUp::ReadAgain,
        _ => return Err(Unreadable),
    })
}
