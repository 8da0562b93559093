//! `listen`'s end of the control socket: it carries out requests on its own channel.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use push_protocol::vapid::PublicKey;
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use user_agent_client::defaults::{CONTROL_CONNECTIONS, CONTROL_LINE_WITHIN, CONTROL_REQUEST_WITHIN};
use user_agent_client::user_agent::SubscribeError;
use user_agent_client::{Event, ServerUrl, Subscription, UserAgent};

use super::{
    AnyRequest, Command, ControlReply, PRINTED, Request, SocketPath, Subscribe, Unsubscribe, VERSION,
    is_trusted, read_line, to_line,
};
use crate::cli::console::say;
use crate::cli::exit::{Exit, Failure};
use crate::cli::news;

/// Connections that may wait to be accepted. Chosen: what the standard library takes.
const BACKLOG: i32 = 128;

/// The socket of a running `listen`. Dropping it closes the socket.
pub(in crate::cli) struct Control {
    hindrance: watch::Sender<Option<Hindrance>>,
    /// Why the user agent has stopped, if it stopped by itself.
    failure: watch::Sender<Option<Failure>>,
    open: Option<Open>,
}

/// Why a request is not done yet, in a sentence for people.
#[derive(Clone)]
struct Hindrance {
    sentence: String,
    /// A request for the subscription of this name fails at once.
    is_final_for: Option<Arc<str>>,
}

struct Open {
    socket: SocketPath,
    serving: JoinHandle<()>,
}

impl Control {
    /// Opens the socket of a directory that this process has locked, so a socket that is there already is stale. Without one, `listen` goes on.
    pub(in crate::cli) fn open(directory: &Path, agent: &UserAgent, server: &ServerUrl) -> Self {
        let hindrance = watch::Sender::new(None);
        let failure = watch::Sender::new(None);
        let connection = ControlConnection {
            agent: agent.clone(),
            server: server.clone(),
            hindrance: hindrance.subscribe(),
            failure: failure.subscribe(),
        };
        let open = match bind(directory) {
            Ok((socket, listener)) => Some(Open {
                socket,
                serving: tokio::spawn(serve(listener, connection)),
            }),
            Err(error) => {
                say(format_args!(
                    "cannot make a socket for other commands in {} ({error}): `subscribe` and `unsubscribe` \
                     cannot run beside this `listen`",
                    directory.display()
                ));
                None
            }
        };
        Self {
            hindrance,
            failure,
            open,
        }
    }

    /// Tells waiting commands why they wait.
    pub(in crate::cli) fn report(&self, event: &Event) {
        match event {
            Event::Connected => drop(self.hindrance.send_replace(None)),
            Event::Disconnected { .. } | Event::Delayed => self.tell(news::sentence(event), None),
            Event::Waiting { label, why, .. } if !why.may_pass() => {
                let sentence = format!(
                    "{label}: {why}. The request is kept: `listen` or the next `subscribe` sends it again"
                );
                self.tell(Some(sentence), Some(Arc::clone(label)));
            }
            Event::Waiting { .. } => self.tell(news::sentence(event), None),
            Event::Failed(error) => drop(self.failure.send_replace(Some(error.into()))),
            _ => {}
        }
    }

    fn tell(&self, sentence: Option<String>, is_final_for: Option<Arc<str>>) {
        self.hindrance.send_replace(sentence.map(|sentence| Hindrance {
            sentence,
            is_final_for,
        }));
    }

    /// Removes the socket and answers no command any more. To be called before the directory is unlocked: after that, the socket may
    /// be that of another `listen`. If the user agent has failed, commands that wait are told so first.
    pub(in crate::cli) async fn close(&mut self) {
        let has_failed = self.failure.borrow().is_some();
        if let Some(mut open) = self.open.take() {
            open.remove();
            if has_failed {
                let _ = timeout(CONTROL_LINE_WITHIN, &mut open.serving).await;
            }
            open.serving.abort();
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            open.remove();
            open.serving.abort();
        }
    }
}

impl Open {
    fn remove(&self) {
        let _ = fs::remove_file(&self.socket.path);
    }
}

