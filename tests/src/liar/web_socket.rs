//! A push service on the WebSocket that lies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::service::{Acceptor, Service, Waiting, lock};
use super::{Answer, Lie, Record, Step};
use crate::recipient::Recipient;

/// What the service does differently from an honest one.
#[derive(Clone, Debug, Default)]
pub struct Lies {
    /// In place of the upgrade.
    pub upgrade: Lie,
    /// A hello gets its answer when the test takes this lie back.
    pub holds_hello: bool,
    /// Each hello is answered with another identity.
    pub renames: bool,
    /// In place of a confirmation, a registration gets this status.
    pub registration: Option<u16>,
    /// In place of a good one, a registration gets this push resource.
    pub push_resource: Option<String>,
    /// The code and reason with which each channel is closed behind the answer to hello.
    pub closes_greeted: Option<(u16, String)>,
    /// The code and reason with which each channel is closed behind the answer to a registration.
    pub closes_registered: Option<(u16, String)>,
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
    /// Of the channel that was greeted last.
    channel: Mutex<Option<mpsc::UnboundedSender<Command>>>,
    identities: AtomicUsize,
}

#[derive(Debug)]
enum Command {
    Say(String),
    Close(u16, String),
}

type Socket = WebSocketStream<TcpStream>;
type Broken = tokio_tungstenite::tungstenite::Error;

impl Liar {
    /// Starts one with these lies, on a port of its own.
    pub async fn start(lies: Lies) -> Self {
        let (service, listener) = Service::bind(lies).await;
        let shared = Arc::new(Shared {
            service,
            channel: Mutex::default(),
            identities: AtomicUsize::new(0),
        });
        let acceptor = Acceptor::start(listener, &shared, serve);
        Self {
            shared,
            _acceptor: acceptor,
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("ws://{}/", self.shared.service.address)
    }

    /// What the user agent did.
    pub fn record(&self) -> &Record {
        &self.shared.service.record
    }

    /// Changes the lies.
    pub fn changes(&self, change: impl FnOnce(&mut Lies)) {
        self.shared.service.lies.send_modify(change);
    }

    /// Sends a message, now or on the next channel, until it is acknowledged.
    pub fn pushes(&self, subscription: &str, id: &str, text: &str) {
        let recipient = Recipient::read(subscription);
        self.pushes_body(&recipient, id, recipient.encrypt(text));
    }

    /// The same with this body, which may mean nothing.
    pub fn pushes_body(&self, recipient: &Recipient, id: &str, body: Vec<u8>) {
        let waiting = Waiting {
            subscription: recipient.name().to_owned(),
            id: id.to_owned(),
            body,
        };
        let text = notification(&waiting);
        // A channel that comes meanwhile waits here, and gets it from there.
        let mut all = lock(&self.shared.service.waiting);
        self.says(&text);
        all.push_back(waiting);
    }

    /// Says this on the channel, if there is one.
    pub fn says(&self, text: &str) {
        self.command(Command::Say(text.to_owned()));
    }

    /// Closes the channel, if there is one.
    pub fn closes(&self, code: u16, reason: &str) {
        self.command(Command::Close(code, reason.to_owned()));
    }

    /// How many messages were not acknowledged so far.
    pub fn unacknowledged(&self) -> usize {
        lock(&self.shared.service.waiting).len()
    }

    fn command(&self, command: Command) {
        if let Some(channel) = &*lock(&self.shared.channel) {
            // A channel that has ended gets what waits when it is opened again.
            let _ = channel.send(command);
        }
    }
}

async fn serve(shared: Arc<Shared>, mut stream: TcpStream) {
    let service = &shared.service;
    let connection = service.connected(&stream);
    let Ok(head) = head(&mut stream).await else {
        service.record.enter(connection, Step::Left);
        return;
    };
    service.record.enter(connection, Step::Upgraded);
    let mut refusal = None;
    service.lies.send_modify(|lies| refusal = lies.upgrade.tell());
    let answer = refusal.as_ref().map_or_else(|| accepted(&head), refused);
    // A user agent that has gone is noticed below.
    let _ = stream.write_all(answer.as_bytes()).await;
    if refusal.is_none() {
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let _ = Channel::new(Arc::clone(&shared), socket, connection).run().await;
    }
    shared.service.record.enter(connection, Step::Left);
}

struct Channel {
    shared: Arc<Shared>,
    socket: Socket,
    connection: usize,
    commands: mpsc::UnboundedReceiver<Command>,
    commander: mpsc::UnboundedSender<Command>,
}

impl Channel {
    fn new(shared: Arc<Shared>, socket: Socket, connection: usize) -> Self {
        let (commander, commands) = mpsc::unbounded_channel();
        Self {
            shared,
            socket,
            connection,
            commands,
            commander,
        }
    }

    /// Ends with the channel.
    async fn run(mut self) -> Result<(), Broken> {
        loop {
            let message = tokio::select! {
                Some(command) = self.commands.recv() => {
                    match command {
                        Command::Say(text) => self.socket.send(Message::text(text)).await?,
                        Command::Close(code, reason) => self.close(code, reason).await?,
                    }
                    continue;
                }
                message = self.socket.next() => message,
            };
            match message {
                Some(Ok(Message::Text(text))) => self.answer(&text).await?,
                Some(Ok(_)) => {}
                Some(Err(broken)) => return Err(broken),
                None => return Ok(()),
            }
        }
    }

