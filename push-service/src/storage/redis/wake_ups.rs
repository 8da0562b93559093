//! What nodes tell each other through Redis: wake-ups, published from inside the steps that cause them (PR-13).
//!
//! Each is a hint. One that can't be read comes from a newer node, and says only that there is something to read.

use std::sync::Arc;

use push_protocol::capability::KeyId;
use push_protocol::{MessageId, MessageNumber, SubscriptionId, SubscriptionName, Urgency, UserAgentId};

use super::answers::{Row, ids, spelled};
use super::layout::six_of;
use super::links::{Bucket, Hear};
use crate::storage::spelling::{Fields, Unreadable};
use crate::storage::{Announce, Seat, WakeUp};

/// The version of the wake-ups that this node reads.
const VERSION: u8 = 1;

/// Hears for this node.
pub(super) struct Ear {
    pub(super) announce: Arc<dyn Announce>,
    pub(super) incarnation: u64,
}

impl Hear for Ear {
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
            VERSION => wake_up(kind, &mut fields).unwrap_or(WakeUp::ReadAgain),
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
    let head = [VERSION, b'A'];
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

fn wake_up(kind: u8, fields: &mut Fields<'_>) -> Result<WakeUp, Unreadable> {
    Ok(match kind {
        b'S' => {
            let (number, previous) = (MessageNumber(fields.number()?), MessageNumber(fields.number()?));
            let nonce = fields.number()?;
            let (subscription, name) = (SubscriptionId(fields.array()?), SubscriptionName(fields.array()?));
            let urgency = Urgency::from_u8(fields.byte()?).ok_or(Unreadable)?;
            let row = Row {
                id: MessageId { number, nonce },
                subscription,
                name,
                urgency,
                remaining_ms: six_of(fields.array()?),
                sealed_by: KeyId(fields.byte()?),
            };
            let message = Arc::new(row.message(fields.0.to_vec())?);
            WakeUp::Stored { message, previous }
        }
        b'P' => {
            let nonce = fields.number()?;
            let (subscription, name) = (SubscriptionId(fields.array()?), SubscriptionName(fields.array()?));
            let (urgency, sealed_by) = (fields.byte()?, KeyId(fields.byte()?));
            let number = MessageNumber(fields.byte()?.into());
            let row = Row {
                id: MessageId { number, nonce },
                subscription,
                name,
                urgency: Urgency::from_u8(urgency).ok_or(Unreadable)?,
                remaining_ms: 0,
                sealed_by,
            };
            WakeUp::Passing(Arc::new(row.message(fields.0.to_vec())?))
        }
        b'R' => WakeUp::Removed(ids(fields.0)?),
        b'D' => WakeUp::Displaced,
        b'E' if fields.0.is_empty() => WakeUp::Ended(None),
        b'E' => WakeUp::Ended(Some(SubscriptionId(fields.array()?))),
        b'A' => WakeUp::ReadAgain,
        _ => return Err(Unreadable),
    })
}
