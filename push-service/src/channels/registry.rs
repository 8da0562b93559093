//! Which channels this process has, and which user agent each belongs to.
//!
//! Guarantees: a user agent has at most one channel here; a channel is found by its user agent from the moment it claimed it
//! until it left; no channel waits for another channel's work. It does not know what a channel speaks, or storage.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use push_protocol::session::{Moment, WakeUp};
use push_protocol::{MessageNumber, UserAgentId};
use slab::Slab;
use tokio::sync::Notify;

use super::handle::{Handle, Mark};
use crate::metrics::Compared;
use crate::random;
use crate::storage::by_user_agent::ByUserAgent;
use crate::storage::{Refreshed, Seat};

/// Locks by which the registry is divided. Chosen: more than any machine has cores that accept at once; a power of two.
pub(crate) const SHARDS: usize = 64;

/// The channels of this process.
pub struct Registry {
    incarnation: u64,
    /// Every channel, from its upgrade to its end: for deadlines and drain.
    channels: Box<[Mutex<Slab<Arc<Handle>>>]>,
    /// The newest channel of each user agent.
    seats: Box<[Mutex<Seats>]>,
    next_shard: AtomicUsize,
    count: AtomicUsize,
    empty: Notify,
}

type Seats = ByUserAgent<Arc<Handle>>;

/// A session that holds a seat, as it was when it was looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seated {
    pub(crate) user_agent: UserAgentId,
    pub(crate) seat: Seat,
    cursor: MessageNumber,
}

/// A channel's entry in the registry. Its owner returns it with [`Registry::remove`]: an entry does not keep the registry, because
/// its owner does.
pub(super) struct Entry {
    handle: Arc<Handle>,
    shard: u16,
    key: u32,
    user_agent: Option<UserAgentId>,
}

impl Registry {
    /// An empty registry of a process that draws its incarnation now.
    pub fn new() -> Arc<Self> {
        let sharded = |_| Mutex::default();
        Arc::new(Self {
            incarnation: random::u64(),
            channels: (0..SHARDS).map(|_| Mutex::default()).collect(),
            seats: (0..SHARDS).map(sharded).collect(),
            next_shard: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            empty: Notify::new(),
        })
    }

