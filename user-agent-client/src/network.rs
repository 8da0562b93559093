//! When it is worth looking whether the service is still there: another network, or a machine that slept.
//!
//! Linux says when links, addresses and routes change, on a netlink socket; and two of its clocks differ by the time for
//! which the machine slept. Elsewhere, and where there is no such socket, that part never fires, and a user agent notices
//! by its pings. A report is a hint: what changed may have nothing to do with the service, and an address that is
//! confirmed by its router counts as a change too. What it deliberately does not know: which network it is, and whether
//! that leads anywhere.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::defaults::{NETWORK_QUIET, NETWORK_QUIET_MOST, SLEEP_LEAST, SLEEP_LOOK};

/// Reports changes of the network.
pub struct NetworkChanges {
    kernel: Option<kernel::Changes>,
    slept: Slept,
    look_at: Instant,
    /// A burst that is not over, so that a cancelled wait loses nothing.
    burst: Option<Burst>,
}

#[derive(Clone, Copy)]
struct Burst {
    began: Instant,
    latest: Instant,
}

impl NetworkChanges {
    /// Begins to listen. Must be called on a runtime with I/O and time; never fails, but may never fire.
    pub fn new() -> Self {
        Self::of(kernel::Changes::listen())
    }

    fn of(kernel: Option<kernel::Changes>) -> Self {
        Self {
            kernel,
            slept: Slept::new(kernel::slept()),
            look_at: Instant::now() + SLEEP_LOOK,
            burst: None,
        }
    }

    /// Waits for the next change. Changes that come in a burst are one, which is reported when the network is quiet.
    ///
    /// Cancel safe: a change that was noticed is reported by the next call. Until then the kernel remembers
    /// that there were changes, not how many.
    pub async fn changed(&mut self) {
        loop {
            let report_at = self.burst.map(Burst::is_over_at);
            tokio::select! {
                // What happened before the time is over belongs to the burst.
                biased;
                () = noticed(self.kernel.as_mut()) => self.notice(),
                () = reached(report_at) => {
                    self.burst = None;
                    return;
                }
                () = sleep_until(self.look_at) => {
                    self.look_at = Instant::now() + SLEEP_LOOK;
                    if self.slept.again(kernel::slept()) {
                        self.notice();
                    }
                }
            }
        }
    }

    fn notice(&mut self) {
        let latest = Instant::now();
        let began = self.burst.map_or(latest, |burst| burst.began);
        self.burst = Some(Burst { began, latest });
    }
}

impl Default for NetworkChanges {
    fn default() -> Self {
        Self::new()
    }
}

impl Burst {
    fn is_over_at(self) -> Instant {
        (self.latest + NETWORK_QUIET).min(self.began + NETWORK_QUIET_MOST)
    }
}

async fn noticed(kernel: Option<&mut kernel::Changes>) {
    match kernel {
        Some(kernel) => kernel.noticed().await,
        None => pending().await,
    }
}

async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// How long the machine has slept in all, when it was last looked at.
struct Slept(Duration);

impl Slept {
    fn new(slept: Duration) -> Self {
        Self(slept)
    }

    /// Whether it has slept since.
    fn again(&mut self, slept: Duration) -> bool {
        let before = std::mem::replace(&mut self.0, slept);
        slept.saturating_sub(before) >= SLEEP_LEAST
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::future::pending;
    use std::io;
    use std::os::unix::net;
    use std::time::Duration;

    use rustix::io::Errno;
    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
    use rustix::time::{ClockId, DynamicClockId, Timespec, clock_gettime, clock_gettime_dynamic};
    use tokio::net::UnixDatagram;

    /// rtnetlink(7): links, and the addresses and routes of IPv4 and IPv6.
    const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

    /// What the kernel says about links, addresses and routes. That it says something is enough: it isn't read.
    ///
    /// Tokio has no type for a netlink socket. One for datagrams of another family does: waiting and receiving are the
    /// same for all of them. `None` once it is broken.
    pub(super) struct Changes(pub(super) Option<UnixDatagram>);

    impl Changes {
        /// `None` where there is no such socket: some sandboxes don't have it.
        pub(super) fn listen() -> Option<Self> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            // No protocol is protocol 0, which is NETLINK_ROUTE.
            let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None).ok()?;
            bind(&socket, &SocketAddrNetlink::new(0, GROUPS)).ok()?;
            UnixDatagram::from_std(net::UnixDatagram::from(socket))
                .ok()
                .map(|socket| Self(Some(socket)))
        }

