//! A push service over HTTP/2 (RFC 8030, in clear) that lies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Ping, RecvStream, SendStream};
use http::{Method, Request, Response};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::service::{Acceptor, Service, Waiting, lock};
use super::{Answer, Lie, Record, Step};
use crate::recipient::Recipient;
use crate::within;

/// What the service does not do as an honest one does.
#[derive(Clone, Debug, Default)]
pub struct Lies {
    /// In place of a subscription.
    pub subscribing: Lie,
    /// In place of the end of a subscription.
    pub unsubscribing: Lie,
    /// In place of monitoring.
    pub monitoring: Lie,
    /// In place of the answer to an acknowledgement. The message counts as acknowledged only without it.
    pub acknowledging: Lie,
    /// No server push: a set is monitored by Server-Sent Events only.
    pub only_events: bool,
}

/// A running service.
#[derive(Debug)]
pub struct Liar {
    shared: Arc<Shared>,
    _acceptor: Acceptor,
}

#[derive(Debug)]
struct Shared {
    service: Service<Lies>,
    /// The request that monitors the set: the newest.
    monitor: Mutex<Option<Monitor>>,
    /// Of the newest connection.
    leave: Mutex<Option<mpsc::UnboundedSender<Command>>>,
    subscriptions: AtomicUsize,
}

#[derive(Debug)]
enum Command {
    /// This hears of it when the user agent has read it.
    Leave(oneshot::Sender<()>),
    Break,
}

enum Monitor {
    Push(SendResponse<Bytes>),
    Events(SendStream<Bytes>),
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Monitor")
    }
}

impl Liar {
    /// Starts one with these lies, on a port of its own.
    pub async fn start(lies: Lies) -> Self {
        let (service, listener) = Service::bind(lies).await;
        let shared = Arc::new(Shared {
            service,
            monitor: Mutex::default(),
            leave: Mutex::default(),
            subscriptions: AtomicUsize::new(0),
        });
        let acceptor = Acceptor::start(listener, &shared, serve);
        Self {
            shared,
            _acceptor: acceptor,
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("{}/", self.shared.origin())
    }

    /// What the user agent did.
    pub fn record(&self) -> &Record {
        &self.shared.service.record
    }

    /// Changes the lies.
    pub fn changes(&self, change: impl FnOnce(&mut Lies)) {
        self.shared.service.lies.send_modify(change);
    }

    /// Pushes a message, now or to the next request that monitors, until it is acknowledged.
    pub fn pushes(&self, subscription: &str, id: &str, text: &str) {
        let recipient = Recipient::read(subscription);
        let message = Waiting {
            subscription: recipient.name().to_owned(),
            id: id.to_owned(),
            body: recipient.encrypt(text),
        };
        // A monitor that comes meanwhile waits here, and gets it from there.
        let mut waiting = lock(&self.shared.service.waiting);
        self.shared.push(&message);
        waiting.push_back(message);
    }

    /// Says GOAWAY on the newest connection, and leaves its monitored stream open. Returns when the user agent has read it, or
    /// has closed the connection.
    ///
    /// # Panics
    ///
    /// When it does neither.
    pub async fn leaves(&self) {
        let (read, reading) = oneshot::channel();
        self.command(Command::Leave(read));
        // An error: the connection is closed.
        let _ = within("GOAWAY is read", reading).await;
    }

    /// Drops the newest connection.
    pub fn breaks(&self) {
        self.command(Command::Break);
    }

    fn command(&self, command: Command) {
        if let Some(connection) = &*lock(&self.shared.leave) {
            // One that has ended is gone already.
            let _ = connection.send(command);
        }
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let number = shared.service.connected(&stream);
    let (commander, mut commands) = mpsc::unbounded_channel();
    *lock(&shared.leave) = Some(commander);
    if let Ok(mut connection) = server::handshake(stream).await {
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Leave(read)) => {
                        connection.graceful_shutdown();
                        // Sent behind GOAWAY. A connection has one handle for pings, and leaves once.
                        if let Some(mut pings) = connection.ping_pong() {
                            tokio::spawn(async move {
                                if pings.ping(Ping::opaque()).await.is_ok() {
                                    let _ = read.send(());
                                }
                            });
                        }
                    }
                    Some(Command::Break) => break,
                    // A newer connection has taken its place.
                    None => {
                        while let Some(Ok((request, reply))) = connection.accept().await {
                            shared.answer(number, &request, reply);
                        }
                        break;
                    }
                },
                asked = connection.accept() => match asked {
                    Some(Ok((request, reply))) => shared.answer(number, &request, reply),
                    Some(Err(_)) | None => break,
                },
            }
        }
    }
    shared.service.record.enter(number, Step::Left);
}

impl Shared {
    fn origin(&self) -> String {
        format!("http://{}", self.service.address)
    }

