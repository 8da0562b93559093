//! Replies of the writer to the steps of one commit: one waiter is woken, which wakes the others.
//!
//! To wake a task from outside its runtime is a system call, and often a change of threads as well. From inside the runtime
//! it is an entry in a list. So the reply to the first waiter holds the senders for the others. They are sent to when the
//! first waiter reads its reply, or when it is dropped without reading it.
//!
//! Guarantees: each waiter gets the result, even if other waiters are dropped, and waits at most until the first one
//! runs. It does not know what was asked for.

use tokio::sync::oneshot;

use crate::storage::StorageError;

/// The result of a commit or a sync.
pub(super) type CommitResult = Result<(), StorageError>;

/// Sends one reply. If it is dropped, the waiter is told that no reply comes.
pub(super) struct Replier(oneshot::Sender<CommitReply>);

/// Waits for one reply.
pub(super) struct CommitWaiter(oneshot::Receiver<CommitReply>);

/// A result, and the senders for the other waiters of the same commit.
struct CommitReply {
    result: CommitResult,
    others: Vec<Replier>,
}

/// Both ends of one reply.
pub(super) fn channel() -> (Replier, CommitWaiter) {
    let (send, receive) = oneshot::channel();
    (Replier(send), CommitWaiter(receive))
}

/// Sends the result to all of them.
pub(super) fn send_all(mut waiting: Vec<Replier>, result: &CommitResult) {
    while let Some(Replier(first)) = waiting.pop() {
        let reply = CommitReply {
            result: result.clone(),
            others: waiting,
        };
        let Err(mut reply) = first.send(reply) else { return };
        // Its waiter was dropped, so the next one is the first.
        waiting = std::mem::take(&mut reply.others);
    }
}

impl CommitWaiter {
    /// The result; `None` if no reply comes. Dropping the future loses only this waiter's reply.
    pub(super) async fn wait(self) -> Option<CommitResult> {
        self.0.await.ok().map(|reply| reply.result.clone())
    }
}

impl Drop for CommitReply {
    fn drop(&mut self) {
        for Replier(other) in self.others.drain(..) {
            let reply = Self {
                result: self.result.clone(),
                others: Vec::new(),
            };
            // A waiter that was dropped needs no reply.
            let _ = other.send(reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn channels(count: usize) -> (Vec<Replier>, Vec<CommitWaiter>) {
        (0..count).map(|_| channel()).unzip()
    }

    fn has_failed(polled: Poll<Option<CommitResult>>) -> bool {
        matches!(polled, Poll::Ready(Some(Err(StorageError::Failed(why)))) if why == "disk")
    }

    /// Of many waiters one is woken. When it reads its reply all are woken, and each gets the same result.
    #[test]
    fn one_is_woken_and_wakes_the_others() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let (waiting, answers) = channels(20);
        let mut answers: Vec<_> = answers.into_iter().map(|a| Box::pin(a.wait())).collect();
        for answer in &mut answers {
            assert!(answer.as_mut().poll(&mut cx).is_pending());
        }
        let failed = Err(StorageError::Failed("disk".to_owned()));
        send_all(waiting, &failed);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        let mut first = answers.pop().unwrap();
        assert!(has_failed(first.as_mut().poll(&mut cx)));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 20);
        for answer in &mut answers {
            assert!(has_failed(answer.as_mut().poll(&mut cx)));
        }
    }

    /// A waiter that is dropped, before its reply or with the reply unread, does not keep the others from theirs.
    #[tokio::test]
    async fn a_dropped_waiter_holds_up_no_other() {
        let (waiting, mut answers) = channels(4);
        drop(answers.pop());
        send_all(waiting, &Ok(()));
        drop(answers.pop());
        for answer in answers {
            assert!(matches!(answer.wait().await, Some(Ok(()))));
        }
    }

    /// If the writer ends, all waiters are told that no reply comes.
    #[tokio::test]
    async fn without_the_writer_no_waiter_waits() {
        let (waiting, answers) = channels(2);
        drop(waiting);
        for answer in answers {
            assert!(answer.wait().await.is_none());
        }
    }
}
