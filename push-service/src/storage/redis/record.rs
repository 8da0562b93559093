//! The record of a user agent, as Rust reads it: for reports, exports and tests. Scripts alone write it.

use push_protocol::{SubscriptionId, SubscriptionName};

use super::layout::{MetaFields, NamedFields, Share, UNUSED, letter};
use super::packed::{Packed as _, U48};
use crate::storage::reports::LastSeen;
use crate::storage::spelling::{Fields, Unreadable};
use crate::storage::{RECEIPTS, Retention, Seat, SubscriptionReport, UserAgentReport};

/// [`MetaFields`], as far as Rust reads them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Meta {
    pub(super) format: u8,
    pub(super) last: u64,
    pub(super) seat: Option<Seat>,
    pub(super) retained_until_ms: u64,
    pub(super) messages: u32,
    pub(super) bytes: u64,
    /// Not later than the earliest expiry of what waits; 0: nothing waits.
    pub(super) earliest_ms: u64,
    /// Whether the record is unused ([`Retention`](crate::storage::Retention)).
    pub(super) unused: bool,
}

impl Meta {
    pub(super) fn read(value: &[u8]) -> Result<Self, Unreadable> {
        let mut fields = Fields(value);
        let meta = MetaFields::read(&mut fields)?;
        Ok(Self {
            format: meta.format,
            last: meta.last,
            seat: meta.seat,
            retained_until_ms: meta.retained_until_ms.0,
            messages: meta.messages,
            bytes: meta.bytes.0,
            earliest_ms: meta.earliest_ms.0,
            unused: fields.0.first() == Some(&UNUSED),
        })
    }
}

impl Meta {
    /// What tells when the user agent was there.
    pub(super) fn last_seen(&self, receipts: bool) -> LastSeen {
        LastSeen {
            retained_until_ms: self.retained_until_ms,
            unused: self.unused,
            seated: self.seat.is_some(),
            receipts,
        }
    }
}

/// A subscription, from its two fields.
pub(super) struct Subscription {
    pub(super) id: SubscriptionId,
    pub(super) name: SubscriptionName,
    pub(super) created_at_secs: u32,
    pub(super) key: Option<[u8; 32]>,
    pub(super) messages: u32,
    pub(super) bytes: u64,
}

/// A whole record.
pub(super) struct Record {
    pub(super) meta: Meta,
    pub(super) subscriptions: Vec<Subscription>,
}

impl Record {
    /// From what the report script answers.
    pub(super) fn read(pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<Self, Unreadable> {
        let value = |field: &[u8]| {
            pairs
                .iter()
                .find(|(f, _)| f == field)
                .map(|(_, value)| &value[..])
        };
        let meta = Meta::read(value(b"m").ok_or(Unreadable)?)?;
        let mut subscriptions = Vec::with_capacity(pairs.len() / 2);
        for (field, named) in pairs.iter().filter(|(field, _)| field.first() == Some(&b'n')) {
            let mut fields = Fields(named);
            let NamedFields { id, created_at_secs } = NamedFields::read(&mut fields)?;
            let key = if fields.0.is_empty() {
                None
            } else {
                Some(fields.array()?)
            };
            let share = value(&[&[letter::SHARE][..], &id.0].concat());
            let share = share.map_or(
                Ok(Share {
                    messages: 0,
                    bytes: U48(0),
                }),
                |share| Share::read(&mut Fields(share)),
            )?;
            subscriptions.push(Subscription {
                id,
                name: SubscriptionName::read(&mut Fields(&field[1..]))?,
                created_at_secs,
                key,
                messages: share.messages,
                bytes: share.bytes.0,
            });
        }
        subscriptions.sort_by_key(|subscription| subscription.id);
        Ok(Self { meta, subscriptions })
    }

    pub(super) fn report(&self, retention: Retention, now_ms: u64) -> UserAgentReport {
        let receipts = self.subscriptions.iter().any(|s| s.id == RECEIPTS);
        let subscription = |s: &Subscription| SubscriptionReport {
            id: s.id.to_string(),
            name: s.name.to_string(),
            restricted: s.key.is_some(),
            messages: s.messages,
            bytes: s.bytes,
            created_at: s.created_at_secs.into(),
        };
        UserAgentReport {
            messages: self.subscriptions.iter().map(|s| s.messages).sum(),
            bytes: self.subscriptions.iter().map(|s| s.bytes).sum(),
            last_number: self.meta.last,
            seated: self.meta.seat.is_some(),
            unused: self.meta.unused,
            retained_for_secs: self.meta.retained_until_ms.saturating_sub(now_ms) / 1_000,
            last_seen: self.meta.last_seen(receipts).ms(retention, now_ms) / 1_000,
            subscriptions: self.subscriptions.iter().map(subscription).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::redis::layout::ORDERED;

    /// A record that was cut off anywhere is refused, never a panic. One byte behind it says whether it is unused.
    #[test]
    fn a_record_cut_short_is_unreadable() {
        let meta = [1; MetaFields::BYTES];
        assert!(!Meta::read(&meta).unwrap().unused);
        assert!(Meta::read(&[&meta[..], &[UNUSED]].concat()).unwrap().unused);
        assert!(!Meta::read(&[&meta[..], &[ORDERED]].concat()).unwrap().unused);
        for end in 0..meta.len() {
            assert!(Meta::read(&meta[..end]).is_err(), "{end}");
        }
    }
}