        /// Waits until the kernel says something, and throws all away that it said. Cancel safe: it waits in one place,
        /// and takes nothing before that is over.
        pub(super) async fn noticed(&mut self) {
            while let Some(socket) = &self.0 {
                match socket.readable().await.and_then(|()| drain(socket)) {
                    Ok(true) => return,
                    // It was not ready after all.
                    Ok(false) => {}
                    // It would be noticed forever.
                    Err(_) => self.0 = None,
                }
            }
            pending::<()>().await;
        }
    }

    /// Reads until there is nothing. Whether there was anything.
    fn drain(socket: &UnixDatagram) -> io::Result<bool> {
        let mut anything = false;
        // A message that is longer is cut off, which is as good.
        let mut message = [0; 64];
        loop {
            match socket.try_recv(&mut message) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => anything = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(anything),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The kernel lost some, because there were too many.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => anything = true,
                Err(error) => return Err(error),
            }
        }
    }

    /// How long the machine has slept since it was started: one clock counts that time, the other does not.
    pub(super) fn slept() -> Duration {
        let awake = since_start(clock_gettime(ClockId::Monotonic));
        let all = clock_gettime_dynamic(DynamicClockId::Boottime).map_or(awake, since_start);
        all.saturating_sub(awake)
    }

    fn since_start(time: Timespec) -> Duration {
        Duration::try_from(time).unwrap_or_default()
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::future::pending;
    use std::time::Duration;

    pub(super) enum Changes {}

    impl Changes {
        pub(super) fn listen() -> Option<Self> {
            None
        }

        pub(super) async fn noticed(&mut self) {
            pending::<()>().await;
        }
    }

    /// Elsewhere it isn't known.
    pub(super) fn slept() -> Duration {
        Duration::ZERO
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use tokio::net::UnixDatagram;
    use tokio::time::{sleep, timeout};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    /// A kernel of our own: what is sent is what it says.
    fn rig() -> (NetworkChanges, UnixDatagram) {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        (NetworkChanges::of(Some(kernel::Changes(Some(ours)))), theirs)
    }

    /// A burst is one change, reported when it is over; without one there is nothing to report.
    #[tokio::test(start_paused = true)]
    async fn a_burst_is_one_change() {
        let (mut changes, kernel) = rig();
        assert!(timeout(HOUR, changes.changed()).await.is_err());
        for _ in 0..100 {
            kernel.try_send(&[1; 100]).unwrap();
        }
        let before = Instant::now();
        changes.changed().await;
        assert!(before.elapsed() >= NETWORK_QUIET && before.elapsed() < NETWORK_QUIET_MOST);
        assert!(timeout(HOUR, changes.changed()).await.is_err());
    }

    /// A network that never becomes quiet is reported nevertheless.
    #[tokio::test(start_paused = true)]
    async fn no_end_of_changes() {
        let (mut changes, kernel) = rig();
        let before = Instant::now();
        let restless = async {
            loop {
                kernel.try_send(&[1]).unwrap();
                sleep(NETWORK_QUIET / 5).await;
            }
        };
        tokio::select! {
            () = changes.changed() => {}
            () = restless => {}
        }
        assert!(
            before.elapsed() <= NETWORK_QUIET_MOST + NETWORK_QUIET,
            "{:?}",
            before.elapsed()
        );
    }

    /// A change that was noticed is not lost to a wait that is given up.
    #[tokio::test(start_paused = true)]
    async fn is_cancel_safe() {
        let (mut changes, kernel) = rig();
        kernel.try_send(&[1]).unwrap();
        assert!(timeout(NETWORK_QUIET / 2, changes.changed()).await.is_err());
        assert!(changes.burst.is_some());
        timeout(NETWORK_QUIET, changes.changed()).await.unwrap();
    }

    /// A socket that breaks never fires again, and takes no time.
    #[tokio::test(start_paused = true)]
    async fn a_broken_socket() {
        let (mut changes, kernel) = rig();
        kernel.try_send(&[]).unwrap();
        assert!(timeout(HOUR, changes.changed()).await.is_err());
        kernel.try_send(&[1]).unwrap_err();
        assert!(timeout(HOUR, changes.changed()).await.is_err());
    }

    /// A sleep is noticed once, and clocks that were read one after the other are none.
    #[test]
    fn sleeps() {
        let mut slept = Slept::new(HOUR);
        assert!(!slept.again(HOUR) && !slept.again(HOUR + SLEEP_LEAST / 2));
        assert!(slept.again(HOUR + 2 * SLEEP_LEAST));
        assert!(!slept.again(HOUR + 2 * SLEEP_LEAST));
        assert!(kernel::slept() < kernel::slept() + SLEEP_LEAST);
    }

    /// The real socket can be had here, and says nothing on its own.
    #[tokio::test]
    async fn listens_to_the_kernel() {
        assert!(kernel::Changes::listen().is_some_and(|changes| changes.0.is_some()));
    }
}