    /// How many channels there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Resolves when the last channel is gone.
    pub async fn emptied(&self) {
        loop {
            let notified = self.empty.notified();
            if self.count() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Enters a new channel.
    pub(super) fn enter(&self) -> Entry {
        let handle = Arc::new(Handle::new(Seat {
            incarnation: self.incarnation,
            session: random::u64(),
        }));
        let shard = self.next_shard.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let key = lock(&self.channels[shard]).insert(Arc::clone(&handle));
        self.count.fetch_add(1, Ordering::Relaxed);
        Entry {
            handle,
            shard: shard as u16,
            key: key as u32,
            user_agent: None,
        }
    }

    /// The channel belongs to this user agent from now on. An older channel of the same user agent is told that it is displaced.
    pub(super) fn claim(&self, entry: &mut Entry, user_agent: UserAgentId) {
        self.leave_seat(entry);
        entry.user_agent = Some(user_agent);
        let older = self
            .seats(user_agent)
            .insert(user_agent, Arc::clone(&entry.handle));
        if let Some(older) = older {
            older.mark(Mark::Displaced);
        }
    }

    /// The channel is gone. Called once for each entry.
    pub(super) fn remove(&self, entry: &mut Entry) {
        self.leave_seat(entry);
        let mut channels = lock(&self.channels[usize::from(entry.shard)]);
        channels.remove(entry.key as usize);
        if channels.is_empty() {
            *channels = Slab::new();
        }
        drop(channels);
        if self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.empty.notify_waiters();
        }
    }

    fn leave_seat(&self, entry: &mut Entry) {
        let Some(user_agent) = entry.user_agent.take() else {
            return;
        };
        let mut seats = self.seats(user_agent);
        if seats
            .get(&user_agent)
            .is_some_and(|handle| Arc::ptr_eq(handle, &entry.handle))
        {
            seats.remove(&user_agent);
            give_back(&mut seats);
        }
    }

    /// Tells every channel whose deadline has come.
    pub(super) fn tick(&self, now: Moment) {
        self.each(|handle| handle.tick(now));
    }

    /// Sets this mark for every channel.
    pub(super) fn mark_all(&self, mark: Mark) {
        self.each(|handle| handle.mark(mark));
    }

    /// Whether the channel of this seat is the newest of its user agent here.
    pub(super) fn is_newest(&self, user_agent: UserAgentId, seat: Seat) -> bool {
        self.seats(user_agent)
            .get(&user_agent)
            .is_some_and(|handle| handle.seat() == seat)
    }

    /// A channel that held the seat, or was taking it, has given it up: a newer channel of the same user agent looks again,
    /// and takes it. Two channels may attach in another order than they were opened (PR-10).
    pub(super) fn seat_given_up(&self, user_agent: UserAgentId, by: Seat) {
        let newest = self.seats(user_agent).get(&user_agent).cloned();
        if let Some(newest) = newest.filter(|handle| handle.seat() != by) {
            newest.mark(Mark::ReadAgain);
        }
    }

    /// The sessions of one shard that hold seats.
    pub(crate) fn seated(&self, shard: usize, mut which: impl FnMut(UserAgentId) -> bool) -> Vec<Seated> {
        let seats = lock(&self.seats[shard]);
        let wanted = seats.iter().filter(|(user_agent, _)| which(**user_agent));
        let seated = wanted.filter_map(|(user_agent, handle)| {
            Some(Seated {
                user_agent: *user_agent,
                seat: handle.seat(),
                cursor: handle.cursor()?,
            })
        });
        seated.collect()
    }

    /// Tells a session what storage says about it, if the session cannot know it (PR-14).
    ///
    /// A session that storage does not know is told nothing. Its seat keeps its record alive, so the record was lost, for example
    /// by a failover, and an operator may bring it back. If the channel were closed, its user agent would connect again, be told
    /// "unknown", and drop all its subscriptions (PR-3). It is told at its next hello, if the record is still missing then.
    pub(crate) fn compared(&self, session: &Seated, refreshed: Refreshed) -> Compared {
        let (user_agent, seat) = (session.user_agent, session.seat);
        let handle = self.seats(user_agent).get(&user_agent).cloned();
        let Some((handle, cursor)) = handle
            .filter(|handle| handle.seat() == seat)
            .and_then(|handle| handle.cursor().map(|cursor| (handle, cursor)))
        else {
            return Compared::Gone;
        };
        match refreshed {
            // The session may have come farther since storage was asked.
            Refreshed::Held { last } if session.cursor <= last && last <= cursor => Compared::Level,
            Refreshed::Held { last } => {
                handle.tell(WakeUp::Last(last));
                Compared::Behind
            }
            Refreshed::Displaced => {
                handle.mark(Mark::Displaced);
                Compared::Displaced
            }
            Refreshed::Unknown => Compared::Unknown,
            Refreshed::Trouble => Compared::Trouble,
        }
    }

    /// Every channel's handle, as of now.
    pub(super) fn all(&self) -> Vec<Arc<Handle>> {
        let mut all = Vec::with_capacity(self.count());
        self.each(|handle| all.push(Arc::clone(handle)));
        all
    }

    fn each(&self, mut tell: impl FnMut(&Arc<Handle>)) {
        for shard in &self.channels {
            for (_, handle) in lock(shard).iter() {
                tell(handle);
            }
        }
    }

    /// The half of this node's seats that all of them share.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Hands a wake-up to the channel that holds `seat`, if this node has it.
    pub fn announce(&self, user_agent: UserAgentId, seat: Seat, wake_up: WakeUp) {
        let handle = self.seats(user_agent).get(&user_agent).cloned();
        if let Some(handle) = handle.filter(|handle| handle.seat() == seat) {
            handle.tell(wake_up);
        }
    }

    fn seats(&self, user_agent: UserAgentId) -> MutexGuard<'_, Seats> {
        lock(&self.seats[usize::from(user_agent.0[15]) % SHARDS])
    }
}

impl Entry {
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The handle, for a step that outlives this poll.
    pub(super) fn share_handle(&self) -> Arc<Handle> {
        Arc::clone(&self.handle)
    }
}

/// Gives memory back that a storm of connections took.
fn give_back(seats: &mut Seats) {
    if seats.capacity() > 64 && seats.len() < seats.capacity() / 8 {
        seats.shrink_to(seats.len() * 2);
    }
}

fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held; if something did, the other channels of the shard would go on.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER_AGENT: UserAgentId = UserAgentId([7; 16]);

    fn removed() -> WakeUp {
        WakeUp::Removed(Vec::new())
    }

    /// PR-10, WS-HEL-11: the newest channel of a user agent has its seat, and the older one is told.
    #[test]
    fn the_newest_channel_has_the_seat() {
        let registry = Registry::new();
        let (mut old, mut new) = (registry.enter(), registry.enter());
        registry.claim(&mut old, USER_AGENT);
        registry.claim(&mut new, USER_AGENT);
        assert!(old.handle().take_marks().has(Mark::Displaced));
        registry.announce(USER_AGENT, old.handle().seat(), removed());
        registry.announce(USER_AGENT, new.handle().seat(), removed());
        assert_eq!(
            (
                old.handle().take_wake_ups().len(),
                new.handle().take_wake_ups().len()
            ),
            (0, 1)
        );
        registry.remove(&mut old);
        registry.announce(USER_AGENT, new.handle().seat(), removed());
        assert_eq!(
            new.handle().take_wake_ups().len(),
            1,
            "the end of the older channel takes nothing from the newer one"
        );
    }

    /// `emptied` resolves when the last channel ends, and the registry keeps nothing of the channel.
    #[tokio::test]
    async fn the_last_channel_to_leave_is_noticed() {
        let registry = Registry::new();
        registry.emptied().await;
        let mut entry = registry.enter();
        registry.claim(&mut entry, USER_AGENT);
        assert_eq!(registry.count(), 1);
        let emptied = registry.emptied();
        registry.remove(&mut entry);
        emptied.await;
        assert!(registry.all().is_empty() && registry.seats(USER_AGENT).is_empty());
    }
}
