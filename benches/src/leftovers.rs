//! What a measurement made at a service that goes on without it: it is ended with the measurement, however that ends.
//!
//! Otherwise a service would keep each user agent for 400 days. A service that was started for a measurement ends with it, so
//! nothing is noted there.

use std::fmt;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use push_protocol::SubscriptionName;
use push_protocol::session::user_agent as session;
use tokio::time::timeout;
use user_agent_client::UserAgent;

use crate::connector::{Connector, Transport};
use crate::failure::{BenchResult, Failure, PATIENCE};
use crate::fleet::{CONNECTING, each};
use crate::http1::Connection;
use crate::user_agent::OnWebSocket;
use crate::user_agent::set::target;

/// One thing that has to be ended.
pub(crate) enum Leftover {
    /// A subscription of a user agent on a WebSocket.
    OnWebSocket(Connector, session::Identity, SubscriptionName),
    /// A set or a receipt subscription: its URL is its end.
    Resource(Connector, Box<str>),
    /// The subscription with this label, of a user agent of the library.
    OfLibrary(UserAgent, &'static str),
}

/// All of them.
#[derive(Clone, Default)]
pub(crate) struct Leftovers(Arc<Mutex<Vec<Leftover>>>);

impl Leftovers {
    /// Notes one.
    pub(crate) fn add(&self, leftover: Leftover) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(leftover);
    }

    /// Ends all of them.
    pub(crate) async fn end(&self) -> BenchResult<()> {
        let mut all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let count = all.len();
        let ended = each(count, CONNECTING, |_| {
            let leftover = all.pop();
            async move {
                let Some(leftover) = leftover else { return Ok(true) };
                // One that cannot be ended does not keep the others.
                Ok(matches!(timeout(PATIENCE / 2, leftover.end()).await, Ok(Ok(()))))
            }
        });
        let left = ended.await?.into_iter().filter(|is_ended| !is_ended).count();
        match left {
            0 => Ok(()),
            left => Err(Failure::new(format!(
                "{left} of {count} subscriptions could not be ended, and are left at the service"
            ))),
        }
    }
}

impl Leftover {
    async fn end(self) -> BenchResult<()> {
        match self {
            Self::OnWebSocket(connector, identity, subscription) => {
                let mut user_agent = OnWebSocket::connect(&connector.by(Transport::WebSocket)).await?;
                user_agent.hello(Some(identity)).await?;
                user_agent.unregister(subscription).await
            }
            Self::Resource(connector, url) => delete(&connector, &url).await,
            Self::OfLibrary(agent, label) => {
                // One that was stopped was unsubscribed before.
                if agent.unsubscribe(label).await.is_ok() {
                    agent.wait_until_unsubscribed().await;
                    agent.stop().await;
                }
                Ok(())
            }
        }
    }
}

async fn delete(connector: &Connector, url: &str) -> BenchResult<()> {
    let (host, path) = target(url)?;
    let mut connection = Connection::connect(connector).await?;
    // A Vec takes every write.
    let _ = write!(
        connection.request(),
        "DELETE {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"
    );
    match connection.exchange().await? {
        204 | 404 | 410 => Ok(()),
        status => Err(Failure::new(format!("a DELETE is answered {status}, not 204"))),
    }
}

impl fmt::Debug for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leftovers(…)")
    }
}
