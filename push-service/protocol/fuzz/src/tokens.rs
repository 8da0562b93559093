//! The sealed tokens of resource URLs.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use push_protocol::capability::{
    Capabilities, Dialect, MessageCapability, MessageKind, Opened, PushCapability, PushKind, SealingKey,
    SubscriptionCapability,
};
use push_protocol::{KeyDigest, MessageId, SubscriptionId, UserAgentId, UserAgentIdentity};

const PUSH_KINDS: [PushKind; 3] = [PushKind::Push, PushKind::WpushV1, PushKind::WpushV2];
const MESSAGE_KINDS: [MessageKind; 2] = [MessageKind::Message, MessageKind::Promise];
const DIALECTS: [Dialect; 2] = [Dialect::Rfc8030, Dialect::Webpush];

/// A service with three sealing keys, and one service for each of them.
struct Services {
    all: Capabilities,
    each: [Capabilities; 3],
}

/// `Capabilities`: what opens is one URL: sealing it again gives the same text (PR-26, PR-27), and it opens as no other
/// kind; what is sealed opens as what it was, and not with any other character in it (R30-RES-5).
///
/// `data`: a token; and, read another way, which token to forge, the character to change, the change, and the bits that
/// are sealed.
pub fn sealed_token(data: &[u8]) {
    let services = services();
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(services.opened(text) <= 1, "a token has one kind");
    }
    if let [which, at, change, bits @ ..] = data {
        let tokens = services.sealed(&Bits::new(bits));
        let token = &tokens[usize::from(*which) % tokens.len()];
        assert_eq!(services.opened(token), 1);
        let forged = with_a_change(token, usize::from(*at), *change);
        assert!(forged == *token || services.opened(&forged) == 0, "{forged}");
    }
}

fn services() -> &'static Services {
    static SERVICES: OnceLock<Services> = OnceLock::new();
    SERVICES.get_or_init(|| {
        let keys = [1, 2, 3].map(|byte| SealingKey::from_random([byte; 32]));
        let service = |keys| Capabilities::new(keys).expect("a list of keys");
        let each = keys.each_ref().map(|key| service(std::slice::from_ref(key)));
        Services {
            all: service(&keys),
            each,
        }
    })
}

impl Services {
    /// As how many kinds the token opens; as each of them, it is the only spelling of what it holds.
    fn opened(&self, token: &str) -> usize {
        let mut opened = 0;
        for kind in PUSH_KINDS {
            opened += usize::from(self.opens_push(kind, token));
        }
        for kind in MESSAGE_KINDS {
            opened += usize::from(self.opens_message(kind, token));
        }
        if let Some(Opened { capability, key }) = self.all.open_subscription(token) {
            assert_eq!(
                self.each[key].seal_subscription(&capability, visible(token)),
                token
            );
            opened += 1;
        }
        if let Some(Opened { capability, key }) = self.all.open_subscription_set(token) {
            assert_eq!(
                self.each[key].seal_subscription_set(&capability, visible(token)),
                token
            );
            opened += 1;
        }
        opened
    }

    fn opens_push(&self, kind: PushKind, token: &str) -> bool {
        let Some(Opened { capability, key }) = self.all.open_push(kind, token) else {
            return false;
        };
        let dialect = match kind {
            PushKind::Push => Dialect::Rfc8030,
            PushKind::WpushV1 | PushKind::WpushV2 => Dialect::Webpush,
        };
        let again = self.each[key].seal_push(dialect, &capability, visible(token));
        assert_eq!((again.kind, again.token.as_str()), (kind, token));
        true
    }

    fn opens_message(&self, kind: MessageKind, token: &str) -> bool {
        let Some(Opened { capability, key }) = self.all.open_message(kind, token) else {
            return false;
        };
        let key = self.each[key].current();
        assert_eq!(self.all.seal_message(kind, key, &capability), token);
        true
    }

    /// A token of every kind and dialect, and of every key where the kind lets one choose.
    fn sealed(&self, bits: &Bits<'_>) -> Vec<String> {
        let (user_agent, subscription) = (UserAgentId(bits.cut(0)), SubscriptionId(bits.cut(16)));
        let (random, digest) = (bits.cut(24), KeyDigest(bits.cut(40)));
        let mut tokens = Vec::new();
        for dialect in DIALECTS {
            for key in [None, Some(digest)] {
                let capability = PushCapability {
                    user_agent,
                    subscription,
                    key,
                };
                let sealed = self.all.seal_push(dialect, &capability, random);
                let opened = self.all.open_push(sealed.kind, &sealed.token);
                assert_eq!(opened, Some(Opened { capability, key: 0 }));
                tokens.push(sealed.token);
            }
            let capability = MessageCapability {
                user_agent,
                id: MessageId::from_bytes(random),
                dialect,
            };
            for kind in MESSAGE_KINDS {
                for (key, service) in self.each.iter().enumerate() {
                    let token = self.all.seal_message(kind, service.current(), &capability);
                    assert_eq!(
                        self.all.open_message(kind, &token),
                        Some(Opened { capability, key })
                    );
                    tokens.push(token);
                }
            }
        }
        let capability = SubscriptionCapability {
            user_agent,
            subscription,
        };
        tokens.push(self.all.seal_subscription(&capability, random));
        let identity = UserAgentIdentity::from_random(bits.cut(72));
        tokens.push(self.all.seal_subscription_set(&identity, random));
        tokens
    }
}

/// The bits that a token shows and that were random, or made from what it holds: the 16 bytes behind its key id.
fn visible(token: &str) -> [u8; 16] {
    let token = URL_SAFE_NO_PAD.decode(token).expect("what opens is base64url");
    let mut visible = [0; 16];
    visible.copy_from_slice(&token[1..17]);
    visible
}

fn with_a_change(token: &str, at: usize, change: u8) -> String {
    let mut bytes = token.as_bytes().to_vec();
    let at = at % bytes.len();
    bytes[at] = change & 0x7f;
    String::from_utf8(bytes).expect("ASCII")
}

/// What the identifiers are made of; zeros where there is nothing more.
struct Bits<'a>(&'a [u8]);

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn cut<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|index| self.0.get(at + index).copied().unwrap_or_default())
    }
}
