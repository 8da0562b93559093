//! Without a lie, the services of these tests are services: what fails in another test is due to its lie.

use push_tests::liar::{Step, http2, web_socket};
use push_tests::listener::Agent;

/// WS-HEL-1, PR-1: the service on the WebSocket subscribes, delivers, hears acknowledgements, and delivers again what it has
/// not heard one of.
#[tokio::test]
async fn on_the_web_socket() {
    let liar = web_socket::Liar::start(web_socket::Lies::default()).await;
    let agent = Agent::of(&liar.url());
    let subscription = agent.subscribe("door", &[]).await;
    liar.pushes(&subscription, "1", "waited");
    let mut listener = agent.listen(&[]);
    listener.receives("door", "waited").await;
    liar.record().shows_acknowledged("1").await;
    liar.closes(1001, "");
    liar.pushes(&subscription, "2", "on the next channel");
    listener.receives("door", "on the next channel").await;
    liar.record().shows_acknowledged("2").await;
    assert_eq!(liar.unacknowledged(), 0);
    assert_eq!(liar.record().count(|step| *step == Step::Subscribed), 1);
    listener.terminate();
    assert!(listener.ended().await.success());
    assert_eq!(agent.try_unsubscribe("door").await.code, Some(0));
}

/// R30-SUB-1, R30-MON-2, R30-ACK-1: the service over HTTP/2 does the same.
#[tokio::test]
async fn over_http2() {
    let liar = http2::Liar::start(http2::Lies::default()).await;
    let agent = Agent::of(&liar.url());
    let subscription = agent.subscribe("door", &[]).await;
    liar.pushes(&subscription, "1", "waited");
    let mut listener = agent.listen(&[]);
    listener.receives("door", "waited").await;
    liar.record().shows_acknowledged("1").await;
    liar.breaks();
    liar.pushes(&subscription, "2", "on the next channel");
    listener.receives("door", "on the next channel").await;
    liar.record().shows_acknowledged("2").await;
    assert_eq!(liar.record().count(|step| *step == Step::Subscribed), 1);
}
