//! What every service that lies has, whatever it speaks.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Record, Step};

/// A message that waits for its acknowledgement.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// The last part of the push resource.
    pub(super) subscription: String,
    pub(super) id: String,
    pub(super) body: Vec<u8>,
}

/// An address, the lies of now, what the user agent did, and the messages that wait.
#[derive(Debug)]
pub(super) struct Service<Lies> {
    pub(super) address: SocketAddr,
    pub(super) lies: watch::Sender<Lies>,
    pub(super) record: Record,
    pub(super) waiting: Mutex<VecDeque<Waiting>>,
    connections: AtomicUsize,
}

/// Accepts connections until it is dropped.
#[derive(Debug)]
pub(super) struct Acceptor(JoinHandle<()>);

impl<Lies> Service<Lies> {
    /// A service with these lies on a port of its own, and the listener of that port.
    pub(super) async fn bind(lies: Lies) -> (Self, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let service = Self {
            address: listener.local_addr().expect("a bound port"),
            lies: watch::Sender::new(lies),
            record: Record::new(),
            waiting: Mutex::default(),
            connections: AtomicUsize::new(0),
        };
        (service, listener)
    }

    /// Records a new connection and returns its number.
    pub(super) fn connected(&self, stream: &TcpStream) -> usize {
        let connection = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        self.record.enter(connection, Step::Connected);
        // Messages are small, and a test counts their times.
        let _ = stream.set_nodelay(true);
        connection
    }
}

impl Acceptor {
    /// Each connection is served in a task of its own.
    pub(super) fn start<Shared, Serving>(
        listener: TcpListener,
        shared: &Arc<Shared>,
        serve: impl Fn(Arc<Shared>, TcpStream) -> Serving + Send + 'static,
    ) -> Self
    where
        Shared: Send + Sync + 'static,
        Serving: Future<Output = ()> + Send + 'static,
    {
        let shared = Arc::clone(shared);
        Self(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(Arc::clone(&shared), stream));
            }
        }))
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The content of a poisoned lock can be used: no task of a service leaves anything half done when it panics.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
