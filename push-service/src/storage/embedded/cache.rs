//! The cache: the states of user agents that had a step lately, as the decision core needs them.
//!
//! While the cache is above its bound, every load and every committed change evicts user agents: one that grows in the cache
//! evicts others, just as a new one does.
//!
//! A user agent that is not here is *cold*: its state is what the store holds, plus the seat that a session of this
//! process may have taken. The first step that needs it starts a load; steps that come meanwhile wait for the same load.
//!
//! **Invariant:** a user agent is evicted only when all its changes are committed, so that the store has its state.
//! **Invariant:** seats are never evicted: a seated user agent that becomes cold keeps its seat and last number in `resting`,
//! in about 50 bytes.
//!
//! Rate buckets are evicted. A bucket that was not used for as long as its user agent stays in the cache is full again, or
//! nearly.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use push_protocol::{MessageNumber, UserAgentId};
use tokio::sync::oneshot;

use super::store;
use super::writer::StepWrites;
use crate::defaults::{USER_AGENT_CACHE_BYTES, USER_AGENT_CACHE_LOOKS, USER_AGENT_CACHE_SHARDS};
use crate::storage::by_user_agent::ByUserAgent;
use crate::storage::queue::{IndexEntry, Subscription, UserAgent};
use crate::storage::{Seat, StorageError};

type Loaded = Result<(), StorageError>;

pub(super) struct Cache {
    shards: Box<[Mutex<Shard>]>,
    shard_bytes: usize,
}

/// A part of the user agents, under one lock.
#[derive(Default)]
pub(super) struct Shard {
    slots: ByUserAgent<Slot>,
    resting: ByUserAgent<Resting>,
    /// The cached user agents, in the order in which they are considered for eviction.
    ring: VecDeque<UserAgentId>,
    bytes: usize,
}

enum Slot {
    Loading(Vec<oneshot::Sender<Loaded>>),
    Ready(Box<CachedAgent>),
}

/// A cached user agent.
pub(super) struct CachedAgent {
    pub(super) state: UserAgent,
    /// Requests that the writer has not committed yet.
    pub(super) uncommitted: u32,
    /// Whether a body of one of its messages may be stored separately on disk.
    pub(super) has_separate_bodies: bool,
    touched: bool,
    bytes: usize,
}

/// What a cold user agent keeps in memory.
struct Resting {
    seat: Seat,
    last: MessageNumber,
}

/// What the cache has of a user agent.
pub(super) enum CacheLookup {
    Cached,
    /// A load is under way: wait.
    Loading(oneshot::Receiver<Loaded>),
    /// Not in the cache: load it, call [`Cache::fill`], and wait.
    Cold(oneshot::Receiver<Loaded>),
}

impl Cache {
    pub(super) fn new() -> Self {
        Self::bounded(USER_AGENT_CACHE_BYTES)
    }

    pub(super) fn bounded(bytes: usize) -> Self {
        let shards = (0..USER_AGENT_CACHE_SHARDS).map(|_| Mutex::default());
        Self {
            shards: shards.collect(),
            shard_bytes: bytes / USER_AGENT_CACHE_SHARDS,
        }
    }

    /// Locks the part in which a user agent is. Never held across an await or a read of the disk.
    pub(super) fn shard(&self, user_agent: UserAgentId) -> MutexGuard<'_, Shard> {
        // Ids are digests, so any byte spreads them evenly.
        let shard = &self.shards[usize::from(user_agent.0[0]) % self.shards.len()];
        // A step that panicked is a bug; it is not made worse by refusing every other user agent of the shard.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn look_up(&self, user_agent: UserAgentId) -> CacheLookup {
        let (loaded, wait) = oneshot::channel();
        match self.shard(user_agent).slots.entry(user_agent) {
            Entry::Occupied(mut slot) => match slot.get_mut() {
                Slot::Ready(_) => CacheLookup::Cached,
                Slot::Loading(waiters) => {
                    waiters.push(loaded);
                    CacheLookup::Loading(wait)
                }
            },
            Entry::Vacant(slot) => {
                slot.insert(Slot::Loading(vec![loaded]));
                CacheLookup::Cold(wait)
            }
        }
    }

    /// Ends a load, with success or not, and wakes all steps that wait for it.
    pub(super) fn fill(&self, user_agent: UserAgentId, loaded: Result<store::Loaded, StorageError>) {
        let mut shard = self.shard(user_agent);
        let Some(Slot::Loading(waiters)) = shard.slots.remove(&user_agent) else {
            return;
        };
        let answer = loaded.map(|loaded| {
            // In this order, so that the user agent that a step waits for is not evicted again.
            shard.shrink_to(self.shard_bytes);
            shard.admit(user_agent, loaded);
        });
        drop(shard);
        for waiter in waiters {
            // A step that was dropped needs no answer.
            let _ = waiter.send(answer.clone());
        }
    }

    /// Takes note of a committed request: bodies can be read from the store now.
    pub(super) fn committed(&self, request: &StepWrites) {
        let mut shard = self.shard(request.user_agent);
        let Some(cell) = shard.cell(request.user_agent) else {
            return;
        };
        cell.uncommitted -= 1;
        let receipts = request.receipts.iter().flat_map(|receipts| &receipts.joined);
        for stored in request.stored.iter().chain(receipts) {
            if let Some(waiting) = cell.state.waiting.get_mut(stored.message.id.number) {
                waiting.message = None;
            }
        }
        shard.shrink_to(self.shard_bytes);
    }
}

