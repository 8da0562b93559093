//! The threads that read. To read from the disk may take milliseconds. No step of another user agent waits for that, because
//! the async threads never read.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::Shared;
use super::failure::FailOnPanic;
use super::store::Store;
use crate::defaults::{STORE_READERS, STORE_READS_WAITING};
use crate::storage::StorageError;

/// A read, or `None` for the thread to end.
type ReadJob = Option<Box<dyn FnOnce(&Store) + Send>>;

/// Hands reads to the threads. They end when it is dropped, or by [`Readers::stop`].
#[derive(Clone)]
pub(super) struct Readers(SyncSender<ReadJob>);

impl Readers {
    pub(super) fn start(store: &Store, shared: &Arc<Shared>) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (send, receive) = sync_channel(STORE_READS_WAITING);
        let receive = Arc::new(Mutex::new(receive));
        let start = |_| {
            let (store, receive) = (store.clone(), Arc::clone(&receive));
            let watch = FailOnPanic::new(shared, "reader");
            let thread = std::thread::Builder::new().name("store-reader".to_owned());
            thread.spawn(move || {
                let _watch = watch;
                run(&store, &receive);
            })
        };
        let threads = (0..STORE_READERS).map(start).collect::<Result<_, _>>()?;
        Ok((Self(send), threads))
    }

    /// Queues a read, and does not wait for it. Refuses when too many wait.
    pub(super) fn submit(&self, read: impl FnOnce(&Store) + Send + 'static) -> Result<(), StorageError> {
        self.0.try_send(Some(Box::new(read))).map_err(|_| {
            StorageError::Unavailable("the disk is too slow: too many reads wait for it".to_owned())
        })
    }

    /// Ends the threads, after the reads that wait. May block for as long as those take.
    pub(super) fn stop(&self) {
        for _ in 0..STORE_READERS {
            // Fails if the threads have ended before.
            let _ = self.0.send(None);
        }
    }

    /// Queues a read and waits for its result.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (answer, wait) = oneshot::channel();
        self.submit(move |store| {
            // A step that was dropped needs no answer.
            let _ = answer.send(read(store));
        })?;
        wait.await
            .unwrap_or_else(|_| Err(StorageError::Unavailable("the store is closed".to_owned())))
    }
}

fn run(store: &Store, receive: &Mutex<Receiver<ReadJob>>) {
    loop {
        let next = receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(Some(read)) => read(store),
            Ok(None) | Err(_) => return,
        }
    }
}
