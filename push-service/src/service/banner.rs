//! What the service says when it is ready: where it is, where its data is, and what to do next.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;

/// What the banner tells. No secrets.
#[derive(Clone, Debug)]
pub(super) struct BannerFacts {
    /// Origin of the resource URLs, without a slash at its end.
    pub(super) public_url: String,
    /// Plain listeners, as they were bound.
    pub(super) http: Vec<SocketAddr>,
    /// TLS listeners, as they were bound.
    pub(super) tls: Vec<SocketAddr>,
    /// Admin listeners, as they were bound.
    pub(super) admin: Vec<SocketAddr>,
    /// Where the data is, without credentials: the `Display` of the storage URL.
    pub(super) storage: String,
    /// Whether the certificate was made at start.
    pub(super) self_signed: bool,
    /// Whether it is ordered from an ACME server.
    pub(super) ordered: bool,
    /// Whether user agents need a secret in the path.
    pub(super) user_agent_secret: bool,
}

/// Writes a line to the log as soon as probes are answered.
pub(super) fn starting(admin: &[SocketAddr]) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        admin = joined(admin),
        "starting"
    );
}

/// Writes one line to the log, and the banner if standard error is a terminal.
pub(super) fn announce(facts: &BannerFacts) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        public_url = facts.public_url,
        http = joined(&facts.http),
        tls = joined(&facts.tls),
        admin = joined(&facts.admin),
        storage = facts.storage,
        self_signed = facts.self_signed,
        ordered = facts.ordered,
        "listening"
    );
    if std::io::stderr().is_terminal() {
        // Fails if the terminal is gone; then the banner is not needed.
        let _ = writeln!(std::io::stderr(), "{}", banner(facts));
    }
}

/// The banner's text.
fn banner(facts: &BannerFacts) -> String {
    let mut text = format!("\npush-service {} is ready.\n\n", env!("CARGO_PKG_VERSION"));
    line(&mut text, "public URL", &facts.public_url);
    line(&mut text, "HTTP", &joined(&facts.http));
    line(&mut text, "TLS", &joined(&facts.tls));
    line(&mut text, "admin", &joined(&facts.admin));
    line(&mut text, "data", &facts.storage);
    firefox(&mut text, facts);
    if let Some(admin) = facts.admin.first() {
        append(
            &mut text,
            format_args!("\nTry next:\n  curl -s http://{admin}/readyz\n"),
        );
    }
    text
}

/// The preferences that point Firefox here (protocols: WS-CON-4).
fn firefox(text: &mut String, facts: &BannerFacts) {
    let url = websocket_url(facts);
    text.push_str("\nTo make Firefox use this service, set in about:config\n");
    append(text, format_args!("  dom.push.serverURL = {url}\n"));
    if url.starts_with("ws:") {
        text.push_str("  dom.push.testing.allowInsecureServerURL = true   (add it, as Boolean)\n");
    }
    if facts.user_agent_secret {
        text.push_str("Replace SECRET by the value of security.user_agent_secret.\n");
    }
    text.push_str("When this address changes, Firefox drops its subscriptions, and sites subscribe again.\n");
    if facts.self_signed {
        append(
            text,
            format_args!(
                "\n\
                 The certificate is self-signed. Open {}/ in Firefox once and accept it,\n\
                 or set tls.certificate and tls.key.\n",
                facts.public_url
            ),
        );
    }
    if facts.ordered {
        text.push_str(
            "\n\
             The certificate is being ordered (tls.acme). Until it arrives, a self-signed one is used.\n\
             The log reports each attempt.\n",
        );
    }
}

/// The public URL with the scheme of WebSockets.
fn websocket_url(facts: &BannerFacts) -> String {
    let url = &facts.public_url;
    let url = match (url.strip_prefix("https:"), url.strip_prefix("http:")) {
        (Some(rest), _) => format!("wss:{rest}"),
        (None, Some(rest)) => format!("ws:{rest}"),
        (None, None) => url.clone(),
    };
    let secret = if facts.user_agent_secret { "SECRET" } else { "" };
    format!("{url}/{secret}")
}

fn line(text: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        append(text, format_args!("  {name:<12}{value}\n"));
    }
}

fn append(text: &mut String, words: std::fmt::Arguments<'_>) {
    text.write_fmt(words).expect("writing to a string cannot fail");
}

fn joined(addresses: &[SocketAddr]) -> String {
    addresses
        .iter()
        .map(SocketAddr::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(public_url: &str) -> BannerFacts {
        BannerFacts {
            public_url: public_url.to_owned(),
            http: vec!["127.0.0.1:8080".parse().unwrap()],
            tls: Vec::new(),
            admin: vec!["127.0.0.1:9090".parse().unwrap()],
            storage: "embedded:push-service-data".to_owned(),
            self_signed: false,
            ordered: false,
            user_agent_secret: false,
        }
    }

    /// A first start on loopback says all that is needed to point Firefox at it, and what to try.
    #[test]
    fn the_banner_says_what_to_do_next() {
        let text = banner(&facts("http://127.0.0.1:8080"));
        let parts = [
            "public URL  http://127.0.0.1:8080\n",
            "data        embedded:push-service-data\n",
            "dom.push.serverURL = ws://127.0.0.1:8080/\n",
            "dom.push.testing.allowInsecureServerURL = true",
            "curl -s http://127.0.0.1:9090/readyz",
        ];
        for part in parts {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("TLS") && !text.contains("certificate"), "{text}");
    }

    /// Over TLS Firefox needs no exception but, if the certificate is self-signed, its owner's consent; a secret is
    /// named, never shown.
    #[test]
    fn the_banner_fits_tls() {
        let text = banner(&BannerFacts {
            tls: vec!["0.0.0.0:443".parse().unwrap()],
            self_signed: true,
            user_agent_secret: true,
            ..facts("https://push.example")
        });
        assert!(
            text.contains("dom.push.serverURL = wss://push.example/SECRET\n"),
            "{text}"
        );
        assert!(!text.contains("allowInsecure"), "{text}");
        assert!(
            text.contains("Open https://push.example/ in Firefox once"),
            "{text}"
        );
    }
}
