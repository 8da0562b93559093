//! Messages are acknowledged.

use super::*;
use crate::defaults::{
    ACKNOWLEDGE_AGAIN_AFTER, ACKNOWLEDGED_TIMES, ACKNOWLEDGEMENTS, ACKNOWLEDGEMENTS_WAITING, ANSWER_WITHIN,
};

/// R30-ACK-1 to R30-ACK-3: each is a `DELETE` of the promised resource; one that is gone is done.
#[tokio::test]
async fn a_delete_each() {
    let (mut rig, _monitor) = Rig::monitoring().await;
    for status in [204, 404, 410, 200] {
        rig.acknowledge("/message/1?x=y");
        let asked = rig.asked_for(Method::DELETE, "/message/1?x=y").await;
        asked.answers(status, &[]);
        assert_eq!(rig.next().await, Incoming::SignOfLife);
        assert!(rig.channel.acknowledgements.is_empty(), "{status}");
    }
}

/// R30-ACK-5: what the service can't take now is sent again, after as long as it says, and given up in the end.
#[tokio::test(start_paused = true)]
async fn a_service_in_trouble() {
    let (mut rig, _monitor) = Rig::monitoring().await;
    rig.acknowledge("/message/1");
    let retries: [&[_]; 3] = [&[], &[("retry-after", "7")], &[]];
    let waits = [Duration::ZERO, ACKNOWLEDGE_AGAIN_AFTER, Duration::from_secs(7)];
    assert_eq!(retries.len(), ACKNOWLEDGED_TIMES as usize);
    for (retry, wait) in retries.into_iter().zip(waits) {
        let begin = Instant::now();
        let asked = rig.asked_for(Method::DELETE, "/message/1").await;
        assert!(begin.elapsed() >= wait && begin.elapsed() < wait + Duration::from_millis(100));
        asked.answers(503, retry);
        let heard = match retry {
            [] => Incoming::SignOfLife,
            _ => Incoming::AcknowledgementsWait(Duration::from_secs(7)),
        };
        assert_eq!(rig.next().await, heard);
    }
    assert!(rig.channel.acknowledgements.is_empty());
}

/// R30-ACK-5, R30-SUB-7: a service that says when it takes acknowledgements again hears none before, and that is told once,
/// with the time that is really waited: an hour is an hour, and a year is cut to the maximum.
#[tokio::test(start_paused = true)]
async fn a_service_that_wants_to_hear_none() {
    for (told, waited) in [("3600", 3_600), ("31536000", 86_400)] {
        let (mut rig, _monitor) = Rig::monitoring().await;
        rig.acknowledge("/message/1");
        rig.acknowledge("/message/2");
        let asked = [rig.asked().await, rig.asked().await];
        for asked in asked {
            asked.answers(503, &[("retry-after", told)]);
        }
        let waited = Duration::from_secs(waited);
        let begin = Instant::now();
        let mut heard = vec![rig.next().await];
        rig.acknowledge("/message/3");
        let mut paths = Vec::new();
        while paths.len() < 3 {
            tokio::select! {
                asked = rig.peer.asked() => {
                    assert!(begin.elapsed() >= waited);
                    assert!(begin.elapsed() < waited + Duration::from_secs(1));
                    paths.push(asked.path.clone());
                    asked.answers(204, &[]);
                }
                incoming = rig.channel.next() => heard.push(incoming),
            }
        }
        paths.sort();
        assert_eq!(paths, ["/message/1", "/message/2", "/message/3"]);
        heard.retain(|heard| *heard != Incoming::SignOfLife);
        assert_eq!(heard, [Incoming::AcknowledgementsWait(waited)]);
    }
}

/// R30-LB-4, PR-18: so many are under way at once, the others follow as answers come.
#[tokio::test]
async fn a_few_at_a_time() {
    let (mut rig, _monitor) = Rig::monitoring().await;
    for number in 0..2 * ACKNOWLEDGEMENTS {
        rig.acknowledge(&format!("/message/{number}"));
    }
    let mut asked = Vec::new();
    for _ in 0..ACKNOWLEDGEMENTS {
        asked.push(rig.asked().await);
    }
    rig.channel.ping();
    assert_eq!(rig.next().await, Incoming::SignOfLife);
    assert!(!rig.peer.asked_now());
    asked.into_iter().for_each(|asked| asked.answers(204, &[]));
    let mut answered = 0;
    while !rig.channel.acknowledgements.is_empty() {
        tokio::select! {
            asked = rig.peer.asked() => {
                asked.answers(204, &[]);
                answered += 1;
            }
            incoming = rig.channel.next() => assert_eq!(incoming, Incoming::SignOfLife),
        }
    }
    assert_eq!(answered, ACKNOWLEDGEMENTS);
}

/// PR-16: a service that pushes and doesn't answer acknowledgements is not listened to without bound, and not for ever.
#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_answer() {
    let (mut rig, mut monitor) = Rig::monitoring().await;
    for number in 0..ACKNOWLEDGEMENTS_WAITING + ACKNOWLEDGEMENTS {
        rig.acknowledge(&format!("/message/{number}"));
    }
    monitor.pushes("/message/more", 1, b"");
    let begin = Instant::now();
    // What comes before there are too many may be handed over.
    let ended = loop {
        match rig.next().await {
            Incoming::Pushed(_) => {}
            ended => break ended,
        }
    };
    assert_eq!(ended, Incoming::Ended(ChannelEnd::Lost));
    assert!(begin.elapsed() >= ANSWER_WITHIN && begin.elapsed() < 2 * ANSWER_WITHIN);
    let left = rig.channel.unacknowledged();
    assert_eq!(left.len(), ACKNOWLEDGEMENTS_WAITING + ACKNOWLEDGEMENTS);
}
