//! Which channels this process has, and whose they are.
//!
//! Guarantees: a user agent has at most one channel here; a channel is found by its user agent from the moment it entered
//! until it left; nothing waits behind another channel's work. It doesn't know what a channel speaks, or storage.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use push_protocol::session::{Moment, WakeUp};
use push_protocol::{MessageNumber, UserAgentId};
use slab::Slab;
use tokio::sync::Notify;

use super::handle::{Handle, Mark};
use crate::metrics::Compared;
use crate::random;
use crate::storage::by_user_agent::ByUserAgent;
use crate::storage::{Announce, Refreshed, Seat};

/// Locks by which the registry is divided. Chosen: more than any machine has cores that accept at once; a power of two.
pub(crate) const SHARDS: usize = 64;

/// The channels of this process.
pub struct Registry {
    incarnation: u64,
    /// Every channel, from its upgrade to its end: for deadlines and drain.
    channels: Box<[Mutex<Slab<Arc<Handle>>>]>,
    /// Those that said hello, by whose they are.
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

/// A channel's place in the registry, held by its task.
pub(super) struct Place {
    registry: Arc<Registry>,
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

    /// A new channel.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let handle = Arc::new(Handle::new(Seat {
            incarnation: self.incarnation,
            session: random::u64(),
        }));
        let shard = self.next_shard.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let key = lock(&self.channels[shard]).insert(Arc::clone(&handle));
        self.count.fetch_add(1, Ordering::Relaxed);
        Place {
            registry: Arc::clone(self),
            handle,
            shard: shard as u16,
            key: key as u32,
            user_agent: None,
        }
    }

    /// Tells every channel whose deadline has come.
    pub(super) fn tick(&self, now: Moment) {
        self.each(|handle| handle.tick(now));
    }

    /// Tells every channel the same.
    pub(super) fn mark_all(&self, mark: Mark) {
        self.each(|handle| handle.mark(mark));
    }

    /// Whether this seat's channel is the newest of its user agent here.
    pub(super) fn is_newest(&self, user_agent: UserAgentId, seat: Seat) -> bool {
        self.seats(user_agent)
            .get(&user_agent)
            .is_some_and(|handle| handle.seat() == seat)
    }

    /// A channel that had taken or was taking the seat has given it up: a newer one of the same user agent looks again,
    /// and takes it. The order in which two channels attach needn't be the order in which they came (PR-10).
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

    /// Tells a session what storage has of it, if there is something that it can't know (PR-14).
    ///
    /// Nothing is told to one that storage doesn't know. Its seat keeps its record alive, so the record was lost: by a
    /// failover, say, and an operator may bring it back. If the channel were closed its user agent would ask, be told
    /// "unknown", and drop all its subscriptions (PR-3); it will be told at its next hello, if it's still so.
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
            // It may have come farther since storage was asked.
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

    fn seats(&self, user_agent: UserAgentId) -> MutexGuard<'_, Seats> {
        lock(&self.seats[usize::from(user_agent.0[15]) % SHARDS])
    }
}

impl Announce for Registry {
    fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn announce(&self, user_agent: UserAgentId, seat: Seat, wake_up: WakeUp) {
        let handle = self.seats(user_agent).get(&user_agent).cloned();
        if let Some(handle) = handle.filter(|handle| handle.seat() == seat) {
            handle.tell(wake_up);
        }
    }
}

impl Place {
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The channel is this user agent's from now on. An older one of the same user agent is told that it isn't.
    pub(super) fn claim(&mut self, user_agent: UserAgentId) {
        self.leave_seat();
        self.user_agent = Some(user_agent);
        let older = self
            .registry
            .seats(user_agent)
            .insert(user_agent, Arc::clone(&self.handle));
        if let Some(older) = older {
            older.mark(Mark::Displaced);
        }
    }

    fn leave_seat(&mut self) {
        let Some(user_agent) = self.user_agent.take() else {
            return;
        };
        let mut seats = self.registry.seats(user_agent);
        if seats
            .get(&user_agent)
            .is_some_and(|handle| Arc::ptr_eq(handle, &self.handle))
        {
            seats.remove(&user_agent);
            give_back(&mut seats);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave_seat();
        let mut channels = lock(&self.registry.channels[usize::from(self.shard)]);
        channels.remove(self.key as usize);
        if channels.is_empty() {
            *channels = Slab::new();
        }
        drop(channels);
        if self.registry.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.registry.empty.notify_waiters();
        }
    }
}

/// A storm of connections must not cost memory for ever.
fn give_back(seats: &mut Seats) {
    if seats.capacity() > 64 && seats.len() < seats.capacity() / 8 {
        seats.shrink_to(seats.len() * 2);
    }
}

fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().expect("nothing panics while it holds the registry")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOMEBODY: UserAgentId = UserAgentId([7; 16]);

    fn removed() -> WakeUp {
        WakeUp::Removed(Vec::new())
    }

    /// PR-10, WS-HEL-11: the newest channel of a user agent has its seat, and the older one is told.
    #[test]
    fn the_newest_channel_has_the_seat() {
        let registry = Registry::new();
        let (mut old, mut new) = (registry.enter(), registry.enter());
        old.claim(SOMEBODY);
        new.claim(SOMEBODY);
        assert!(old.handle().take_marks().has(Mark::Displaced));
        registry.announce(SOMEBODY, old.handle().seat(), removed());
        registry.announce(SOMEBODY, new.handle().seat(), removed());
        assert_eq!(
            (
                old.handle().take_wake_ups().len(),
                new.handle().take_wake_ups().len()
            ),
            (0, 1)
        );
        drop(old);
        registry.announce(SOMEBODY, new.handle().seat(), removed());
        assert_eq!(
            new.handle().take_wake_ups().len(),
            1,
            "the older one's end takes nothing from the newer"
        );
    }

    /// Whoever waits for the last channel's end learns of it, and nothing of it is left.
    #[tokio::test]
    async fn the_last_one_out_is_noticed() {
        let registry = Registry::new();
        registry.emptied().await;
        let mut place = registry.enter();
        place.claim(SOMEBODY);
        assert_eq!(registry.count(), 1);
        let emptied = registry.emptied();
        drop(place);
        emptied.await;
        assert!(registry.all().is_empty() && registry.seats(SOMEBODY).is_empty());
    }
}
