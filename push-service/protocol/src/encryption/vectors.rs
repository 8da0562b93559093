//! Messages that are known to be right, in base64url: the examples of RFC 8291 (with their intermediate values) and of
//! the draft before it, and edge cases made with another implementation.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::SubscriptionKeys;

/// RFC 8291 §5 and Appendix A.
pub(crate) const PLAINTEXT: &[u8] = b"When I grow up, I want to be a watermelon";
pub(crate) const AS_PRIVATE: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";
pub(crate) const AS_PUBLIC: &str =
    "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";
pub(crate) const UA_PRIVATE: &str = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94";
pub(crate) const UA_PUBLIC: &str =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
pub(crate) const SALT: &str = "DGv6ra1nlYgDCS1FRnbzlw";
pub(crate) const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";
pub(crate) const SHARED: &str = "kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs";
pub(crate) const PRK_KEY: &str = "Snr3JMxaHVDXHWJn5wdC52WjpCtd2EIEGBykDcZW32k";
pub(crate) const IKM: &str = "S4lYMb_L0FxCeq0WhDx813KgSYqU26kOyzWUdsXYyrg";
pub(crate) const PRK: &str = "09_eUZGrsvxChDCGRCdkLiDXrReGOEVeSCdCcPBSJSc";
pub(crate) const CEK: &str = "oIhVW04MRdy2XN9CiKLxTg";
pub(crate) const NONCE: &str = "4h_95klXJ5E_qnoN";
pub(crate) const BODY: &str = concat!(
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A",
    "_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN",
);

/// With the keys of RFC 8291's example: nothing, "hi" with ten zeros of padding, and the SHA-256 of the body that has the
/// longest plaintext, 3,993 times "A".
pub(crate) const EMPTY_BODY: &str = concat!(
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A",
    "-nWA9JFLVeQ32ERULH8YEUcA",
);
pub(crate) const PADDED_BODY: &str = concat!(
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A",
    "_Nlrk1YtKaFiG80455qTCqIRGqBzabre0qNoZ9ow",
);
pub(crate) const LONGEST_BODY_SHA256: &str =
    "725ced7b21c80e94a9632ef8edc536e357ee7696669ec8b02d3f282b1de38849";

/// With the same keys, to be refused: "hi" behind the wrong delimiter, and a record that is nothing but zeros.
pub(crate) const UNFINISHED_BODY: &str = concat!(
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A",
    "_NlrpfPzhFfivKIOZL9f9m8duQ",
);
pub(crate) const NO_DELIMITER_BODY: &str = concat!(
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A",
    "-l_7s73ByyVDtmf36eVUrYWwSL",
);

/// draft-ietf-webpush-encryption-04 §5, of "I am the walrus".
pub(crate) mod draft {
    pub(crate) const PLAINTEXT: &[u8] = b"I am the walrus";
    pub(crate) const AS_PRIVATE: &str = "nCScek-QpEjmOOlT-rQ38nZzvdPlqa00Zy0i6m2OJvY";
    pub(crate) const AS_PUBLIC: &str =
        "BNoRDbb84JGm8g5Z5CFxurSqsXWJ11ItfXEWYVLE85Y7CYkDjXsIEc4aqxYaQ1G8BqkXCJ6DPpDrWtdWj_mugHU";
    pub(crate) const UA_PRIVATE: &str = "9FWl15_QUQAWDaD3k3l50ZBZQJ4au27F1V4F0uLSD_M";
    pub(crate) const UA_PUBLIC: &str =
        "BCEkBjzL8Z3C-oi2Q7oE5t2Np-p7osjGLg93qUP0wvqRT21EEWyf0cQDQcakQMqz4hQKYOQ3il2nNZct4HgAUQU";
    pub(crate) const SALT: &str = "lngarbyKfMoi9Z75xYXmkg";
    pub(crate) const AUTH: &str = "R29vIGdvbyBnJyBqb29iIQ";
    pub(crate) const SHARED: &str = "RNjC-NVW4BGJbxWPW7G2mowsLeDa53LYKYm4--NOQ6Y";
    pub(crate) const PRK_KEY: &str = "_XayKfnp8ag8KlUK_Bpb_fykGLq0mpN0ArdBU0fGsYs";
    pub(crate) const IKM: &str = "EhpZec37Ptm4IRD5-jtZ0q6r1iK5vYmY1tZwtN8fbZY";
    pub(crate) const PRK: &str = "jqgeMHcPccaBN2Uu8d0R_741Y9RQX4641Ft7FRASpqc";
    pub(crate) const CEK: &str = "AN2-xhvFWeYh5z0fcDu0Ww";
    pub(crate) const NONCE: &str = "JY1Okw5rw1Drkg9J";
    pub(crate) const BODY: &str = "6nqAQUME8hNqw5J3kl8cpVVJylXKYqZOeseZG8UueKpA";
}

/// The user agent of RFC 8291's example.
pub(crate) fn keys() -> SubscriptionKeys {
    SubscriptionKeys::from_parts(array(UA_PRIVATE), array(AUTH)).unwrap()
}

/// The user agent of the draft's example.
pub(crate) fn draft_keys() -> SubscriptionKeys {
    SubscriptionKeys::from_parts(array(draft::UA_PRIVATE), array(draft::AUTH)).unwrap()
}

pub(crate) fn bytes(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

pub(crate) fn array<const N: usize>(text: &str) -> [u8; N] {
    bytes(text).try_into().unwrap()
}
