//! The exposition as an operator reads it.

use super::*;

/// Each method moves the line that an operator's dashboard reads.
#[test]
fn every_count_appears_in_the_exposition() {
    let metrics = Metrics::new();
    metrics.accepted(Accepted::Stored);
    metrics.delivered(Some(Duration::from_micros(300)));
    metrics.acknowledged(Some(Duration::from_secs(2)));
    metrics.undelivered(Undelivered::Undecryptable);
    metrics.nacked(Nack::Rejection);
    metrics.removed(Removed::Evicted, 3);
    metrics.refused(Refused::QueueFull);
    metrics.throttled(Budget::Sender);
    metrics.connection(Listener::Tls, Connection::Opened);
    metrics.cut(Cut::Excess);
    metrics.subscription_created();
    metrics.subscription_ended();
    metrics.request(Resource::Push, Duration::from_millis(1));
    metrics.storage_step(Step::Enqueue, Duration::from_millis(1));
    metrics.storage_error(&StorageError::Full);
    metrics.capability_opened(1);
    metrics.capability_opened(99);
    metrics.vapid_cache(Cache::Miss);
    metrics.usage(Usage {
        messages: 5,
        bytes: 600,
        user_agents: 2,
    });
    let text = metrics.render();
    let lines = [
        "messages_accepted_total{outcome=\"stored\"} 1",
        "messages_accepted_total{outcome=\"passed\"} 0",
        "messages_delivered_total 1",
        "messages_acknowledged_total 1",
        "messages_undelivered_total{reason=\"undecryptable\"} 1",
        "messages_nacked_total{code=\"302\"} 1",
        "messages_removed_total{reason=\"evicted\"} 3",
        "requests_refused_total{reason=\"queue_full\"} 1",
        "throttled_total{budget=\"sender\"} 1",
        "connections{listener=\"tls\"} 1",
        "connections_opened_total{listener=\"tls\"} 1",
        "connections_cut_total{reason=\"excess\"} 1",
        "connections_cut_total{reason=\"stalled\"} 0",
        "subscriptions_created_total 1",
        "subscriptions_ended_total 1",
        "delivery_wait_seconds_bucket{le=\"0.0005\"} 1",
        "acknowledgement_wait_seconds_count 1",
        "request_duration_seconds_count{resource=\"push\"} 1",
        "storage_step_duration_seconds_count{step=\"enqueue\"} 1",
        "storage_errors_total{kind=\"full\"} 1",
        "capability_opens_total{key=\"1\"} 1",
        "capability_opens_total{key=\"15\"} 1",
        "vapid_cache_total{outcome=\"miss\"} 1",
        "queue_messages 5",
        "queue_bytes 600",
        "user_agents 2",
    ];
    for line in lines {
        assert!(
            text.contains(&format!("\npush_service_{line}\n")),
            "{line}\n{text}"
        );
    }
    assert!(text.contains("push_service_build_info{version="));
}

/// Prometheus compares the clock with its own.
#[test]
fn the_clock_is_in_the_text() {
    let text = Metrics::new().render();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("push_service_time_seconds "));
    let told: f64 = line.and_then(|told| told.parse().ok()).expect("a number");
    let now = UNIX_EPOCH
        .elapsed()
        .expect("the clock is after 1970")
        .as_secs_f64();
    assert!((now - told).abs() < 10.0, "{told}, {now}");
}

/// The keys that send most have a line each, and without any there is no line.
#[test]
fn the_keys_that_send_most_have_a_line() {
    assert_eq!(Metrics::render_senders([]), "");
    let text = Metrics::render_senders([("00000000000000ab".to_owned(), 7), ("cd".to_owned(), 1)]);
    for line in [
        "# TYPE push_service_sender_pushes_total counter",
        "push_service_sender_pushes_total{sender=\"00000000000000ab\"} 7",
        "push_service_sender_pushes_total{sender=\"cd\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{text}");
    }
}

/// A certificate that does not exist has no line: 0 would raise an alert, because it is long ago.
#[test]
fn certificates_have_a_line_while_there_are_any() {
    let metrics = Metrics::new();
    assert!(!metrics.render().contains("certificate_expiry"));
    let line =
        |which| format!("\npush_service_certificate_expiry_timestamp_seconds{{certificate=\"{which}\"}} ");
    let later = |secs| Some(UNIX_EPOCH + Duration::from_secs(secs));
    metrics.certificate_expiry(Certificate::Service, later(5));
    metrics.certificate_expiry(Certificate::Directory, None);
    let text = metrics.render();
    assert!(text.contains(&format!("{}5\n", line("service"))), "{text}");
    assert!(!text.contains(&line("directory")));
    metrics.certificate_expiry(Certificate::Service, later(4_000_000_000));
    metrics.certificate_expiry(Certificate::Directory, later(6));
    let text = metrics.render();
    assert!(
        text.contains(&format!("{}4000000000\n", line("service"))),
        "{text}"
    );
    assert!(text.contains(&format!("{}6\n", line("directory"))), "{text}");
    metrics.certificate_expiry(Certificate::Directory, None);
    assert!(!metrics.render().contains(&line("directory")));
}

/// What opened and what closed never drift apart: the gauge is their difference.
#[test]
fn open_channels_are_those_opened_less_those_closed() {
    let metrics = Metrics::new();
    metrics.channel(ChannelKind::WebSocket, Channel::Opened);
    metrics.channel(ChannelKind::Http2, Channel::Opened);
    metrics.channel(ChannelKind::WebSocket, Channel::Closed(Closed::Drain));
    assert_eq!(metrics.open_channels(), 1);
    let text = metrics.render();
    assert!(text.contains("push_service_channels{kind=\"websocket\"} 0"));
    assert!(text.contains("push_service_channels_closed_total{reason=\"drain\"} 1"));
}

/// A label's number is its place in the set, for every set: the arrays are found by it.
#[test]
fn labels_are_numbered_by_their_place() {
    fn check<L: Label + PartialEq + std::fmt::Debug>() {
        for (place, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), place, "{label:?}");
            assert_eq!(
                L::ALL
                    .iter()
                    .filter(|other| other.as_str() == label.as_str())
                    .count(),
                1
            );
        }
    }
    check::<Refused>();
    check::<Closed>();
    check::<Removed>();
    check::<Step>();
    check::<Certificate>();
}

/// Two services in one process, as in tests, do not meet in a global registry.
#[test]
fn every_instance_counts_for_itself() {
    let (one, other) = (Metrics::new(), Metrics::new());
    one.delivered(None);
    assert!(one.render().contains("messages_delivered_total 1"));
    assert!(other.render().contains("messages_delivered_total 0"));
}
