//! What operators write, and the identifiers that every part repeats.

use push_protocol::capability::SealingKey;
use push_protocol::origin::Origin;
use push_protocol::vapid::PublicKey;
use push_protocol::{
    MessageId, SubscriptionId, SubscriptionName, Topic, Ttl, Urgency, UserAgentId, UserAgentIdentity,
};

/// `Origin`, the keys and every identifier: what is read is read again alike from its own spelling, and identifiers
/// that are compared character by character have no second one (V-CLM-1, V-AUTH-7, PR-28, WS-REG-1).
///
/// `data`: the text.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    check_origin(text);
    check_keys(text);
    check_identifiers(text);
    check_words(text);
}

fn check_origin(text: &str) {
    match Origin::parse(text) {
        Ok(origin) => {
            assert!(origin.as_str().is_ascii());
            assert!(origin.matches(origin.as_str()));
            assert!(!origin.matches(&format!("{origin}/")));
            assert_eq!(Origin::parse(&format!("{origin}/")).as_ref(), Ok(&origin));
            assert_eq!(Origin::parse(origin.as_str()), Ok(origin));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check_keys(text: &str) {
    if let Some(key) = PublicKey::parse(text) {
        assert_eq!(PublicKey::from_bytes(*key.as_bytes()), Some(key));
        assert_eq!(PublicKey::parse(&key.to_string()), Some(key));
    }
    if let Some(key) = SealingKey::parse(text) {
        let again = SealingKey::parse(&key.to_base64url());
        assert!(again.is_some_and(|again| again == key && again.fingerprint() == key.fingerprint()));
    }
}

fn check_identifiers(text: &str) {
    if let Some(identity) = UserAgentIdentity::parse(text) {
        assert_eq!(
            UserAgentIdentity::parse(&identity.to_hex()).as_ref(),
            Some(&identity)
        );
        assert_eq!(text.replace('-', "").to_ascii_lowercase(), identity.to_hex());
    }
    if let Some(name) = SubscriptionName::parse(text) {
        assert_eq!(name.to_string(), text);
    }
    if let Some(id) = MessageId::parse(text) {
        assert_eq!(id.to_base64url(), text);
        assert_eq!(MessageId::from_bytes(id.to_bytes()), id);
    }
    if let Some(id) = UserAgentId::parse(text) {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
    if let Some(id) = SubscriptionId::parse(text) {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
}

fn check_words(text: &str) {
    if let Some(topic) = Topic::parse(text) {
        assert_eq!(topic.as_str(), text);
    }
    if let Some(urgency) = Urgency::parse(text) {
        assert_eq!(urgency.as_str(), text);
    }
    if let Some(ttl) = Ttl::parse(text) {
        assert_eq!(Ttl::parse(&ttl.as_secs().to_string()), Some(ttl));
    }
}
