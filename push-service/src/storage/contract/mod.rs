//! The contract suite: cases that every storage has to pass.
//!
//! A storage instantiates it with `suite!(open)`, where `open` is an async function that gives a fresh [`Rig`]: the
//! storage, empty, with a clock that the test moves and an announcer that records. Each case becomes a test of its own.
//! A case opens with the sentence that it proves and the rules behind it.

pub(crate) mod budgets;
pub(crate) mod endings;
pub(crate) mod expiry;
pub(crate) mod message_ends;
pub(crate) mod model;
pub(crate) mod moving;
pub(crate) mod passing;
pub(crate) mod queues;
pub(crate) mod receipts;
pub(crate) mod removals;
pub(crate) mod reports;
mod rig;
pub(crate) mod seats;
pub(crate) mod senders;
pub(crate) mod subscriptions;

pub(crate) use rig::{
    Announcements, Rig, bodies, enqueue, everything, ids, name, seat, subscribe, topic, user_agent,
};

/// Hands `$then!` every case that holds for all storages.
macro_rules! common_cases {
    ($then:ident, $open:expr) => {
        $crate::storage::contract::$then! { $open,
            subscriptions: [
                a_registered_name_keeps_its_subscription,
                a_limit_on_subscriptions_refuses_only_new_names,
                an_ended_subscription_is_never_delivered,
                a_name_registered_again_is_another_subscription,
                nothing_is_written_for_a_stranger,
                a_record_stays_while_its_seat_is_held,
                a_report_shows_what_waits_and_nothing_else,
                the_sealing_key_in_use_must_stay,
            ],
            queues: [
                messages_come_in_the_order_of_acceptance,
                an_accepted_message_comes_back_whole,
                only_the_whole_id_names_a_message,
                an_acknowledgement_is_idempotent_and_final,
                a_page_is_bounded_and_says_where_it_ends,
                a_page_skips_what_is_not_urgent_enough,
                a_page_keeps_to_its_scope,
                a_message_replaces_the_one_of_its_topic,
                topics_do_not_reach_across_subscriptions,
                a_message_without_topic_replaces_nothing,
                a_replaced_message_cannot_be_acknowledged,
                concurrent_messages_of_one_topic_leave_one,
            ],
            seats: [
                attach_takes_the_seat_and_reads_the_head,
                a_page_is_for_the_holder_of_the_seat,
                a_free_seat_is_taken_by_a_read,
                only_the_holder_releases,
                the_seat_is_told_of_each_stored_message,
                the_seat_is_told_what_others_removed,
                the_seat_is_told_what_was_replaced_or_expired,
                a_message_with_ttl_zero_passes_by,
                a_message_with_ttl_zero_replaces_its_topic,
                the_subscription_that_makes_the_record_takes_the_seat,
                an_attach_too_many_has_to_wait,
                a_refresh_compares_many_seats,
            ],
            budgets: [
                the_largest_share_gives_way,
                within_a_subscription_the_least_urgent_and_oldest_goes,
                a_newcomer_that_would_be_the_victim_is_refused,
                equal_shares_are_told_apart_by_id,
                expired_messages_go_first,
                a_replaced_message_makes_room_first,
                too_many_victims_are_none,
                a_rate_refuses_and_refills,
                a_refusal_changes_nothing,
            ],
            senders: [
                a_sender_over_its_cap_is_refused,
                nothing_gives_way_to_one_over_a_cap,
                a_full_store_takes_urgent_messages_longest,
                sums_follow_what_waits,
                a_refused_message_is_not_counted,
                many_subscriptions_are_one_sender,
            ],
            expiry: [
                an_expired_message_is_never_handed_out,
                remaining_time_counts_down,
                a_hello_renews_the_retention,
                a_held_seat_keeps_its_record,
                an_unused_record_is_kept_for_a_day,
                making_subscriptions_is_no_use,
                a_refused_push_is_no_use,
                a_used_record_is_kept_for_the_whole_retention,
                a_record_made_anew_is_unused_again,
                a_receipt_subscription_is_used_or_kept_for_a_day,
                an_expired_message_counts_as_not_there,
            ],
            endings: [
                a_subscription_ends_by_its_id,
                the_seat_is_told_which_subscription_ended,
                a_set_ends_with_its_subscriptions,
                an_empty_set_ends_too,
                of_a_stranger_nothing_ends,
                a_subscription_is_known_until_it_ends,
                a_subscription_may_ask_for_a_known_set,
            ],
            message_ends: [
                an_acknowledged_message_has_its_outcome,
                without_a_receipt_nothing_is_owed,
                a_cancelled_message_is_given_up,
                a_replaced_message_says_so,
                a_passing_message_replaces_too,
                an_evicted_message_is_given_up,
                a_late_acknowledgement_gives_up,
                messages_of_an_ended_subscription_are_given_up,
                what_was_carried_over_is_cleared,
                a_message_is_traced_to_its_end,
                user_agents_with_an_outbox_are_found,
            ],
            removals: [
                a_replaced_or_cancelled_message_is_told_of,
                what_makes_room_is_told_of,
                messages_of_an_ended_subscription_are_told_of,
                an_expired_message_is_told_of,
            ],
            passing: [
                a_passing_message_can_be_acknowledged,
                a_passing_message_without_a_listener_is_given_up,
                a_passing_message_is_acknowledged_in_time,
                a_passing_message_can_be_cancelled,
                a_passing_message_ends_with_its_subscription,
                passing_messages_have_a_bound,
            ],
            receipts: [
                what_is_owed_becomes_a_receipt,
                what_is_not_owed_is_passed_over,
                the_first_outcome_wins,
                a_replaced_message_has_no_receipt,
                nothing_is_owed_to_a_stranger,
                what_is_owed_has_a_limit,
                a_monitor_is_told,
                a_receipt_expires,
                a_receipt_subscription_is_forgotten,
                what_is_owed_keeps_its_receipt_subscription,
                a_late_receipt_keeps_its_receipt_subscription,
                what_is_overdue_is_leased,
                a_deadline_moves_with_its_expectation,
                a_receipt_subscription_ends,
                what_is_owed_is_no_message,
            ],
            reports: [
                what_waits_is_shown,
                what_is_over_is_not_shown,
                what_waits_is_shown_in_bounded_steps,
                user_agents_are_listed,
                user_agents_are_listed_in_bounded_steps,
                a_user_agent_was_last_seen_when_it_came,
            ],
            moving: [
                what_waits_moves_to_another_storage,
                what_waited_in_another_storage_is_taken_in,
                a_repeated_import_changes_nothing,
                an_ended_subscription_can_come_back,
                an_import_ends_nothing_that_is_there,
                a_number_is_not_taken_away,
                what_is_over_stays_behind,
                an_export_comes_page_by_page,
                an_empty_store_says_so,
                a_session_finds_what_was_taken_in,
                receipts_move_to_another_storage,
                receipts_of_another_storage_are_taken_in,
                orphans_are_not_imported,
                an_unused_record_stays_unused_when_it_moves,
                a_record_that_moves_is_used_if_either_storage_used_it,
            ],
        }
    };
}
pub(crate) use common_cases;