    fn answer(&self, connection: usize, request: &Request<RecvStream>, mut reply: SendResponse<Bytes>) {
        let path = request.uri().path().to_owned();
        let (_, last) = path.rsplit_once('/').expect("a path begins with a slash");
        let step = match (request.method(), path.as_str()) {
            (&Method::POST, _) => Step::Subscribed,
            (&Method::DELETE, path) if path.starts_with("/message/") => Step::Acknowledged {
                subscription: String::new(),
                id: last.to_owned(),
                code: None,
            },
            (&Method::DELETE, _) => Step::Unsubscribed,
            _ => Step::Monitored,
        };
        let mut lie = None;
        self.service.lies.send_modify(|lies| {
            lie = match step {
                Step::Subscribed => lies.subscribing.tell(),
                Step::Unsubscribed => lies.unsubscribing.tell(),
                Step::Monitored => lies.monitoring.tell(),
                _ => lies.acknowledging.tell(),
            };
        });
        match (&step, lie) {
            (_, Some(lie)) => send(&mut reply, &lie),
            (Step::Subscribed, None) => self.subscribe(request, &mut reply),
            (Step::Monitored, None) => self.monitor(request, reply),
            (_, None) => {
                lock(&self.service.waiting).retain(|waiting| waiting.id != last);
                send(&mut reply, &Answer::status(204));
            }
        }
        self.service.record.enter(connection, step);
    }

    fn subscribe(&self, request: &Request<RecvStream>, reply: &mut SendResponse<Bytes>) {
        let number = self.subscriptions.fetch_add(1, Ordering::Relaxed) + 1;
        let origin = self.origin();
        let named = request.headers().get("link").and_then(|link| link.to_str().ok());
        let set = match named.and_then(|link| Some(link.strip_prefix('<')?.split_once('>')?.0)) {
            Some(set) => set.to_owned(),
            None => format!("{origin}/subscriptions/{number}"),
        };
        let link = |target: &str, relation: &str| format!("<{target}>; rel=\"urn:ietf:params:{relation}\"");
        let answer = Answer::status(201)
            .field("location", &format!("{origin}/subscription/{number}"))
            .field("link", &link(&format!("{origin}/push/{number}"), "push"))
            .field("link", &link(&set, "push:set"));
        send(reply, &answer);
    }

    fn monitor(&self, request: &Request<RecvStream>, mut reply: SendResponse<Bytes>) {
        let accept = request.headers().get("accept");
        let wants_events = accept.is_some_and(|accept| {
            accept
                .to_str()
                .is_ok_and(|accept| accept.contains("event-stream"))
        });
        let monitor = if wants_events {
            let head = Response::builder().header("content-type", "text/event-stream");
            let head = head.body(()).expect("a response");
            match reply.send_response(head, false) {
                Ok(events) => Monitor::Events(events),
                Err(_) => return,
            }
        } else if self.service.lies.borrow().only_events {
            let refusal =
                "This service has no server push. Accept: text/event-stream brings messages as events.";
            send(&mut reply, &Answer::status(400).body(refusal));
            return;
        } else {
            Monitor::Push(reply)
        };
        let waiting = lock(&self.service.waiting);
        *lock(&self.monitor) = Some(monitor);
        for message in &*waiting {
            self.push(message);
        }
    }

    /// To the request that monitors, if there is one.
    fn push(&self, message: &Waiting) {
        let url = format!("{}/message/{}", self.origin(), message.id);
        let push = format!("{}/push/{}", self.origin(), message.subscription);
        match &mut *lock(&self.monitor) {
            None => {}
            Some(Monitor::Push(reply)) => promise(reply, &url, &push, &message.body),
            Some(Monitor::Events(events)) => {
                use base64::Engine as _;
                let body = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&message.body);
                let headers = json!({"content-encoding": "aes128gcm"});
                let data = json!({"message": url, "push": push, "headers": headers, "body": body});
                let event = format!("id: {}\nevent: message\ndata: {data}\n\n", message.id);
                // A monitor that has gone gets it the next time.
                let _ = events.send_data(event.into(), false);
            }
        }
    }
}

/// A monitor that has gone gets it the next time.
fn promise(reply: &mut SendResponse<Bytes>, url: &str, push: &str, body: &[u8]) {
    let promised = Request::get(url).header("link", format!("<{push}>; rel=\"urn:ietf:params:push\""));
    let promised = promised.body(()).expect("a request");
    let Ok(mut pushed) = reply.push_request(promised) else {
        return;
    };
    let head = Response::builder().header("content-encoding", "aes128gcm");
    if let Ok(mut stream) = pushed.send_response(head.body(()).expect("a response"), false) {
        let _ = stream.send_data(Bytes::copy_from_slice(body), true);
    }
}

/// A user agent that has gone misses it.
fn send(reply: &mut SendResponse<Bytes>, answer: &Answer) {
    let mut head = Response::builder().status(answer.status);
    for (name, value) in &answer.fields {
        head = head.header(*name, value);
    }
    let head = head.body(()).expect("a response");
    if let Ok(mut stream) = reply.send_response(head, answer.body.is_empty())
        && !answer.body.is_empty()
    {
        let _ = stream.send_data(Bytes::copy_from_slice(answer.body.as_bytes()), true);
    }
}
