//! What an idle connection costs.

use std::fs;
use std::io::{Read, Write};
use std::mem::size_of;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Directory, TlsStream, acceptor, localhost, peer_config};

const CONNECTIONS: usize = 2_000;

/// Resident memory per idle connection beyond a bare task with a socket, in bytes. Source: the 6 KB of an idle TLS
/// WebSocket, less its session.
const BUDGET_BYTES: usize = 4_600;

/// For the process that plays the peers: where to connect, and the certificate to trust.
const ADDRESS: &str = "PUSH_SERVICE_TEST_TLS_ADDRESS";
const CERTIFICATE: &str = "PUSH_SERVICE_TEST_TLS_CERTIFICATE";

#[test]
fn a_stream_is_small() {
    // A task that owns a stream stays small: rustls's state is behind a pointer, and the buffers are elsewhere.
    assert!(size_of::<TlsStream>() <= 176, "{} bytes", size_of::<TlsStream>());
}

#[tokio::test]
async fn an_idle_connection_stays_within_its_budget() {
    // Two thousand connections that have exchanged a message each way cost little more than their keys.
    let directory = Directory::new();
    let acceptor = acceptor(&directory);
    let clear = measure(&directory.certificate(), None).await;
    let encrypted = measure(&directory.certificate(), Some(&acceptor)).await;
    let cost = encrypted.saturating_sub(clear);
    println!("idle: {clear} bytes in clear, {encrypted} bytes over TLS, {cost} bytes for TLS");
    assert!(cost <= BUDGET_BYTES, "TLS costs {cost} bytes per idle connection");
}

/// Resident bytes per connection after one message each way, all of them waiting for the next.
async fn measure(certificate: &Path, acceptor: Option<&super::Acceptor>) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let name = if acceptor.is_some() {
        "encrypted_peers"
    } else {
        "clear_peers"
    };
    let mut peers = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("tls::tests::memory::{name}"), "--ignored"])
        .env(ADDRESS, address.to_string())
        .env(CERTIFICATE, certificate)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut tasks = JoinSet::new();
    let (mut warm, mut greeted) = (0, 0);
    while greeted < CONNECTIONS {
        let (mut stream, _) = listener.accept().await.unwrap();
        match acceptor {
            None => {
                greet(&mut stream).await;
                tasks.spawn(wait(stream));
            }
            Some(acceptor) => {
                let mut stream = acceptor.accept(stream).await.unwrap();
                greet(&mut stream).await;
                tasks.spawn(wait(stream));
            }
        }
        greeted += 1;
        if greeted == WARM_UP {
            warm = resident_bytes();
        }
    }
    tokio::task::yield_now().await;
    let cost = (resident_bytes() - warm) / (CONNECTIONS - WARM_UP);
    drop(peers.stdin.take());
    while tasks.join_next().await.is_some() {}
    assert!(peers.wait().unwrap().success());
    cost
}

/// Connections before the count begins: what is allocated once is not theirs.
const WARM_UP: usize = 200;

async fn greet<S: AsyncReadExt + AsyncWriteExt + Unpin>(stream: &mut S) {
    let mut message = [0; 100];
    stream.read_exact(&mut message).await.unwrap();
    stream.write_all(&message).await.unwrap();
    stream.flush().await.unwrap();
}

async fn wait<S: AsyncReadExt + Unpin>(mut stream: S) {
    // The peers end by going away.
    let _ = stream.read_u8().await;
}

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1_024
}

#[test]
#[ignore = "plays the peers of the memory test, in a process of its own"]
fn clear_peers() {
    play(|mut socket| {
        exchange(&mut socket);
        socket
    });
}

#[test]
#[ignore = "plays the peers of the memory test, in a process of its own"]
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
        return; // Run by hand: there is nobody to talk to.
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
