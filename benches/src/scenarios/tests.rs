//! The scenarios against a fake service: in this process, and as wrong as a test wants it to be.

use super::fake::{Fake, Wrong};
use super::*;
use crate::application_server::Vapid;
use crate::connector::Transport;
use crate::scenarios::absent::Absent;
use crate::scenarios::connect::Connect;
use crate::scenarios::throughput::{Mode, Throughput};
use crate::target::Target;

const SMALL: Throughput = Throughput {
    mode: Mode::Closed,
    vapid: Vapid::Reused,
    user_agents: 5,
    senders: 3,
    messages: 80,
    rate: 2_000.0,
    over: Transport::WebSocket,
    over_tls: false,
    receipts: false,
};

const FEW: Absent = Absent {
    user_agents: 7,
    messages_each: 3,
    senders: 4,
    vapid: Vapid::None,
};

async fn target(wrong: Wrong) -> Target {
    Target::within_this_process(Fake::start(wrong).await)
}

/// A service that does its work gets figures, in every mode and with every sender.
#[tokio::test]
async fn what_works_is_measured() {
    let target = target(Wrong::Nothing).await;
    for (mode, vapid) in [
        (Mode::Closed, Vapid::Fresh),
        (Mode::Closed, Vapid::None),
        (Mode::Open, Vapid::Reused),
    ] {
        let options = Throughput { mode, vapid, ..SMALL };
        let delivered = options.run(&target).await.unwrap();
        assert!(delivered.figures().iter().all(|(_, value)| *value > 0.0));
        assert!(
            delivered.to_string().contains("80 messages to 5 user agents"),
            "{delivered}"
        );
    }
    let returned = FEW.run(&target).await.unwrap();
    assert!(returned.to_string().contains("21 messages"), "{returned}");
    let connect = Connect {
        user_agents: 10,
        over_tls: false,
    };
    connect.run(&target).await.unwrap();
}

/// A service that breaks its promise gets no figure, and is told how it broke it.
#[tokio::test]
async fn what_is_wrong_fails() {
    for (wrong, expected) in [
        (Wrong::Twice, "arrived twice"),
        (Wrong::Harmed, "changed on its way"),
        (Wrong::Elsewhere, "another subscription"),
        (Wrong::Refused, "answered 503"),
        (Wrong::KeptAfterAck, "offered again"),
    ] {
        let told = SMALL
            .run(&target(wrong).await)
            .await
            .err()
            .map(|failure| failure.to_string());
        assert!(
            told.as_ref().is_some_and(|told| told.contains(expected)),
            "{wrong:?}: {told:?}"
        );
    }
}

/// A message that never comes is missed, and the run ends.
#[tokio::test(start_paused = true)]
async fn what_is_lost_is_missed() {
    let target = target(Wrong::Lost).await;
    let failure = FEW.run(&target).await.err().map(|failure| failure.to_string());
    assert!(
        failure
            .as_ref()
            .is_some_and(|told| told.contains("did not arrive")),
        "{failure:?}"
    );
}
