//! Reads the store from one end to the other, page by page, for an export (PR-37).

use std::ops::Bound;

use push_protocol::{MessageNumber, ReceiptOutcome, UserAgentId};

use super::layout::{self, Value};
use super::store::{Store, read_error, unreadable};
use crate::storage::clock::Now;
use crate::storage::portable::{Exported, Packing, Place};
use crate::storage::queue::{Leaving, UserAgent};
use crate::storage::{RECEIPTS, StorageError};

/// A page on its way.
struct Scan {
    packing: Packing,
    now: Now,
    /// Whose values are coming by.
    whose: Option<Whose>,
}

struct Whose {
    user_agent: UserAgentId,
    state: UserAgent,
    leaving: Leaving,
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
                let value = Value::decode(number, &value).map_err(unreadable)?;
                scan.pass(self, number, value)?;
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
            self.whose = Some(Whose::new(user_agent, state, self.now));
        }
        Ok(())
    }

    fn enter(&mut self, user_agent: UserAgentId, state: UserAgent) {
        let mut whose = Whose::new(user_agent, state, self.now);
        whose.leaving.enter(&mut self.packing);
        self.whose = Some(whose);
    }

    fn pass(&mut self, store: &Store, number: MessageNumber, value: Value) -> Result<(), StorageError> {
        let Some(Whose {
            user_agent,
            state,
            leaving,
        }) = &mut self.whose
        else {
            // A value without a record: it has outlived its user agent.
            return Ok(());
        };
        let packing = &mut self.packing;
        match value {
            Value::Message(read) => {
                let Some(read) = store.with_body(*user_agent, number, read)? else {
                    // It was removed after its header was read.
                    return Ok(());
                };
                let message = read.portable();
                // Or it has outlived its subscription.
                let is_waiting = state.subscription(message.subscription).is_some();
                leaving.message(Some(message).filter(|_| is_waiting), packing, self.now);
            }
            Value::Ended(ended) => leaving.outcome(ended.of(*user_agent), packing),
            Value::Passing(passing) => {
                leaving.outcome(passing.ended(ReceiptOutcome::GivenUp).of(*user_agent), packing);
            }
            Value::Expectation(expected) if state.subscription(RECEIPTS).is_some() => {
                leaving.expectation(&expected, packing);
            }
            Value::Expectation(_) => {}
        }
        Ok(())
    }
}

impl Whose {
    fn new(user_agent: UserAgentId, state: UserAgent, now: Now) -> Self {
        let leaving = Leaving::new(state.portable(user_agent), state.is_known(now));
        Self {
            user_agent,
            state,
            leaving,
        }
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
