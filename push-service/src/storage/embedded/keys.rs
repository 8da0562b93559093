//! The keys of embedded storage's one key space: how they are made and read. `layout` has the table of them.

use bytes::Buf as _;
use push_protocol::{MessageNumber, UserAgentId};

use crate::storage::queue::Expectation;
use crate::storage::spelling::{Fields, Unreadable};
use crate::storage::{Overdue, SenderTag};

/// `q`, user agent, number; the record is number 0.
pub(super) fn queue_key(user_agent: UserAgentId, number: MessageNumber) -> [u8; 25] {
    let mut key = [b'q'; 25];
    key[1..17].copy_from_slice(&user_agent.0);
    key[17..].copy_from_slice(&number.0.to_be_bytes());
    key
}

/// `b`, user agent, number: the body of a message, if it is too long to be stored with its header.
pub(super) fn body_key(user_agent: UserAgentId, number: MessageNumber) -> [u8; 25] {
    let mut key = queue_key(user_agent, number);
    key[0] = b'b';
    key
}

/// Of a key that [`queue_key`] made.
pub(super) fn number_of(key: &[u8]) -> Result<MessageNumber, Unreadable> {
    let number = key
        .get(17..25)
        .and_then(|n| n.try_into().ok())
        .ok_or(Unreadable)?;
    Ok(MessageNumber(u64::from_be_bytes(number)))
}

/// Of a key that [`queue_key`] made: whose, and which of its values.
pub(super) fn queue_of(key: &[u8]) -> Result<(UserAgentId, MessageNumber), Unreadable> {
    let user_agent = key
        .get(1..17)
        .and_then(|id| id.try_into().ok())
        .ok_or(Unreadable)?;
    Ok((UserAgentId(user_agent), number_of(key)?))
}

/// `s`, milliseconds, user agent.
pub(super) fn sweep_key(at_ms: u64, user_agent: UserAgentId) -> [u8; 25] {
    let mut key = [b's'; 25];
    key[1..9].copy_from_slice(&at_ms.to_be_bytes());
    key[9..].copy_from_slice(&user_agent.0);
    key
}

/// Of a key that [`sweep_key`] made.
pub(super) fn sweep_of(key: &[u8]) -> Result<(u64, UserAgentId), Unreadable> {
    let mut rest = key.get(1..).ok_or(Unreadable)?;
    let at_ms = rest.try_get_u64().map_err(|_| Unreadable)?;
    let user_agent = rest.try_into().map_err(|_| Unreadable)?;
    Ok((at_ms, UserAgentId(user_agent)))
}

/// `o`, user agent.
pub(super) fn outbox_key(user_agent: UserAgentId) -> [u8; 17] {
    let mut key = [b'o'; 17];
    key[1..].copy_from_slice(&user_agent.0);
    key
}

/// Of a key that [`outbox_key`] made.
pub(super) fn outbox_of(key: &[u8]) -> Result<UserAgentId, Unreadable> {
    let user_agent = key.get(1..).and_then(|id| id.try_into().ok());
    user_agent.map(UserAgentId).ok_or(Unreadable)
}

/// `w`, sender: how many bytes of this sender wait.
pub(super) fn sender_key(sender: SenderTag) -> [u8; 9] {
    let mut key = [b'w'; 9];
    key[1..].copy_from_slice(&sender.to_bytes());
    key
}

/// All keys that [`sender_key`] makes.
pub(super) fn sender_keys() -> std::ops::RangeInclusive<[u8; 9]> {
    let mut last = [u8::MAX; 9];
    last[0] = b'w';
    [b'w', 0, 0, 0, 0, 0, 0, 0, 0]..=last
}

/// The sender of a key that [`sender_key`] made, and the bytes that its value says.
pub(super) fn sender_of(key: &[u8], value: &[u8]) -> Result<(SenderTag, u64), Unreadable> {
    let bits = key.get(1..).and_then(|bits| bits.try_into().ok());
    let sender = bits.and_then(SenderTag::from_bytes).ok_or(Unreadable)?;
    let bytes = value.try_into().map_err(|_| Unreadable)?;
    Ok((sender, u64::from_be_bytes(bytes)))
}

/// `d`, milliseconds, receipt subscription, receipt number.
pub(super) fn deadline_key(at_ms: u64, receipts: UserAgentId, number: MessageNumber) -> [u8; 33] {
    let mut key = [b'd'; 33];
    key[1..9].copy_from_slice(&at_ms.to_be_bytes());
    key[9..25].copy_from_slice(&receipts.0);
    key[25..].copy_from_slice(&number.0.to_be_bytes());
    key
}

/// The [`deadline_key`] of an expected receipt.
pub(super) fn deadline_key_of(receipts: UserAgentId, expected: &Expectation) -> [u8; 33] {
    deadline_key(expected.deadline_ms, receipts, expected.number)
}

/// What stands under a key that [`deadline_key`] made.
pub(super) fn encode_deadline(expected: &Expectation) -> [u8; 24] {
    let mut value = [0; 24];
    value[..16].copy_from_slice(&expected.user_agent.0);
    value[16..].copy_from_slice(&expected.nonce.to_be_bytes());
    value
}

/// The reverse of [`deadline_key`] and [`encode_deadline`].
pub(super) fn deadline_of(key: &[u8], value: &[u8]) -> Result<Overdue, Unreadable> {
    let receipts = key.get(9..25).and_then(|id| id.try_into().ok());
    let mut fields = Fields(value);
    Ok(Overdue {
        receipts: UserAgentId(receipts.ok_or(Unreadable)?),
        user_agent: UserAgentId(fields.array()?),
        nonce: fields.number()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys sort as their numbers and times do, and are read back.
    #[test]
    fn keys_sort_as_their_numbers() {
        let agent = UserAgentId([5; 16]);
        let keys = [1, 255, 256, u64::MAX].map(|n| queue_key(agent, MessageNumber(n)));
        assert!(keys.is_sorted());
        assert_eq!(number_of(&keys[2]).unwrap().0, 256);
        assert_eq!(sweep_of(&sweep_key(70_000, agent)).unwrap(), (70_000, agent));
        assert_eq!(outbox_of(&outbox_key(agent)).unwrap(), agent);
        let senders = [1, 255, u64::MAX].map(|bits| SenderTag::from_bytes(bits.to_be_bytes()).unwrap());
        for sender in senders {
            let key = sender_key(sender);
            assert!(sender_keys().contains(&key));
            assert_eq!(sender_of(&key, &7_u64.to_be_bytes()).unwrap(), (sender, 7));
            assert!(sender_of(&key[..8], &[0; 8]).is_err() && sender_of(&key, &[0; 7]).is_err());
        }
    }
}