    async fn answer(&mut self, text: &str) -> Result<(), Broken> {
        let said: Value = serde_json::from_str(text).expect("the user agent speaks JSON");
        match said["messageType"].as_str() {
            Some("hello") => self.greet(&said).await,
            Some("register") => self.register(&said).await,
            Some("unregister") => {
                self.did(Step::Unsubscribed);
                let answer =
                    json!({"messageType": "unregister", "channelID": said["channelID"], "status": 200});
                self.say(&answer).await
            }
            Some("ack") => {
                self.acknowledged(&said);
                Ok(())
            }
            // A ping.
            None => self.say(&json!({})).await,
            Some(_) => Ok(()),
        }
    }

    async fn greet(&mut self, said: &Value) -> Result<(), Broken> {
        let shown = said["uaid"].as_str().map(str::to_owned);
        self.did(Step::Greeted(shown.clone()));
        let (renames, closes) = {
            let mut lies = self.shared.service.lies.subscribe();
            // The sender lives as long as this channel.
            let lies = lies
                .wait_for(|lies| !lies.holds_hello)
                .await
                .expect("the lies are there");
            (lies.renames, lies.closes_greeted.clone())
        };
        let identity = match shown {
            Some(shown) if !renames => shown,
            _ => format!(
                "{:032x}",
                self.shared.identities.fetch_add(1, Ordering::Relaxed) + 1
            ),
        };
        let hello = json!({"messageType": "hello", "uaid": identity, "status": 200, "use_webpush": true});
        self.say(&hello).await?;
        if let Some((code, reason)) = closes {
            return self.close(code, reason).await;
        }
        self.did(Step::WasAnswered);
        let waiting = lock(&self.shared.service.waiting);
        for message in &*waiting {
            // By the queue, so that what the user agent says meanwhile is read.
            let _ = self.commander.send(Command::Say(notification(message)));
        }
        *lock(&self.shared.channel) = Some(self.commander.clone());
        Ok(())
    }

    async fn register(&mut self, said: &Value) -> Result<(), Broken> {
        self.did(Step::Subscribed);
        let (status, push_resource, closes) = {
            let lies = self.shared.service.lies.borrow();
            (
                lies.registration,
                lies.push_resource.clone(),
                lies.closes_registered.clone(),
            )
        };
        let name = said["channelID"].as_str().unwrap_or_default();
        let push_resource = push_resource.unwrap_or_else(|| format!("https://push.example.net/wpush/{name}"));
        let mut answer =
            json!({"messageType": "register", "channelID": name, "status": status.unwrap_or(200)});
        if status.is_none() {
            answer["pushEndpoint"] = push_resource.into();
        }
        self.say(&answer).await?;
        match closes {
            Some((code, reason)) => self.close(code, reason).await,
            None => Ok(()),
        }
    }

    fn acknowledged(&self, said: &Value) {
        for update in said["updates"].as_array().into_iter().flatten() {
            let text = |member: &str| update[member].as_str().unwrap_or_default().to_owned();
            let (subscription, id) = (text("channelID"), text("version"));
            // Mostly the first.
            let is_meant = |waiting: &Waiting| (&waiting.subscription, &waiting.id) == (&subscription, &id);
            let mut waiting = lock(&self.shared.service.waiting);
            if let Some(at) = waiting.iter().position(is_meant) {
                waiting.remove(at);
            }
            drop(waiting);
            let code = update["code"].as_u64();
            self.did(Step::Acknowledged {
                subscription,
                id,
                code,
            });
        }
    }

    fn did(&self, step: Step) {
        self.shared.service.record.enter(self.connection, step);
    }

    async fn say(&mut self, answer: &Value) -> Result<(), Broken> {
        self.socket.send(Message::text(answer.to_string())).await
    }

    async fn close(&mut self, code: u16, reason: String) -> Result<(), Broken> {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        self.socket.close(Some(frame)).await
    }
}

fn notification(message: &Waiting) -> String {
    let data = URL_SAFE_NO_PAD.encode(&message.body);
    let notification = json!({
        "messageType": "notification",
        "channelID": message.subscription,
        "version": message.id,
        "data": data,
        "headers": {"encoding": "aes128gcm"},
    });
    notification.to_string()
}

/// The head of the request, byte by byte, so that nothing behind it is taken.
async fn head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn accepted(head: &str) -> String {
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then(|| value.trim())
    });
    let accept = derive_accept_key(key.unwrap_or_default().as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
    )
}

fn refused(answer: &Answer) -> String {
    use std::fmt::Write as _;
    let mut head = format!("HTTP/1.1 {} Refused\r\nconnection: close\r\n", answer.status);
    for (name, value) in &answer.fields {
        write!(head, "{name}: {value}\r\n").expect("writing to a string");
    }
    format!(
        "{head}content-length: {}\r\n\r\n{}",
        answer.body.len(),
        answer.body
    )
}
