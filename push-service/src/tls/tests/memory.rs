//! What an idle connection costs.

use std::fs;
use std::io::{Read, Write};
use std::mem::size_of;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Directory, TlsStream, acceptor, localhost, peer_config};

const CONNECTIONS: usize = 2_000;

/// Resident memory per idle connection beyond a bare task with a socket, in bytes. Source: 3,420 were measured, and an
/// idle TLS WebSocket should have 5,000 with its session and socket, which measure 1,210.
const BUDGET_BYTES: usize = 3_700;

/// For the process that plays the peers: where to connect, and the certificate to trust.
const ADDRESS: &str = "PUSH_SERVICE_TEST_TLS_ADDRESS";
const CERTIFICATE: &str = "PUSH_SERVICE_TEST_TLS_CERTIFICATE";

/// Stands before the figure in what a measuring process prints.
const FIGURE: &str = "bytes per connection: ";

#[test]
fn a_stream_is_small() {
    // A task that owns a stream stays small: rustls's state is behind a pointer, and the buffers are elsewhere.
    assert!(size_of::<TlsStream>() <= 176, "{} bytes", size_of::<TlsStream>());
}

#[test]
fn an_idle_connection_stays_within_its_budget() {
    // Two thousand connections that have exchanged a message each way cost little more than their keys.
    let (clear, encrypted) = (figure("clear_service"), figure("encrypted_service"));
    let cost = encrypted.saturating_sub(clear);
    println!("idle: {clear} bytes in clear, {encrypted} bytes over TLS, so {cost} bytes for TLS");
    assert!(cost <= BUDGET_BYTES, "TLS costs {cost} bytes per idle connection");
}

/// Measures in a process of its own, so that the memory of other tests is not counted, nor reused.
fn figure(role: &str) -> usize {
    let output = play_role(role).stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, rest) = text.split_once(FIGURE).expect("a figure is printed");
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

/// This program again, as one of the roles below.
fn play_role(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        &format!("tls::tests::memory::{role}"),
        "--ignored",
        "--nocapture",
    ]);
    command
}

#[tokio::test]
#[ignore = "a role in the memory test, in a process of its own"]
async fn clear_service() {
    let directory = Directory::new();
    measure(directory.certificate(), "clear_peers", async |socket| socket).await;
}

#[tokio::test]
#[ignore = "a role in the memory test, in a process of its own"]
async fn encrypted_service() {
    let directory = Directory::new();
    let acceptor = acceptor(&directory);
    let encrypt = async |socket| acceptor.accept(socket).await.unwrap();
    measure(directory.certificate(), "encrypted_peers", encrypt).await;
}

/// Prints the resident bytes per connection after one message each way, all of them waiting for the next.
async fn measure<S>(certificate: PathBuf, peers: &str, wrap: impl AsyncFn(TcpStream) -> S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peers = play_role(peers)
        .env(ADDRESS, listener.local_addr().unwrap().to_string())
        .env(CERTIFICATE, certificate)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut tasks = JoinSet::new();
    let mut warm = 0;
    for connection in 0..CONNECTIONS {
        if connection == WARM_UP {
            warm = resident_bytes();
        }
        let mut stream = wrap(listener.accept().await.unwrap().0).await;
        greet(&mut stream).await;
        tasks.spawn(wait(stream));
    }
    tokio::task::yield_now().await;
    println!("{FIGURE}{}", (resident_bytes() - warm) / (CONNECTIONS - WARM_UP));
    drop(peers.stdin.take());
    while tasks.join_next().await.is_some() {}
    assert!(peers.wait().unwrap().success());
}

/// Connections before the count begins: what is allocated once is not theirs.
const WARM_UP: usize = 200;

async fn greet<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let mut message = [0; 100];
    stream.read_exact(&mut message).await.unwrap();
    stream.write_all(&message).await.unwrap();
    stream.flush().await.unwrap();
}

async fn wait<S: AsyncRead + Unpin>(mut stream: S) {
    // The peers end by going away.
    let _ = stream.read_u8().await;
}

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1_024
}

#[test]
#[ignore = "a role in the memory test, in a process of its own"]
fn clear_peers() {
    play(|mut socket| {
        exchange(&mut socket);
        socket
    });
}

#[test]
#[ignore = "a role in the memory test, in a process of its own"]
fn encrypted_peers() {
    let config = std::env::var(CERTIFICATE).map(|file| Arc::new(peer_config(Path::new(&file), &[&TLS13])));
    play(|socket| {
        let config = Arc::clone(config.as_ref().unwrap());
        let mut stream =
            rustls::StreamOwned::new(ClientConnection::new(config, localhost()).unwrap(), socket);
        exchange(&mut stream);
        stream
    });
}

/// Connects again and again, and holds all of it until standard input ends.
fn play<S>(connect: impl Fn(StdStream) -> S) {
    let Ok(address) = std::env::var(ADDRESS) else {
        return; // Run by hand: there is no parent process to talk to.
    };
    let address: SocketAddr = address.parse().unwrap();
    let held: Vec<S> = (0..CONNECTIONS)
        .map(|_| connect(StdStream::connect(address).unwrap()))
        .collect();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(held);
}

fn exchange(stream: &mut (impl Read + Write)) {
    let mut message = [7; 100];
    stream.write_all(&message).unwrap();
    stream.flush().unwrap();
    stream.read_exact(&mut message).unwrap();
}