fn bind(directory: &Path) -> io::Result<(SocketPath, UnixListener)> {
    let socket = SocketPath::of(directory)?;
    match fs::symlink_metadata(&socket.path) {
        Ok(stale) if stale.file_type().is_socket() => fs::remove_file(&socket.path)?,
        Ok(_) => return Err(io::Error::other("the name `control` is taken by something else")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = listen(&socket.path)?;
    // Where the socket's own mode did not count.
    fs::set_permissions(&socket.path, Permissions::from_mode(0o600))?;
    Ok((socket, listener))
}

/// Binds a socket whose file is never open to others: on Linux the file gets the mode that the socket has.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    UnixListener::from_std(socket.into())
}

/// Serves connections until the user agent has failed; then the last of them are told why.
async fn serve(listener: UnixListener, connection: ControlConnection) {
    const AGAIN_AFTER: Duration = Duration::from_secs(1);
    let mut connections = JoinSet::new();
    let mut failure = connection.failure.clone();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONTROL_CONNECTIONS => match accepted {
                Ok((stream, _)) if is_trusted(&stream) => {
                    connections.spawn(connection.clone().run(stream));
                }
                Ok(_) => tracing::warn!("another system user tried to control this user agent and was refused"),
                Err(error) => {
                    tracing::warn!(%error, "other commands cannot be answered at the moment");
                    sleep(AGAIN_AFTER).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = failed(&mut failure) => break,
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Waits until the user agent has failed; `None` if it has not, and `listen` ends.
async fn failed(failure: &mut watch::Receiver<Option<Failure>>) -> Option<Failure> {
    let failure = failure.wait_for(Option::is_some).await.ok()?;
    failure.clone()
}

/// The failure to report for an error of the user agent. If it has stopped because it failed, that failure is the reason, and
/// `listen` gets it in a moment.
async fn reason(error: SubscribeError, mut failure: watch::Receiver<Option<Failure>>) -> Failure {
    if matches!(error, SubscribeError::Stopped)
        && let Ok(Some(failure)) = timeout(CONTROL_LINE_WITHIN, failed(&mut failure)).await
    {
        return failure;
    }
    error.into()
}

/// What one connection needs.
#[derive(Clone)]
struct ControlConnection {
    agent: UserAgent,
    server: ServerUrl,
    hindrance: watch::Receiver<Option<Hindrance>>,
    failure: watch::Receiver<Option<Failure>>,
}

type Input = BufReader<OwnedReadHalf>;

/// The other end is gone, or does not read.
struct Disconnected;

impl ControlConnection {
    async fn run(mut self, stream: UnixStream) {
        let (input, mut output) = stream.into_split();
        let mut input = BufReader::new(input);
        let Ok(Ok(Some(line))) = timeout(CONTROL_REQUEST_WITHIN, read_line(&mut input)).await else {
            return;
        };
        let mut subscribed = None;
        let done = match parse(&line) {
            Ok(Command::Subscribe(asked)) => {
                let done = self.subscribe(asked, &mut input, &mut output).await;
                done.map(|done| {
                    done.and_then(|subscription| {
                        let answer = reply_of(&subscription);
                        subscribed = Some(subscription);
                        answer
                    })
                })
            }
            Ok(Command::Unsubscribe(asked)) => self.unsubscribe(asked, &mut input, &mut output).await,
            Err(failure) => Ok(Err(failure)),
        };
        let Ok(done) = done else {
            return;
        };
        let answer = done.unwrap_or_else(|failure| ControlReply::Failed {
            exit: failure.exit as u8,
            why: failure.why,
        });
        if send(&mut output, &answer).await.is_err() {
            return;
        }
        if let Some(subscription) = subscribed.filter(|subscription| subscription.replaced) {
            let printed = timeout(CONTROL_LINE_WITHIN, read_line(&mut input)).await;
            if matches!(printed, Ok(Ok(Some(line))) if line == PRINTED) {
                self.agent.confirm_renewal(&subscription).await;
            }
        }
    }

    async fn subscribe(
        &mut self,
        asked: Subscribe,
        input: &mut Input,
        output: &mut OwnedWriteHalf,
    ) -> Result<Result<Subscription, Failure>, Disconnected> {
        if let Err(failure) = self.is_same_service(&asked) {
            return Ok(Err(failure));
        }
        let key = match asked.application_server_key.as_deref().map(PublicKey::parse) {
            Some(None) => return Ok(Err(Failure::usage("the application server key is not valid"))),
            Some(key) => key,
            None => None,
        };
        let (agent, failure) = (self.agent.clone(), self.failure.clone());
        let name = &asked.name;
        let subscribing = async {
            match agent.subscribe(name, key).await {
                Ok(subscription) => Ok(subscription),
                Err(error) => Err(reason(error, failure).await),
            }
        };
        self.wait_for(name, subscribing, asked.timeout_seconds, input, output)
            .await
    }

    async fn unsubscribe(
        &mut self,
        asked: Unsubscribe,
        input: &mut Input,
        output: &mut OwnedWriteHalf,
    ) -> Result<Result<ControlReply, Failure>, Disconnected> {
        let (agent, failure) = (self.agent.clone(), self.failure.clone());
        let name = &asked.name;
        let ending = async {
            match agent.unsubscribe(name).await {
                Ok(true) => {}
                Ok(false) => return Err(Failure::no_subscription(name)),
                Err(error) => return Err(reason(error, failure).await),
            }
            agent.wait_until_unsubscribed().await;
            Ok(ControlReply::Unsubscribed {})
        };
        self.wait_for(name, ending, asked.timeout_seconds, input, output)
            .await
    }

    fn is_same_service(&self, asked: &Subscribe) -> Result<(), Failure> {
        let server = match &asked.server {
            Some(url) => ServerUrl::parse(url)?,
            None => self.server.clone(),
        };
        let ours = self.server.transport();
        let transport = match (&asked.transport, &asked.server) {
            (Some(transport), _) => transport.clone(),
            (None, Some(_)) => server.transport().to_string(),
            (None, None) => ours.to_string(),
        };
        if server.is_same_service(&self.server) && transport == ours.to_string() {
            return Ok(());
        }
        Err(Failure::usage(format_args!(
            "the running `listen` uses {} over {ours}: end it first, or use another state directory",
            self.server
        )))
    }

    /// Waits for the result, and sends sentences that say why it takes long.
    async fn wait_for<T>(
        &mut self,
        name: &str,
        what: impl Future<Output = Result<T, Failure>>,
        seconds: u64,
        input: &mut Input,
        output: &mut OwnedWriteHalf,
    ) -> Result<Result<T, Failure>, Disconnected> {
        let until = Instant::now() + Duration::from_secs(seconds.min(MOST_SECONDS));
        let mut what = pin!(what);
        let mut last = None;
        // A known hindrance is sent at once.
        self.hindrance.mark_changed();
        loop {
            tokio::select! {
                biased;
                Some(failure) = failed(&mut self.failure) => return Ok(Err(failure)),
                done = &mut what => return Ok(done),
                () = sleep_until(until) => {
                    let why = last.unwrap_or_else(|| "the push service did not answer".to_owned());
                    let why = format!("{why}; stopped waiting after {seconds} s. The request is kept: the running \
                         `listen` sends it again");
                    return Ok(Err(Failure::new(Exit::Unreachable, why)));
                }
                // The other end sends nothing while it waits, so it is gone.
                _ = input.read_u8() => return Err(Disconnected),
                changed = self.hindrance.changed() => {
                    if changed.is_err() {
                        return Ok(Err(SubscribeError::Stopped.into()));
                    }
                    let hindrance = self.hindrance.borrow_and_update().clone();
                    let Some(Hindrance { sentence, is_final_for }) = hindrance else {
                        continue;
                    };
                    if is_final_for.is_some_and(|label| &*label == name) {
                        return Ok(Err(Failure::new(Exit::Unreachable, sentence)));
                    }
                    send(output, &ControlReply::Says(sentence.clone())).await?;
                    last = Some(sentence);
                }
            }
        }
    }
}

/// A year, as on the command line.
const MOST_SECONDS: u64 = 365 * 24 * 3_600;

fn parse(line: &str) -> Result<Command, Failure> {
    let nonsense = || Failure::usage("the running `listen` does not know this command: restart it");
    let any: AnyRequest = serde_json::from_str(line).map_err(|_| nonsense())?;
    if any.version != VERSION {
        return Err(Failure::usage(format_args!(
            "the running `listen` has another version: it accepts commands of version {VERSION}, and this \
             one has version {}: restart `listen`",
            any.version
        )));
    }
    let request: Request = serde_json::from_str(line).map_err(|_| nonsense())?;
    Ok(request.command)
}

fn reply_of(subscription: &Subscription) -> Result<ControlReply, Failure> {
    let json = subscription
        .to_json()
        .and_then(|json| RawValue::from_string(json).ok());
    json.map(ControlReply::Subscribed)
        .ok_or_else(|| SubscribeError::Stopped.into())
}

async fn send(output: &mut OwnedWriteHalf, answer: &ControlReply) -> Result<(), Disconnected> {
    let line = to_line(answer);
    let sent = timeout(CONTROL_LINE_WITHIN, output.write_all(line.as_bytes())).await;
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Disconnected),
    }
}
