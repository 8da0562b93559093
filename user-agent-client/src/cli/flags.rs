//! Puts the names of flags into sentences of the library, which name functions.

/// What the library names, and the flag that does it.
const FLAGS: [(&str, &str); 5] = [
    ("`Trust::with_certificates`", "--ca FILE"),
    ("`Proxies::none`", "--proxy none"),
    ("`Options::until_empty`", "--until-empty"),
    ("`ServerUrl::over(Transport::WebSocket)`", "--transport websocket"),
    ("`ServerUrl::over(Transport::Http2)`", "--transport http2"),
];

/// The sentence, with flags in place of functions.
pub(super) fn with_flags(sentence: String) -> String {
    FLAGS.iter().fold(sentence, |sentence, (function, flag)| {
        if sentence.contains(function) {
            sentence.replace(function, flag)
        } else {
            sentence
        }
    })
}

#[cfg(test)]
mod tests {
    use user_agent_client::state::StateError;
    use user_agent_client::tls::TrustError;
    use user_agent_client::{Proxies, ServerUrl};

    use super::*;

    /// Sentences of the library name its functions; those of the command name flags.
    #[test]
    fn sentences_name_flags() {
        let url = |url| ServerUrl::parse(url).unwrap();
        let sentences = [
            (TrustError::NoSystemCertificates(None).to_string(), "--ca FILE"),
            (
                Proxies::all("socks5://p").unwrap_err().to_string(),
                "--proxy none",
            ),
            (
                StateError::NeverEmpty.to_string(),
                "--until-empty is not possible",
            ),
            (StateError::NeverEmpty.to_string(), "--transport http2"),
            (
                StateError::OtherTransport(url("https://h")).to_string(),
                "--transport http2",
            ),
            (
                StateError::OtherTransport(url("wss://h")).to_string(),
                "--transport websocket",
            ),
        ];
        for (sentence, flag) in sentences {
            assert!(!sentence.contains("--"), "{sentence}");
            let sentence = with_flags(sentence);
            assert!(sentence.contains(flag) && !sentence.contains("::"), "{sentence}");
        }
    }
}
