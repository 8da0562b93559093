//! Several subscriptions of one user agent: neither their ids nor their troubles get mixed up.

use push_tests::liar::{Step, web_socket};
use push_tests::listener::Agent;

/// Messages of a subscription that fails or is slow. Chosen: more than a user agent holds (256).
const MANY: usize = 400;

/// PR-46: a service whose versions are unique for each channel gives two messages one id. Both are handed over, and both are
/// acknowledged.
#[tokio::test]
async fn equal_ids_of_two_subscriptions_are_two_messages() {
    let liar = web_socket::Liar::start(web_socket::Lies::default()).await;
    let agent = Agent::of(&liar.url());
    let connector = agent.subscribe("door", &[]).await;
    let window = agent.subscribe("window", &[]).await;
    liar.pushes(&connector, "1", "at the door");
    liar.pushes(&window, "1", "at the window");
    let mut listener = agent.listen(&[]);
    listener.receives("door", "at the door").await;
    listener.receives("window", "at the window").await;
    let acknowledged = |step: &Step| matches!(step, Step::Acknowledged { .. });
    liar.record().shows("two acknowledgements", 2, acknowledged).await;
    listener.terminate();
    assert!(listener.ended().await.success());
}

/// Waits for the message of the healthy subscription, and counts those of the other before it.
async fn before_the_healthy_one(handler: &str) -> usize {
    let liar = web_socket::Liar::start(web_socket::Lies::default()).await;
    let agent = Agent::of(&liar.url());
    let (ill, healthy) = (
        agent.subscribe("ill", &[]).await,
        agent.subscribe("healthy", &[]).await,
    );
    for number in 0..MANY {
        liar.pushes(&ill, &format!("ill-{number}"), "ill");
    }
    liar.pushes(&healthy, "healthy", "well");
    // With so many attempts, the waits between them grow to hours.
    let mut listener = agent.listen(&["--exec", handler, "--attempts", "20"]);
    let mut before = 0;
    let arrived = async {
        loop {
            if listener.message().await["subscription"] == "healthy" {
                return;
            }
            before += 1;
        }
    };
    push_tests::within("the healthy subscription is served", arrived).await;
    listener.terminate();
    listener.ended().await;
    before
}

/// PR-46: 400 messages of a subscription whose handler fails don't hold up another one.
#[tokio::test]
async fn a_broken_subscription_holds_up_no_other() {
    before_the_healthy_one(r#"cat >/dev/null; [ "$PUSH_SUBSCRIPTION" = healthy ]"#).await;
}

/// PR-46: 400 messages of a slow subscription don't delay another one: they take turns.
#[tokio::test]
async fn a_slow_subscription_delays_no_other() {
    let slow = r#"cat >/dev/null; [ "$PUSH_SUBSCRIPTION" = healthy ] || sleep 0.05"#;
    let before = before_the_healthy_one(slow).await;
    assert!(before <= MANY / 4, "{before} messages of the slow one came first");
}
