//! Both ends of the socket, and a push service of a few lines behind the one that listens.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use push_protocol::wire::frame::{FrameReader, Incoming, Reader, write_text};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use user_agent_client::defaults::{CONTROL_CONNECTIONS, CONTROL_LINE_WITHIN, CONTROL_REQUEST_WITHIN};
use user_agent_client::{Event, Options, ServerUrl, State, Trust, UserAgent};

use super::*;
use crate::cli::exit::{Exit, Failure};
use crate::cli::signals::Signals;

const PATIENCE: Duration = Duration::from_secs(20);

/// A user agent with a socket. Its service is behind `listener`.
struct Rig {
    directory: TempDir,
    listener: TcpListener,
    agent: UserAgent,
    control: Control,
    signals: Signals,
    _news: tokio::task::JoinHandle<()>,
}

impl Rig {
    async fn new() -> Self {
        Self::in_directory(TempDir::new().unwrap()).await
    }

    async fn in_directory(directory: TempDir) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("ws://{}/", listener.local_addr().unwrap());
        let server = ServerUrl::parse(&server).unwrap();
        let state = State::open(directory.path()).unwrap();
        let options = Options::default();
        let (agent, mut events) = UserAgent::start(server.clone(), Trust::system(), state, &options).unwrap();
        let control = Control::open(directory.path(), &agent, &server);
        Self {
            directory,
            listener,
            agent,
            control,
            signals: Signals::listen().unwrap(),
            _news: tokio::spawn(async move { while events.next().await.is_some() {} }),
        }
    }

    async fn connect(&self) -> UnixStream {
        let socket = SocketPath::of(self.directory.path()).unwrap();
        UnixStream::connect(&socket.path).await.unwrap()
    }

    async fn ask(&mut self, command: Command) -> Option<Result<Exit, Failure>> {
        let asked = ask(self.directory.path(), command, PATIENCE, &mut self.signals);
        tokio::time::timeout(PATIENCE, asked).await.unwrap()
    }
}

fn subscribe(name: &str, seconds: u64) -> Command {
    Command::Subscribe(Subscribe {
        name: name.to_owned(),
        application_server_key: None,
        server: None,
        transport: None,
        timeout_seconds: seconds,
    })
}

fn unsubscribe(name: &str) -> Command {
    Command::Unsubscribe(Unsubscribe {
        name: name.to_owned(),
        timeout_seconds: 20,
    })
}

/// Confirms all that one user agent asks for, until it goes.
async fn serve(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let key = head.lines().find_map(|line| {
        let is_key = line.to_ascii_lowercase().starts_with("sec-websocket-key:");
        is_key.then(|| line[18..].trim())
    });
    let mut digest = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key.unwrap().as_bytes());
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest.finish());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    let mut reader = FrameReader::new(Reader::Service, 1 << 20);
    let mut unread = Vec::new();
    loop {
        let mut said = None;
        let used = match reader.read(&mut unread) {
            Ok(Some((Incoming::Text(text), used))) => {
                said = Some(text.to_owned());
                used
            }
            Ok(Some((_, used))) => used,
            Ok(None) => 0,
            Err(error) => panic!("{error}"),
        };
        unread.drain(..used);
        if let Some(said) = said {
            let mut out = Vec::new();
            write_text(&mut out, None, |out| {
                out.extend_from_slice(answer_to(&said).as_bytes());
            });
            stream.write_all(&out).await.unwrap();
        } else if used == 0 && !matches!(stream.read_buf(&mut unread).await, Ok(1..)) {
            return;
        }
    }
}

