//! RFC 8030 as user agents and application servers meet it: HTTP, with server push for those that monitor.
//!
//! Every case runs on embedded storage, on one Redis and on a Redis Cluster. On the latter the user agent, the sender and
//! those that wait for receipts are each at a node of their own (see [`world`]): what is right at one node has to be right
//! across three.
//!
//! In the order of the RFC:
//!
//! - [`subscribing`]: POST to the service (§4).
//! - [`monitoring`], [`delivering`]: what is pushed, to whom, and when the request is answered (§5.3, §6).
//! - [`windows`]: what the user agent's HTTP/2 connection takes, and what becomes of the rest.
//! - [`events`]: the same as Server-Sent Events, for user agents without server push.
//! - [`waiting`]: times to live and topics (§5.2, §5.4).
//! - [`acknowledging`], [`receipts`]: DELETE, and what the sender hears of it (§5.1, §6.2, §6.3).
//! - [`ending`]: what becomes of the rest when something ends (§7.3).
//! - [`leaving`]: what becomes of all that when a node goes.
//! - [`methods`]: what a resource answers to other methods, and to pages.

mod acknowledging;
mod delivering;
mod ending;
mod events;
mod leaving;
mod methods;
mod monitoring;
mod receipts;
mod subscribing;
mod waiting;
mod windows;
mod world;

/// Makes a test of every case on every storage.
macro_rules! suite {
    ($($themes:tt)*) => {
        tests!(embedded, Embedded, $($themes)*);
        tests!(redis, Redis, $($themes)*);
        tests!(cluster, Cluster, $($themes)*);
    };
}

/// Makes a test of every case on one storage.
macro_rules! tests {
    ($name:ident, $storage:ident, $($theme:ident: [$($case:ident),* $(,)?],)*) => {
        mod $name {
            $($(
                #[tokio::test]
                async fn $case() {
                    super::$theme::$case(super::world::Storage::$storage).await;
                }
            )*)*
        }
    };
}

suite! {
    subscribing: [
        a_subscription_is_three_urls,
        a_set_is_kept,
        what_is_no_set,
        a_subscription_may_be_restricted,
        options_are_read_with_care,
        a_secret_admits,
    ],
    delivering: [
        a_message_is_one_push,
        content_comes_as_it_was_sent,
        nothing_else_is_forwarded,
        a_set_tells_subscriptions_apart,
    ],
    monitoring: [
        what_waited_comes_when_monitoring_resumes,
        no_wait_is_once_through,
        a_wait_has_an_end,
        urgency_is_a_threshold,
        the_newest_monitor_wins,
        monitors_of_one_connection_share,
        a_poll_takes_over_and_gives_up_at_once,
        a_newer_monitor_takes_the_place,
        who_takes_no_push_is_told,
    ],
    windows: [
        the_peers_streams_are_the_window,
        a_refused_push_comes_with_the_next_request,
        a_closed_window_loses_nothing,
    ],
    events: [
        a_message_is_an_event,
        events_end_with_a_reason,
        pages_may_listen,
        the_urgent_comes_first_and_the_rest_later,
    ],
    waiting: [
        what_expired_was_never_there,
        no_time_to_live_is_now_or_never,
        a_topic_replaces_what_waits,
        a_topic_replaces_what_was_pushed,
    ],
    acknowledging: [
        an_acknowledged_message_is_gone_everywhere,
        an_acknowledgement_frees_the_window,
        a_sender_takes_its_message_back,
    ],
    receipts: [
        a_receipt_is_promised,
        a_receipt_subscription_is_kept,
        an_acknowledgement_becomes_a_receipt,
        receipts_wait_to_be_monitored,
        a_message_taken_back_fails,
        an_expired_message_fails,
        a_message_that_made_room_fails,
        messages_of_an_ended_subscription_fail,
        a_replaced_message_says_nothing,
        a_receipt_subscription_ends,
        a_message_without_time_is_confirmed,
        receipts_come_as_events,
    ],
    ending: [
        a_subscription_ends,
        a_set_ends_with_all_that_is_in_it,
        who_monitors_what_ends_is_told,
        what_never_was_is_not_there,
        a_url_allows_one_thing,
    ],
    leaving: [
        a_node_that_leaves_answers_its_monitors,
        a_killed_node_takes_nothing_along,
    ],
    methods: [
        a_look_says_what_is_there,
        a_wrong_method_is_told_the_right_ones,
        pages_may_ask,
        answers_say_where_else_the_service_is,
    ],
}