impl Shard {
    /// The user agent, if it is in the cache.
    pub(super) fn touch(&mut self, user_agent: UserAgentId) -> Option<&mut CachedAgent> {
        let cell = self.cell(user_agent)?;
        cell.touched = true;
        Some(cell)
    }

    fn cell(&mut self, user_agent: UserAgentId) -> Option<&mut CachedAgent> {
        match self.slots.get_mut(&user_agent) {
            Some(Slot::Ready(cell)) => Some(cell),
            _ => None,
        }
    }

    /// Whether a session holds the seat. Does not count as a use.
    pub(super) fn is_seated(&self, user_agent: UserAgentId) -> bool {
        match self.slots.get(&user_agent) {
            Some(Slot::Ready(cell)) => cell.state.seat.is_some(),
            _ => self.resting.contains_key(&user_agent),
        }
    }

    /// Counts the memory of a user agent again, after a step.
    pub(super) fn weigh(&mut self, user_agent: UserAgentId) {
        let Some(cell) = self.cell(user_agent) else {
            return;
        };
        let before = std::mem::replace(&mut cell.bytes, bytes_of(&cell.state));
        let after = cell.bytes;
        self.bytes = self.bytes + after - before;
    }

    /// Removes a user agent without any state, so that requests for unknown user agents do not evict known ones.
    pub(super) fn forget_if_blank(&mut self, user_agent: UserAgentId) {
        let is_blank = |cell: &mut CachedAgent| cell.uncommitted == 0 && cell.state.is_blank();
        if !self.cell(user_agent).is_some_and(is_blank) {
            return;
        }
        if let Some(Slot::Ready(cell)) = self.slots.remove(&user_agent) {
            self.bytes -= cell.bytes;
        }
        // Usually it was the last one added. If not, its entry in the ring is removed when its turn comes, or here.
        if self.ring.back() == Some(&user_agent) {
            self.ring.pop_back();
        } else if self.ring.len() > 2 * self.slots.len() + USER_AGENT_CACHE_LOOKS {
            self.ring.retain(|at_hand| self.slots.contains_key(at_hand));
        }
    }

    fn admit(&mut self, user_agent: UserAgentId, loaded: store::Loaded) {
        let store::Loaded {
            mut state,
            has_separate_bodies,
        } = loaded;
        if let Some(resting) = self.resting.remove(&user_agent) {
            state.seat = Some(resting.seat);
            state.last = state.last.max(resting.last);
        }
        let bytes = bytes_of(&state);
        let cell = CachedAgent {
            state,
            uncommitted: 0,
            has_separate_bodies,
            touched: true,
            bytes,
        };
        self.bytes += bytes;
        self.slots.insert(user_agent, Slot::Ready(Box::new(cell)));
        self.ring.push_back(user_agent);
    }

    /// Evicts the least recently used, of those that were not used since they were last considered.
    fn shrink_to(&mut self, bytes: usize) {
        for _ in 0..USER_AGENT_CACHE_LOOKS {
            if self.bytes <= bytes {
                return;
            }
            let Some(user_agent) = self.ring.pop_front() else {
                return;
            };
            if !self.evict(user_agent) {
                self.ring.push_back(user_agent);
            }
        }
    }

    fn evict(&mut self, user_agent: UserAgentId) -> bool {
        let Some(cell) = self.cell(user_agent) else {
            return true;
        };
        let was_touched = std::mem::take(&mut cell.touched);
        if was_touched || cell.uncommitted > 0 {
            return false;
        }
        let (bytes, last) = (cell.bytes, cell.state.last);
        if let Some(seat) = cell.state.seat {
            self.resting.insert(user_agent, Resting { seat, last });
        }
        self.bytes -= bytes;
        self.slots.remove(&user_agent);
        true
    }
}