fn answer_to(said: &str) -> String {
    let said: serde_json::Value = serde_json::from_str(said).unwrap();
    let name = &said["channelID"];
    match said["messageType"].as_str().unwrap() {
        "hello" => r#"{"messageType":"hello","uaid":"0123456789abcdef0123456789abcdef","status":200,"use_webpush":true}"#.into(),
        "register" => format!(
            r#"{{"messageType":"register","channelID":{name},"status":200,"pushEndpoint":"https://push.example.net/1"}}"#
        ),
        "unregister" => format!(r#"{{"messageType":"unregister","channelID":{name},"status":200}}"#),
        other => panic!("{other}"),
    }
}

/// PR-1: beside a running `listen`, commands subscribe and unsubscribe; what they did is kept.
#[tokio::test]
async fn commands_beside_listen() {
    let mut rig = Rig::new().await;
    let (stream, _) = rig.listener.accept().await.unwrap();
    let serving = tokio::spawn(serve(stream));
    assert!(matches!(
        rig.ask(subscribe("door", 20)).await,
        Some(Ok(Exit::Done))
    ));
    let kept = || user_agent_client::state::read(rig.directory.path()).unwrap();
    assert!(kept().subscription("door").unwrap().push_resource.is_some());
    let again = State::open(rig.directory.path());
    assert!(again.is_err(), "the directory is in use all the while");
    assert!(matches!(rig.ask(unsubscribe("door")).await, Some(Ok(Exit::Done))));
    let nothing = rig.ask(unsubscribe("door")).await.unwrap().unwrap_err();
    assert!(nothing.why.contains("door"), "{}", nothing.why);
    let bad = rig.ask(subscribe("a/b", 20)).await.unwrap().unwrap_err();
    assert_eq!(bad.exit, Exit::Usage);
    let mut other = subscribe("door", 20);
    if let Command::Subscribe(asked) = &mut other {
        asked.server = Some("wss://another.example".into());
    }
    let other = rig.ask(other).await.unwrap().unwrap_err();
    assert_eq!(other.exit, Exit::Usage);
    rig.agent.stop().await;
    serving.await.unwrap();
}

/// Who waits for a service that does not answer is told so, with the exit code of `subscribe`; and when `listen` ends
/// meanwhile, that.
#[tokio::test]
async fn who_waits_learns_why() {
    let mut rig = Rig::new().await;
    rig.control.report(&Event::Disconnected {
        why: "the service restarts".into(),
        again_in: Some(Duration::from_secs(1)),
    });
    let failure = rig.ask(subscribe("door", 1)).await.unwrap().unwrap_err();
    assert_eq!(failure.exit, Exit::Unreachable);
    assert!(
        failure
            .why
            .contains("the service restarts; connecting again in 1 s; stopped waiting after 1 s"),
        "{}",
        failure.why
    );

    let asking = ask(
        rig.directory.path(),
        subscribe("door", 60),
        PATIENCE,
        &mut rig.signals,
    );
    let (asked, ()) = tokio::join!(asking, async {
        // The connection is there when it is accepted, and is gone with the task.
        rig.control.close().await;
    });
    if let Some(asked) = asked {
        let failure = asked.unwrap_err();
        assert!(
            failure.why.contains("ended before it answered"),
            "{}",
            failure.why
        );
    }
    assert!(!rig.directory.path().join(SOCKET).exists());
    assert!(
        rig.ask(subscribe("door", 1)).await.is_none(),
        "`listen` has ended"
    );
}

/// PR-5: when the state cannot be written any more, a command that waits learns why, with the exit code of the state.
#[tokio::test]
async fn who_waits_learns_that_the_state_failed() {
    let mut rig = Rig::new().await;
    let mut stream = rig.connect().await;
    let request = Request {
        version: VERSION,
        command: subscribe("door", 60),
    };
    stream.write_all(to_line(&request).as_bytes()).await.unwrap();
    rig.control.report(&Event::Delayed);
    let mut stream = BufReader::new(stream);
    let waits = read_line(&mut stream).await.unwrap().unwrap();
    assert!(waits.starts_with("{\"says\":"), "{waits}");

    let missing = std::path::Path::new("/there/is/no/such/directory");
    let error = user_agent_client::state::read(missing).err().unwrap();
    let why = error.to_string();
    rig.control.report(&Event::Failed(error));
    rig.control.close().await;
    let answer = read_line(&mut stream).await.unwrap().unwrap();
    assert!(answer.starts_with(r#"{"failed":{"exit":3,"#), "{answer}");
    assert!(answer.contains(&why), "{answer}");
}

/// Connections that say nothing don't keep commands waiting, however many there are.
#[tokio::test]
async fn idle_connections_do_not_block_others() {
    let mut rig = Rig::new().await;
    let mut idle = Vec::new();
    for _ in 0..CONTROL_CONNECTIONS {
        idle.push(rig.connect().await);
    }
    // It asks for what is answered at once.
    let mut elsewhere = subscribe("door", 1);
    if let Command::Subscribe(asked) = &mut elsewhere {
        asked.server = Some("wss://another.example".into());
    }
    let failure = rig.ask(elsewhere).await.unwrap().unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    for mut idle in idle {
        assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
    }
    assert!(CONTROL_REQUEST_WITHIN < CONTROL_LINE_WITHIN);
}

/// The socket is its owner's, takes the place of a stale one and of nothing else, and works however long the path is. What is
/// asked in another version, or means nothing, is answered with a sentence.
#[tokio::test]
async fn the_socket() {
    let directory = TempDir::with_prefix("a-long-name-".repeat(12)).unwrap();
    assert!(directory.path().as_os_str().len() > 107);
    {
        // Left behind by a process that was killed.
        let stale = SocketPath::of(directory.path()).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&stale.path).unwrap());
    }
    let rig = Rig::in_directory(directory).await;
    let socket = rig.directory.path().join(SOCKET);
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for (line, sentence) in [
        ("{\"version\":2,\"command\":{\"fly\":{}}}\n", "version 1"),
        (
            "{\"version\":1,\"command\":{\"fly\":{}}}\n",
            "does not know this command",
        ),
        ("hello\n", "does not know this command"),
    ] {
        let mut stream = rig.connect().await;
        stream.write_all(line.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with(r#"{"failed":{"exit":2,"#) && answer.contains(sentence),
            "{answer}"
        );
    }
    // A line without an end is not read for ever.
    let mut stream = rig.connect().await;
    let long = vec![b'x'; usize::try_from(CONTROL_LINE_BYTES).unwrap()];
    let _ = stream.write_all(&long).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(answer.is_empty());

    rig.agent.stop().await;
    drop(rig.control);
    fs::write(&socket, "mine").unwrap();
    fs::set_permissions(&socket, Permissions::from_mode(0o644)).unwrap();
    let rig = Rig::in_directory(rig.directory).await;
    drop(rig.control);
    assert_eq!(fs::read(&socket).unwrap(), b"mine");
}
