//! A user agent behind proxies that close what is idle: it learns how long each can be silent, and loses one channel for it.
//!
//! The user agent runs in this process, because its limits are divided by the same factor as the proxies' are: an hour passes
//! in a few minutes. `PROXIES_FACTOR=1 PROXIES_SECONDS=3600` takes the true ones.

use std::sync::Arc;
use std::time::Duration;

use push_tests::application_server::{Http, Push};
use push_tests::node::Node;
use push_tests::proxy::{Kind, Proxy, ProxyAddress};
use push_tests::recipient::Recipient;
use push_tests::settings::Settings;
use push_tests::within;
use tokio::time::{Instant, timeout_at};
use user_agent_client::user_agent::Limits;
use user_agent_client::{Event, Events, Options, ServerUrl, State, Trust, UserAgent, defaults};

/// How much faster time passes. Chosen: a user agent then pings every 5.6 s, and the service closes the channel of one that
/// pings more often than every 5 s.
const FACTOR: u32 = 8;

/// How long it is watched. Chosen: five idle times of the proxies, so as many lost channels without learning.
const WATCHED: Duration = Duration::from_secs(35);

/// Channels that may be lost: the one from which it is learned.
const LOST: usize = 1;

/// How the user agent talks.
#[derive(Clone, Copy, Debug)]
enum Over {
    WebSocket,
    /// Which becomes Server-Sent Events behind a proxy that drops server push.
    Http2,
}

impl Over {
    /// The factor that is possible: the service says something on a stream of events every 25 s, and a proxy waits for 30 s
    /// with half of its time.
    fn possible(self, factor: u32) -> u32 {
        match self {
            Self::WebSocket => factor,
            Self::Http2 => factor.min(2),
        }
    }
}

/// PR-48: behind nginx, HAProxy and caddy with their default idle times, a user agent loses one channel at most.
#[tokio::test(flavor = "multi_thread")]
async fn idle_channels_are_kept_behind_proxies() {
    let factor =
        number("PROXIES_FACTOR").map_or(FACTOR, |factor| u32::try_from(factor).expect("a small number"));
    let watched = number("PROXIES_SECONDS").map_or(WATCHED, Duration::from_secs);
    let rows = [
        (Kind::Nginx, Over::WebSocket),
        (Kind::HaProxy, Over::WebSocket),
        (Kind::Caddy, Over::WebSocket),
        (Kind::Nginx, Over::Http2),
    ];
    let running: Vec<_> = rows
        .map(|(kind, over)| {
            let factor = over.possible(factor);
            let lost = tokio::spawn(lost_behind(kind, over, factor, watched));
            (kind, over, factor, lost)
        })
        .into();
    let mut all_is_well = true;
    for (kind, over, factor, lost) in running {
        let lost = lost.await.expect("the user agent is there to the end");
        println!(
            "{kind:?}, {over:?}: {} lost in {} s, {factor} times as fast: {lost:?}",
            lost.len(),
            watched.as_secs()
        );
        all_is_well &= lost.len() <= LOST;
    }
    assert!(all_is_well, "more than {LOST} channel was lost behind a proxy");
}

/// Listens behind a proxy, with nothing to say; when and why each channel was lost. In the end a message has to arrive.
async fn lost_behind(kind: Kind, over: Over, factor: u32, watched: Duration) -> Vec<(Duration, String)> {
    let own = ProxyAddress::own();
    let (scheme, address) = match over {
        Over::WebSocket => ("ws", own.http1()),
        Over::Http2 => ("http", own.http2()),
    };
    let node = Node::start(Settings::new().set("public_url", format!("http://{address}"))).await;
    let proxy = Proxy::start(kind, own, node.connector().address, factor).await;
    let server = ServerUrl::parse(&format!("{scheme}://{address}/")).expect("a URL");
    let options = Options {
        limits: Arc::new(limits(factor)),
        ..Options::default()
    };
    let (agent, mut events) =
        UserAgent::start(server, Trust::system(), State::in_memory(), &options).expect("a new state");
    let subscription = within("the service confirms", agent.subscribe("door", None)).await;
    let subscription = subscription
        .expect("a subscription")
        .to_json()
        .expect("confirmed");
    let lost = lost_until(&mut events, Instant::now() + watched).await;

    let recipient = Recipient::read(&subscription);
    let mut http = Http::connect(&node.connector()).await.expect("the node listens");
    let push = Push::new(&recipient.push_resource, "").body(recipient.encrypt("still there"));
    assert_eq!(http.push(&push).await.status, 201);
    within("the message arrives", async {
        while let Some(event) = events.next().await {
            if let Event::Message(message) = event {
                message.acknowledge();
                return;
            }
        }
        panic!("the user agent ended");
    })
    .await;
    agent.stop().await;
    drop(proxy);
    lost
}

async fn lost_until(events: &mut Events, end: Instant) -> Vec<(Duration, String)> {
    let begun = Instant::now();
    let mut lost = Vec::new();
    // Running out is how it ends.
    while let Ok(event) = timeout_at(end, events.next()).await {
        if let Event::Disconnected { why, .. } = event.expect("the user agent goes on") {
            lost.push((begun.elapsed(), why));
        }
    }
    lost
}

/// The limits of the command, with shorter silences. What an answer may take is not divided: it is no matter of proxies.
fn limits(factor: u32) -> Limits {
    Limits {
        keepalive_least: defaults::KEEPALIVE_LEAST / factor,
        keepalive_most: defaults::KEEPALIVE_MOST / factor,
        steady_after: defaults::STEADY_AFTER / factor,
        ..defaults::limits()
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}