/// About how much memory a cached user agent takes, in bytes.
fn bytes_of(state: &UserAgent) -> usize {
    let entry = size_of::<(UserAgentId, Slot, UserAgentId)>() + size_of::<CachedAgent>();
    let subscriptions = state.subscriptions.len() * size_of::<Subscription>();
    let waiting = state.waiting.len() * size_of::<IndexEntry>();
    let ended = state.to_free.len() * size_of::<MessageNumber>();
    let order = state.order.as_ref().map_or(0, |order| order.bytes());
    entry + subscriptions + waiting + order + ended + state.receipt_state.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(n: u16) -> UserAgentId {
        let mut id = [0; 16];
        id[1..3].copy_from_slice(&n.to_be_bytes());
        UserAgentId(id)
    }

    fn seated(n: u16) -> UserAgent {
        UserAgent {
            last: MessageNumber(u64::from(n)),
            seat: Some(Seat {
                incarnation: 1,
                session: u64::from(n),
            }),
            ..UserAgent::default()
        }
    }

    fn load(cache: &Cache, n: u16, state: UserAgent) {
        assert!(!matches!(cache.look_up(agent(n)), CacheLookup::Cached));
        let loaded = store::Loaded {
            state,
            has_separate_bodies: false,
        };
        cache.fill(agent(n), Ok(loaded));
    }

    /// A change of this user agent was committed.
    fn commit(cache: &Cache, n: u16) {
        cache.shard(agent(n)).touch(agent(n)).unwrap().uncommitted += 1;
        cache.committed(&StepWrites::nothing(agent(n)));
    }

    /// PR-44: user agents that grow in the cache make others leave, even if no user agent is loaded any more.
    #[test]
    fn what_grows_at_hand_shrinks_the_cache() {
        let cache = Cache::bounded(64 << 10 << 4);
        for n in 0..40 {
            load(&cache, n, UserAgent::default());
        }
        let expires_at_ms = u64::MAX;
        for n in 0..40 {
            let mut shard = cache.shard(agent(n));
            let state = &mut shard.touch(agent(n)).unwrap().state;
            for number in 1..100 {
                let id = push_protocol::MessageId {
                    number: MessageNumber(number),
                    nonce: 0,
                };
                state.waiting.insert(IndexEntry {
                    id,
                    subscription: push_protocol::SubscriptionId([0; 8]),
                    expires_at_ms,
                    topic: None,
                    message: None,
                    body_bytes: 0,
                    urgency: push_protocol::Urgency::Normal,
                    sealed_by: 0,
                    sender: None,
                });
            }
            shard.weigh(agent(n));
        }
        let bytes = || cache.shard(agent(0)).bytes;
        assert!(bytes() > cache.shard_bytes);
        for _ in 0..20 {
            commit(&cache, 39);
        }
        assert!(bytes() <= cache.shard_bytes, "{} bytes at hand", bytes());
        assert!(cache.shard(agent(39)).cell(agent(39)).is_some());
    }

    /// PR-10: a seat outlives its user agent's stay in the cache, with the number of the last message.
    #[test]
    fn a_seat_outlives_the_cache() {
        let cache = Cache::bounded(0);
        for n in 0..100 {
            load(&cache, n, seated(n));
        }
        let at_hand = cache.shard(agent(0)).slots.len();
        assert!(at_hand <= USER_AGENT_CACHE_LOOKS + 1, "{at_hand} are at hand");
        load(&cache, 1, UserAgent::default());
        let mut shard = cache.shard(agent(1));
        let state = &shard.cell(agent(1)).unwrap().state;
        assert_eq!((state.seat, state.last), (seated(1).seat, MessageNumber(1)));
    }

    /// Unknown user agents leave nothing behind: neither an entry nor a slot in the ring, however many come and in whatever order
    /// they go.
    #[test]
    fn strangers_leave_nothing_behind() {
        let cache = Cache::bounded(1 << 20);
        for n in 0..1_000 {
            load(&cache, n, UserAgent::default());
        }
        for n in (0..1_000).rev().chain(0..1_000) {
            cache.shard(agent(n)).forget_if_blank(agent(n));
        }
        load(&cache, 1, seated(1));
        cache.shard(agent(1)).forget_if_blank(agent(1));
        let shard = cache.shard(agent(1));
        assert_eq!(
            (shard.slots.len(), shard.ring.len()),
            (1, 1),
            "only who holds a seat is known"
        );
    }

    /// A user agent with changes under way stays, however full the cache is.
    #[test]
    fn a_user_agent_with_changes_under_way_stays() {
        let cache = Cache::bounded(0);
        load(&cache, 0, UserAgent::default());
        cache.shard(agent(0)).cell(agent(0)).unwrap().uncommitted = 1;
        for n in 1..100 {
            load(&cache, n, UserAgent::default());
        }
        assert!(cache.shard(agent(0)).cell(agent(0)).is_some());
    }

    /// An idle seated user agent with one subscription costs little at hand and next to nothing when it is cold.
    #[test]
    fn an_idle_user_agent_is_small() {
        assert!(size_of::<CachedAgent>() <= 176, "{}", size_of::<CachedAgent>());
        assert!(size_of::<Subscription>() <= 96, "{}", size_of::<Subscription>());
        assert!(size_of::<(UserAgentId, Resting)>() <= 40);
    }
}
