//! Queues between a user agent's task and its handles. They use memory only for the items in them.
//!
//! The runtime's own queues have 32 places from the beginning, which suits those that are busy. A user agent has several of
//! them and is idle nearly always, and one process may run thousands.
//!
//! **Invariant:** an empty queue owns no buffer.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

/// A queue for at most `places` items. When it is full, [`Sender::send`] waits and [`Sender::try_send`] fails.
pub(crate) fn channel<T>(places: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        queue: Mutex::new(Queue {
            items: VecDeque::new(),
            senders: 1,
            has_receiver: true,
            receiving: None,
        }),
        places,
        room: Notify::new(),
        end: Notify::new(),
    });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

/// The end that sends.
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// The end that receives. Dropped with all that is in it.
pub(crate) struct Receiver<T>(Arc<Shared<T>>);

/// The receiver is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Closed;

struct Shared<T> {
    /// While it is locked, no item is dropped and no task is woken: both may call this queue again.
    queue: Mutex<Queue<T>>,
    places: usize,
    /// A place became free.
    room: Notify,
    /// The receiver is gone.
    end: Notify,
}

struct Queue<T> {
    items: VecDeque<T>,
    senders: usize,
    has_receiver: bool,
    /// The receiver waits.
    receiving: Option<Waker>,
}

impl<T> Sender<T> {
    /// Sends, if there is a place and a receiver.
    ///
    /// # Errors
    ///
    /// What was not sent.
    pub(crate) fn try_send(&self, item: T) -> Result<(), T> {
        let mut queue = self.0.lock();
        if !queue.has_receiver || queue.items.len() >= self.0.places {
            return Err(item);
        }
        queue.items.push_back(item);
        let receiving = queue.receiving.take();
        drop(queue);
        receiving.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Sends when there is a place. Cancel safe: what is not sent is dropped.
    ///
    /// # Errors
    ///
    /// The receiver is gone.
    pub(crate) async fn send(&self, mut item: T) -> Result<(), Closed> {
        loop {
            let room = self.0.room.notified();
            match self.try_send(item) {
                Ok(()) => return Ok(()),
                Err(unsent) => item = unsent,
            }
            let end = self.0.end.notified();
            if !self.0.lock().has_receiver {
                return Err(Closed);
            }
            tokio::select! {
                () = room => {}
                () = end => {}
            }
        }
    }

    /// Waits until there is a place, which another sender may take first; for ever if the receiver is gone. Cancel safe.
    pub(crate) async fn room(&self) {
        loop {
            let room = self.0.room.notified();
            let is_there = {
                let queue = self.0.lock();
                queue.has_receiver && queue.items.len() < self.0.places
            };
            if is_there {
                return;
            }
            room.await;
        }
    }

    /// Whether the receiver is gone.
    pub(crate) fn is_closed(&self) -> bool {
        !self.0.lock().has_receiver
    }

    /// Waits until the receiver is gone. Cancel safe.
    pub(crate) async fn closed(&self) {
        let end = self.0.end.notified();
        if self.0.lock().has_receiver {
            end.await;
        }
    }
}

impl<T> Receiver<T> {
    /// The next one; `None` when it is empty and every sender is gone. Cancel safe.
    pub(crate) async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Self::recv), for a caller that waits for several things at a time.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut queue = self.0.lock();
        if queue.items.is_empty() && queue.senders > 0 {
            match &mut queue.receiving {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        Poll::Ready(self.take(queue))
    }

    /// The next one, if it is there.
    pub(crate) fn try_recv(&mut self) -> Option<T> {
        self.take(self.0.lock())
    }

    fn take(&self, mut queue: MutexGuard<'_, Queue<T>>) -> Option<T> {
        let item = queue.items.pop_front()?;
        if queue.items.is_empty() {
            queue.items = VecDeque::new();
        }
        drop(queue);
        self.0.room.notify_one();
        Some(item)
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        // Nothing that holds it panics.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.senders -= 1;
        let receiving = match queue.senders {
            0 => queue.receiving.take(),
            _ => None,
        };
        drop(queue);
        receiving.into_iter().for_each(Waker::wake);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.has_receiver = false;
        let items = std::mem::take(&mut queue.items);
        drop(queue);
        drop(items);
        self.0.end.notify_waiters();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent comes in its order, waits for a place, and ends with the last sender.
    #[tokio::test]
    async fn first_in_first_out() {
        let (sender, mut receiver) = channel(2);
        let other = sender.clone();
        let sending = tokio::spawn(async move {
            for number in 0..100 {
                sender.send(number).await.unwrap();
            }
        });
        for number in 0..100 {
            assert_eq!(receiver.recv().await, Some(number));
            assert!(receiver.0.lock().items.len() <= 2);
        }
        sending.await.unwrap();
        assert_eq!(other.try_send(100), Ok(()));
        drop(other);
        assert_eq!(receiver.recv().await, Some(100));
        assert_eq!(receiver.recv().await, None);
    }

    /// A full queue refuses or lets wait; one whose receiver is gone does neither, and drops what was in it.
    #[tokio::test]
    async fn full_and_gone() {
        let (sender, mut receiver) = channel(1);
        let item = Arc::new(());
        assert!(sender.try_send(Arc::clone(&item)).is_ok());
        assert!(sender.try_send(Arc::clone(&item)).is_err());
        assert!(receiver.try_recv().is_some() && receiver.try_recv().is_none());
        assert!(sender.try_send(Arc::clone(&item)).is_ok());
        let (waits, notices) = (sender.clone(), sender.clone());
        let unsent = Arc::clone(&item);
        let waiting = tokio::spawn(async move { waits.send(unsent).await });
        let noticing = tokio::spawn(async move { notices.closed().await });
        // Both have their turn, and wait.
        tokio::task::yield_now().await;
        drop(receiver);
        assert_eq!(waiting.await.unwrap(), Err(Closed));
        noticing.await.unwrap();
        assert_eq!(Arc::strong_count(&item), 1);
    }

    /// An empty queue owns no buffer, whatever went through it.
    #[test]
    fn empty_is_nothing() {
        let (sender, mut receiver) = channel(1_000);
        for number in 0..1_000 {
            sender.try_send(number).unwrap();
        }
        while receiver.try_recv().is_some() {}
        assert_eq!(receiver.0.lock().items.capacity(), 0);
    }
}