/// Hands `$then!` the cases of storages that have a clock of their own, sweep by an index, and keep gauges.
macro_rules! local_cases {
    ($then:ident, $open:expr) => {
        $crate::storage::contract::$then! { $open,
            queues: [
                numbers_rise_even_when_the_clock_stands_or_falls,
                gauges_follow_the_queue,
            ],
            budgets: [
                a_rate_refills_while_the_wall_clock_is_behind,
            ],
            expiry: [
                a_message_expires_while_the_wall_clock_is_behind,
                a_sweep_drops_what_is_due_in_bounded_steps,
                an_abandoned_record_vanishes,
                an_unused_record_is_swept,
                a_seat_that_is_held_is_use,
                a_leap_of_the_wall_clock_ends_nothing,
            ],
            message_ends: [
                an_expired_message_is_given_up,
                an_abandoned_record_gives_its_messages_up,
            ],
            passing: [
                a_passing_message_is_given_up_in_time,
            ],
        }
    };
}
pub(crate) use local_cases;

/// Makes a test of every case, each with a rig of its own from `open`.
macro_rules! suite {
    ($open:expr) => {
        $crate::storage::contract::common_cases!(tests, $open);
        $crate::storage::contract::local_cases!(tests, $open);
    };
}
pub(crate) use suite;

/// One test for each case.
macro_rules! tests {
    ($open:expr, $($theme:ident: [$($case:ident),* $(,)?],)*) => {
        $($(
            #[tokio::test]
            async fn $case() {
                let rig = ($open)().await;
                $crate::storage::contract::$theme::$case(&rig).await;
                rig.storage.close().await.unwrap();
            }
        )*)*
    };
}
pub(crate) use tests;

/// All cases, one after the other in one test that prints their names: for storages whose servers take long to start.
macro_rules! in_turn {
    ($open:expr, $($theme:ident: [$($case:ident),* $(,)?],)*) => {
        $($(
            println!("{}", stringify!($case));
            let rig = ($open)().await;
            $crate::storage::contract::$theme::$case(&rig).await;
            rig.storage.close().await.unwrap();
        )*)*
    };
}
pub(crate) use in_turn;
