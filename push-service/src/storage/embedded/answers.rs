//! Answers of the writer: of all whom one commit answers it wakes one, and that one wakes the others.
//!
//! To wake a task from outside its runtime is a system call, and where both share a core often a change of threads as
//! well. From inside it is an entry in a list. So the first one's answer carries the others, who are told when it looks,
//! or when it goes away without looking.
//!
//! Guarantees: everybody is told, whoever of them has gone, and nobody waits for more than the first one's turn. It does
//! not know what was asked for.

use tokio::sync::oneshot;

use crate::storage::StorageError;

/// What came of it.
pub(super) type Outcome = Result<(), StorageError>;

/// Where an answer goes. Dropped, it says that none will come.
pub(super) struct Done(oneshot::Sender<Told>);

/// Where an answer comes from.
pub(super) struct Answered(oneshot::Receiver<Told>);

/// An answer, and who gets the same from whoever got this one.
struct Told {
    outcome: Outcome,
    others: Vec<Done>,
}

/// A way for one answer.
pub(super) fn way() -> (Done, Answered) {
    let (done, answered) = oneshot::channel();
    (Done(done), Answered(answered))
}

/// Tells all of them.
pub(super) fn tell(mut waiting: Vec<Done>, outcome: &Outcome) {
    while let Some(Done(first)) = waiting.pop() {
        let told = Told {
            outcome: outcome.clone(),
            others: waiting,
        };
        let Err(mut told) = first.send(told) else { return };
        // It has gone, so the next one is the first.
        waiting = std::mem::take(&mut told.others);
    }
}

impl Answered {
    /// The answer; `None` if none will come. Dropping the future loses only this one's answer.
    pub(super) async fn outcome(self) -> Option<Outcome> {
        self.0.await.ok().map(|told| told.outcome.clone())
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        for Done(other) in self.others.drain(..) {
            let told = Self {
                outcome: self.outcome.clone(),
                others: Vec::new(),
            };
            // Whoever has gone does not need to know.
            let _ = other.send(told);
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

    fn ways(count: usize) -> (Vec<Done>, Vec<Answered>) {
        (0..count).map(|_| way()).unzip()
    }

    fn has_failed(polled: Poll<Option<Outcome>>) -> bool {
        matches!(polled, Poll::Ready(Some(Err(StorageError::Failed(why)))) if why == "disk")
    }

    /// However many wait, one is woken; once it looks, all are, and each has the same answer.
    #[test]
    fn one_is_woken_and_wakes_the_others() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let (waiting, answers) = ways(20);
        let mut answers: Vec<_> = answers.into_iter().map(|a| Box::pin(a.outcome())).collect();
        for answer in &mut answers {
            assert!(answer.as_mut().poll(&mut cx).is_pending());
        }
        let failed = Err(StorageError::Failed("disk".to_owned()));
        tell(waiting, &failed);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        let mut first = answers.pop().unwrap();
        assert!(has_failed(first.as_mut().poll(&mut cx)));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 20);
        for answer in &mut answers {
            assert!(has_failed(answer.as_mut().poll(&mut cx)));
        }
    }

    /// Whoever goes, before its answer or with the answer unread, keeps nobody from theirs.
    #[tokio::test]
    async fn who_has_gone_holds_up_nobody() {
        let (waiting, mut answers) = ways(4);
        drop(answers.pop());
        tell(waiting, &Ok(()));
        drop(answers.pop());
        for answer in answers {
            assert!(matches!(answer.outcome().await, Some(Ok(()))));
        }
    }

    /// If the writer goes, everybody hears that no answer comes.
    #[tokio::test]
    async fn without_the_writer_nobody_waits() {
        let (waiting, answers) = ways(2);
        drop(waiting);
        for answer in answers {
            assert!(answer.outcome().await.is_none());
        }
    }
}
