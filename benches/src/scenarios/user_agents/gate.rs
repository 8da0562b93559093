//! A gate between user agents and their service: it passes connections through, and knows when each came.
//!
//! Shut, it ends all connections and refuses new ones, as the ports of a process do that was killed. It runs on a thread of
//! its own, so that the work of many user agents does not delay what it sees.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::connector::Connector;
use crate::failure::{BenchResult, While as _};

/// Connections that wait to be accepted. Chosen: more than there are user agents, so that none is refused while it is open.
const BACKLOG: u32 = 4_096;

/// See the module. Dropping it ends it.
pub(super) struct Gate {
    address: SocketAddr,
    /// Where it leads; `None` while it is shut.
    leads_to: watch::Sender<Option<SocketAddr>>,
    arrivals: Arc<Mutex<Vec<Instant>>>,
}

impl Gate {
    /// Opens one on a free port.
    pub(super) fn open(leads_to: SocketAddr) -> BenchResult<Self> {
        let listener = listen("127.0.0.1:0".parse().doing("an address")?)?;
        let address = listener.local_addr().doing("the gate's address")?;
        let (sender, receiver) = watch::channel(Some(leads_to));
        let arrivals = Arc::default();
        let keeper = Keeper {
            address,
            leads_to: receiver,
            arrivals: Arc::clone(&arrivals),
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime
                .doing("starting a runtime")?
                .block_on(keeper.keep(listener))
        });
        Ok(Self {
            address,
            leads_to: sender,
            arrivals,
        })
    }

    /// The connector that user agents use, who would otherwise use `behind`.
    pub(super) fn connector(&self, behind: &Connector) -> BenchResult<Connector> {
        behind.moved_to(self.address)
    }

    /// Ends all connections, and refuses new ones.
    pub(super) fn shut(&self) {
        self.leads_to.send_replace(None);
    }

    /// Takes connections again, to this service. Forgets which came before.
    pub(super) fn open_to(&self, service: SocketAddr) {
        self.lock().clear();
        self.leads_to.send_replace(Some(service));
    }

    /// When connections came since it was opened.
    pub(super) fn arrivals(&self) -> Vec<Instant> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Keeper {
    address: SocketAddr,
    leads_to: watch::Receiver<Option<SocketAddr>>,
    arrivals: Arc<Mutex<Vec<Instant>>>,
}

impl Keeper {
    /// Ends when the gate is dropped, and all connections with it.
    async fn keep(mut self, first: TcpListener) -> BenchResult<()> {
        let mut first = Some(first);
        loop {
            let Ok(service) = self
                .leads_to
                .wait_for(Option::is_some)
                .await
                .map(|service| *service)
            else {
                return Ok(());
            };
            let (Some(service), Ok(listener)) =
                (service, first.take().map_or_else(|| listen(self.address), Ok))
            else {
                continue;
            };
            let mut passed = JoinSet::new();
            loop {
                tokio::select! {
                    biased;
                    changed = self.leads_to.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return Ok(()),
                    },
                    Ok((stream, _)) = listener.accept() => {
                        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                        passed.spawn(pass(stream, service));
                    }
                    Some(_) = passed.join_next() => {}
                }
            }
        }
    }
}

/// Passes a connection on, until either side ends it.
async fn pass(mut stream: TcpStream, service: SocketAddr) {
    let Ok(mut onward) = TcpStream::connect(service).await else {
        return;
    };
    // That a side breaks it is how it may end.
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
}

fn listen(address: SocketAddr) -> BenchResult<TcpListener> {
    let socket = TcpSocket::new_v4().doing("a socket")?;
    socket.set_reuseaddr(true).doing("a socket")?;
    socket.bind(address).doing("binding the gate")?;
    socket.listen(BACKLOG).doing("opening the gate")
}
