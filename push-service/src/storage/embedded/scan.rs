//! Reads the store from one end to the other, page by page, for an export (PR-37).

use std::ops::Bound;

use push_protocol::{MessageNumber, UserAgentId};

use super::layout::{self, Read};
use super::store::{Store, read_error, unreadable};
use crate::storage::StorageError;
use crate::storage::clock::Now;
use crate::storage::portable::{Exported, Packing, Place, Portable};
use crate::storage::queue::UserAgent;

/// A page on its way.
struct Scan {
    packing: Packing,
    now: Now,
    /// Whose messages are coming by, unless they stay behind with their record.
    whose: Option<UserAgent>,
    /// Its record, if this page does not have it yet.
    unpacked: Option<Portable>,
}

impl Store {
    /// Whether there is no record.
    pub(super) fn is_empty(&self) -> Result<bool, StorageError> {
        let first = self.keys.range(queue_from(None)).next();
        Ok(first
            .map(|entry| entry.key().map_err(read_error))
            .transpose()?
            .is_none())
    }

    /// What comes after a place, up to about so many bytes.
    pub(super) fn export(
        &self,
        after: Option<Place>,
        bytes: usize,
        now: Now,
    ) -> Result<Exported, StorageError> {
        let mut scan = Scan {
            packing: Packing::new(bytes),
            now,
            whose: None,
            unpacked: None,
        };
        let mut place = after;
        if let Some(place) = after {
            scan.resume(self, place.user_agent)?;
        }
        for entry in self.keys.range(queue_from(after)) {
            if scan.packing.is_full() {
                return Ok(scan.packing.finish(place));
            }
            let (key, value) = entry.into_inner().map_err(read_error)?;
            let (user_agent, number) = layout::queue_of(&key).map_err(unreadable)?;
            if number == MessageNumber::START {
                scan.enter(user_agent, layout::decode_record(&value).map_err(unreadable)?);
            } else {
                scan.pass(Read::decode(number, &value).map_err(unreadable)?);
            }
            place = Some(Place {
                user_agent,
                upto: number,
            });
        }
        Ok(scan.packing.finish(None))
    }
}

impl Scan {
    /// Goes on within a user agent, whose record an earlier page had.
    fn resume(&mut self, store: &Store, user_agent: UserAgentId) -> Result<(), StorageError> {
        let record_key = layout::queue_key(user_agent, MessageNumber::START);
        let record = store.keys.get(record_key).map_err(read_error)?;
        if let Some(record) = record {
            let state = layout::decode_record(&record).map_err(unreadable)?;
            self.unpacked = state.portable(user_agent);
            self.whose = Some(state).filter(|state| state.is_known(self.now));
        }
        Ok(())
    }

    fn enter(&mut self, user_agent: UserAgentId, state: UserAgent) {
        self.whose = None;
        match state.portable(user_agent) {
            Some(record) if state.is_known(self.now) => {
                self.packing.begin(record);
                self.unpacked = None;
                self.whose = Some(state);
            }
            Some(_) => self.packing.leave_abandoned(),
            // Nothing of it could be used elsewhere.
            None => {}
        }
    }

    fn pass(&mut self, read: Read) {
        let message = read.portable();
        let is_waiting = |state: &UserAgent| state.subscription(message.subscription).is_some();
        if !self.whose.as_ref().is_some_and(is_waiting) {
            // It has outlived its subscription or its user agent.
            return;
        }
        if message.expires_at_ms <= self.now.ms() {
            self.packing.leave_expired();
            return;
        }
        if let Some(record) = self.unpacked.take() {
            self.packing.begin(record);
        }
        self.packing.add(message);
    }
}

/// The records and messages after a place.
fn queue_from(after: Option<Place>) -> (Bound<[u8; 25]>, Bound<[u8; 25]>) {
    let first = layout::queue_key(UserAgentId([0; 16]), MessageNumber::START);
    let last = layout::queue_key(UserAgentId([u8::MAX; 16]), MessageNumber(u64::MAX));
    let from = after.map_or(Bound::Included(first), |place| {
        Bound::Excluded(layout::queue_key(place.user_agent, place.upto))
    });
    (from, Bound::Included(last))
}
