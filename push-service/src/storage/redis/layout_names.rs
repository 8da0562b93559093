//! What each `layout.NAME` in a script stands for.
//!
//! A layout is defined in [`layout`](super::layout) alone. It deliberately does not know which script says which name; a test of
//! `scripts` checks that each name is used.

use push_protocol::{ReceiptOutcome, SubscriptionId, SubscriptionName, UserAgentId};

use super::layout::*;
use super::packed::{Nonce, Packed as _, U48};
use crate::storage::Seat;

/// What scripts mean by `layout.NAME`: formats for Lua's `struct`, sizes in bytes, positions (from 1), bytes and letters.
pub(super) fn in_scripts() -> Vec<(&'static str, String)> {
    let format = |format: String| format!("'{format}'");
    let letter = |letter: u8| format!("'{}'", char::from(letter));
    vec![
        ("META", format(MetaFields::format())),
        ("META_BYTES", MetaFields::BYTES.to_string()),
        ("META_ORDERED", ORDERED.to_string()),
        ("META_UNUSED", UNUSED.to_string()),
        ("SUBSCRIPTION", format(SubscriptionFields::format())),
        ("NAME_BYTES", SubscriptionName::BYTES.to_string()),
        ("ID_BYTES", SubscriptionId::BYTES.to_string()),
        ("NAMED", format(NamedFields::format())),
        ("ENTRY", format(EntryFields::format())),
        ("ENTRY_BYTES", EntryFields::BYTES.to_string()),
        ("ENTRY_ID_AT", EntryFields::position("subscription").to_string()),
        ("ENTRY_LEFT_AT", EntryFields::position("body_bytes").to_string()),
        ("NONCE_BYTES", Nonce::BYTES.to_string()),
        ("TOPIC_AT", (EntryFields::BYTES + 1).to_string()),
        ("SENDER_BYTES", SenderFields::BYTES.to_string()),
        ("WITH_SENDER", WITH_SENDER.to_string()),
        ("SOLE", format(SoleFields::format())),
        ("SOLE_ID_AT", SoleFields::position("number").to_string()),
        ("SOLE_ENTRY_AT", SoleFields::position("nonce").to_string()),
        // Head and entry, without a sender.
        (
            "SOLE_BYTES",
            (SoleFields::position("nonce") - 1 + EntryFields::BYTES).to_string(),
        ),
        (
            "SOLE_LEFT_AT",
            (SoleFields::position("nonce") - 1 + EntryFields::position("body_bytes")).to_string(),
        ),
        ("MESSAGE_ID_BYTES", IdFields::BYTES.to_string()),
        ("MESSAGE_ID", format(IdFields::format())),
        ("LEFT_BYTES", LeftFields::BYTES.to_string()),
        ("OWED", format(OwedFields::format())),
        ("OWED_ID_AT", OwedFields::position("subscription").to_string()),
        ("OWED_OUTCOME_AT", OwedFields::position("how").to_string()),
        ("WAITING", WAITING.to_string()),
        ("GIVEN_UP", ReceiptOutcome::GivenUp.to_byte().to_string()),
        ("REPLACED", ReceiptOutcome::Replaced.to_byte().to_string()),
        ("VICTIM", format(VictimFields::format())),
        ("MOMENT", format(MomentFields::format())),
        ("NUMBER", format(NumberField::format())),
        ("RETENTION", format(RetentionNumbers::format())),
        ("RETENTION_BYTES", RetentionNumbers::BYTES.to_string()),
        ("RENEWED", format(Renewed::format())),
        ("SUBSCRIBE", format(SubscribeNumbers::format())),
        ("ENQUEUE", format(EnqueueNumbers::format())),
        ("ENQUEUE_BYTES", EnqueueNumbers::BYTES.to_string()),
        ("ATTACH", format(AttachNumbers::format())),
        ("WANTED", format(Wanted::format())),
        ("EXPECT", format(ExpectNumbers::format())),
        ("URL_BYTES", ReceiptUrl::BYTES.to_string()),
        ("URL_SEALED_BY_AT", ReceiptUrl::position("sealed_by").to_string()),
        ("DEADLINE", format(U48::format())),
        ("SETTLE", format(SettleNumbers::format())),
        ("SETTLED", format(SettledFields::format())),
        ("SETTLED_BYTES", SettledFields::BYTES.to_string()),
        ("IMPORT", format(ImportNumbers::format())),
        ("IMPORT_SUBSCRIPTION", format(ImportSubscription::format())),
        ("IMPORT_SUBSCRIPTION_BYTES", ImportSubscription::BYTES.to_string()),
        ("IMPORT_MESSAGE", format(ImportMessage::format())),
        // Scripts take the message and the URL whole.
        (
            "IMPORT_EXPECTATION",
            format(format!(
                ">c{}c{}{}",
                UserAgentId::BYTES + Nonce::BYTES,
                ReceiptUrl::BYTES,
                &U48::format()[1..]
            )),
        ),
        ("AGAIN", letter(letter::AGAIN)),
        ("NO_SUBSCRIPTION", letter(letter::NO_SUBSCRIPTION)),
        ("RATE_LIMITED", letter(letter::RATE_LIMITED)),
        ("QUEUE_FULL", letter(letter::QUEUE_FULL)),
        ("PASSED", letter(letter::PASSED)),
        ("STORED", letter(letter::STORED)),
        ("CREATED", letter(letter::CREATED)),
        ("FOUND", letter(letter::FOUND)),
        ("TOO_MANY", letter(letter::TOO_MANY)),
        ("UNKNOWN", letter(letter::UNKNOWN)),
        ("EXPECTED", letter(letter::EXPECTED)),
        ("DISPLACED", letter(letter::DISPLACED)),
        ("HELD", letter(letter::HELD)),
        ("WAITS", letter(letter::WAITS)),
        ("SHARE", letter(letter::SHARE)),
        ("NOT_DONE", letter(letter::DIGIT)),
        ("DONE", letter(letter::DIGIT + letter::DONE)),
        ("NOT_DONE_OWING", letter(letter::DIGIT + letter::OWING)),
        ("DONE_OWING", letter(letter::DIGIT + letter::DONE + letter::OWING)),
        ("DUE", news::DUE.to_string()),
        ("OWES", news::OWES.to_string()),
        ("LIMITED_ANSWER", format(LimitedAnswer::format())),
        ("STORED_ANSWER", format(StoredAnswer::format())),
        ("SETTLED_ANSWER", format(SettledAnswer::format())),
        ("OUTCOME", format(OutcomeFields::format())),
        ("HELD_ANSWER", format(HeldAnswer::format())),
        ("PAGE_HEAD", format(PageHead::format())),
        ("PAGE_ROW", format(PageRow::format())),
        ("SHARE_ANSWER", format(Share::format())),
        ("WAKE_UP_VERSION", format!("'\\{WAKE_UP_VERSION}'")),
        ("WAKE_UP_STORED", letter(wake_up::STORED)),
        ("WAKE_UP_PASSING", letter(wake_up::PASSING)),
        ("WAKE_UP_REMOVED", letter(wake_up::REMOVED)),
        ("WAKE_UP_DISPLACED", letter(wake_up::DISPLACED)),
        ("WAKE_UP_ENDED", letter(wake_up::ENDED)),
        ("WAKE_UP_READ_AGAIN", letter(wake_up::READ_AGAIN)),
        ("WAKE_UP_STORED_FIELDS", format(WakeUpStored::format())),
        ("SESSION_AT", (Option::<Seat>::BYTES / 2 + 1).to_string()),
    ]
}
