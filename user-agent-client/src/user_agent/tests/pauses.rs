//! A process that is stopped for a while: a terminal's Ctrl-Z, a debugger, a machine that is too busy.

use std::io::{Read as _, Write as _};
use std::sync::mpsc;
use std::time::Instant;

use push_protocol::wire::frame::write_pong;

use super::*;

/// PR-48, WS-PNG-1: a process that was stopped until behind the deadline finds the answer in its socket. It is read before the
/// deadline is judged, and the channel is kept.
///
/// The process is this thread, on which the user agent runs too; the service has a thread of its own.
#[tokio::test(flavor = "current_thread")]
async fn what_is_readable_is_read_before_a_deadline_is_judged() {
    let within_ms = 200;
    let service = Service::start().await;
    let mut options = options();
    let limits = Arc::make_mut(&mut options.limits);
    limits.answer_within = Duration::from_millis(within_ms);
    limits.keepalive_least = Duration::from_millis(50);
    limits.keepalive_floor = Duration::from_millis(50);
    let (agent, mut events) =
        UserAgent::start(service.url(), Trust::system(), State::in_memory(), &options).unwrap();
    let (peer, _) = within("a channel", service.welcome(IDENTITY)).await;
    assert!(matches!(
        within("it is told", events.next()).await,
        Some(Event::Connected)
    ));

    let mut stream = peer.into_std();
    let (pinged, is_pinged) = tokio::sync::oneshot::channel();
    let (stops, is_stopped) = mpsc::channel::<()>();
    let (answered, is_answered) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let mut ping = [0; 6];
        stream.read_exact(&mut ping).unwrap();
        assert_eq!(ping[0], 0x89, "a ping without a payload");
        pinged.send(()).unwrap();
        is_stopped.recv().unwrap();
        let mut out = Vec::new();
        write_pong(&mut out, None, &[]);
        stream.write_all(&out).unwrap();
        answered.send(()).unwrap();
        stream
    });
    within("a ping", is_pinged).await.unwrap();
    let deadline = Instant::now() + Duration::from_millis(within_ms + 50);
    stops.send(()).unwrap();
    is_answered.recv().unwrap();
    while Instant::now() < deadline {
        std::thread::park_timeout(deadline - Instant::now());
    }
    // It goes on. Both are there now: the answer, and the time by which it was due.
    agent.counters().await;
    tokio::task::yield_now().await;
    agent.counters().await;
    let stream = thread.join().unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut channel = tokio::net::TcpStream::from_std(stream).unwrap();
    let mut frame = [0; 1];
    // The next ping, on the same channel; a channel that was given up says nothing more, or goodbye.
    within(
        "another ping",
        tokio::io::AsyncReadExt::read_exact(&mut channel, &mut frame),
    )
    .await
    .unwrap();
    assert_eq!(frame, [0x89]);
    within("the end", agent.stop()).await;
}
