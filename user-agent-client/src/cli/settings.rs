//! What a command works with: the state directory, the push service, the trusted certificates.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use user_agent_client::{Proxies, ServerUrl, State, Transport, Trust};

use super::args::TrustArguments;
use super::console::say;
use super::exit::Failure;

/// The state directory that was asked for, or the one of this user (XDG Base Directory Specification).
pub(super) fn state_directory(asked: Option<PathBuf>) -> Result<PathBuf, Failure> {
    asked
        .or_else(|| default_directory(|name| std::env::var_os(name)))
        .ok_or_else(|| Failure::usage("there is no home directory to keep the state in: pass --state DIR"))
}

fn default_directory(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // The specification: relative paths are to be ignored.
    let absolute = |name| {
        variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|base| base.join("user-agent-client"))
}

/// The push service that was asked for, or the one that the state belongs to, over the transport that was asked for.
pub(super) fn server(
    asked: Option<&str>,
    transport: Option<Transport>,
    state: &State,
    directory: &Path,
) -> Result<ServerUrl, Failure> {
    let server = match (asked, state.server()) {
        (Some(url), _) => ServerUrl::parse(url)?,
        (None, Some(known)) => known.clone(),
        (None, None) => {
            return Err(Failure::usage(format_args!(
                "the state in {} has no push service yet: pass --server wss://HOST",
                directory.display()
            )));
        }
    };
    match transport {
        Some(transport) => Ok(server.over(transport)?),
        None => Ok(server),
    }
}

/// Which certificates to trust. A file of certificates is read at once, so that a wrong name is reported at once.
pub(super) fn trust(arguments: &TrustArguments) -> Result<Trust, Failure> {
    let proxies = proxies(arguments.proxy.as_deref(), |name| std::env::var_os(name))?;
    if arguments.insecure {
        say(
            "--insecure: any certificate is accepted, so others on the network can read and change \
             everything",
        );
        return Ok(Trust::insecure().through(proxies));
    }
    let Some(file) = &arguments.ca else {
        return Ok(Trust::system().through(proxies));
    };
    let trust = Trust::with_certificates(file);
    trust.client_config()?;
    Ok(trust.through(proxies))
}

/// The proxies that were asked for, or those of the environment.
fn proxies(asked: Option<&str>, variable: impl Fn(&str) -> Option<OsString>) -> Result<Proxies, Failure> {
    match asked {
        Some("none") => Ok(Proxies::none()),
        Some(url) => Proxies::all(url).map_err(|error| Failure::usage(format_args!("--proxy: {error}"))),
        None => Ok(Proxies::of_variables(|name| {
            variable(name).map(|value| value.to_string_lossy().into_owned())
        })?),
    }
}

/// Adds the certificates that the state remembers. With `--ca` the state remembers that file; without it, the file that it
/// remembers is trusted. `--insecure` is never remembered.
pub(super) fn with_remembered_certificates(
    trust: Trust,
    arguments: &TrustArguments,
    server: &ServerUrl,
    state: &mut State,
) -> Result<Trust, Failure> {
    if let Some(file) = &arguments.ca {
        state.set_certificates(file)?;
        return Ok(trust);
    }
    match state.certificates() {
        Some(file) if !arguments.insecure && server.is_secure() => {
            let trust = Trust::with_certificates(file);
            trust.client_config().map_err(|error| {
                Failure::usage(format_args!(
                    "{error}. The state remembers this file from an earlier --ca: put it back, or pass \
                     another one with --ca FILE"
                ))
            })?;
            let proxies = proxies(arguments.proxy.as_deref(), |name| std::env::var_os(name))?;
            Ok(trust.through(proxies))
        }
        _ => Ok(trust),
    }
}

/// For a command that a running `listen` carries out: it has the connection.
pub(super) fn warn_of_unused_flags(arguments: &TrustArguments) {
    if arguments.ca.is_some() || arguments.insecure || arguments.proxy.is_some() {
        say("--ca, --insecure and --proxy have no effect here: the running `listen` has the connection");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// XDG says where state belongs; what is no absolute path doesn't count.
    #[test]
    fn the_state_has_a_place_of_its_own() {
        let rows = [
            (Some("/x"), Some("/home/a"), Some("/x/user-agent-client")),
            (
                None,
                Some("/home/a"),
                Some("/home/a/.local/state/user-agent-client"),
            ),
            (
                Some("x"),
                Some("/home/a"),
                Some("/home/a/.local/state/user-agent-client"),
            ),
            (Some(""), None, None),
            (None, None, None),
        ];
        for (xdg, home, expected) in rows {
            let directory = default_directory(|name| match name {
                "XDG_STATE_HOME" => xdg.map(OsString::from),
                "HOME" => home.map(OsString::from),
                _ => None,
            });
            assert_eq!(directory, expected.map(PathBuf::from));
        }
        assert_eq!(state_directory(Some("s".into())).unwrap(), PathBuf::from("s"));
    }

    /// A file of certificates that isn't there is told before anything is connected.
    #[test]
    fn certificates_are_read_at_once() {
        let arguments = TrustArguments {
            ca: Some("/there/is/no/such/file".into()),
            insecure: false,
            proxy: None,
        };
        assert!(trust(&arguments).is_err());
    }

    /// What was typed counts for more than the environment, which is not even read then; and neither is passed over if it
    /// can't be used.
    #[test]
    fn a_proxy_is_typed_or_in_the_environment() {
        let environment = |name: &str| (name == "HTTPS_PROXY").then(|| OsString::from("socks5://p:1"));
        for typed in ["none", "http://p:1"] {
            assert!(proxies(Some(typed), environment).is_ok());
        }
        let rows = [(None, "HTTPS_PROXY: "), (Some("socks5://p"), "--proxy: ")];
        for (typed, words) in rows {
            let failure = proxies(typed, environment).unwrap_err();
            assert_eq!(failure.exit, crate::cli::exit::Exit::Usage);
            assert!(failure.why.starts_with(words), "{}", failure.why);
        }
    }

    /// `--ca` is remembered, `--insecure` is not; a file that has gone since is told with the way out, unless nothing needs it.
    #[test]
    fn certificates_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&file, own.cert.pem()).unwrap();
        let mut state = State::in_memory();
        let server = ServerUrl::parse("wss://localhost/").unwrap();
        let arguments = |ca: Option<&Path>, insecure| TrustArguments {
            ca: ca.map(Path::to_owned),
            insecure,
            proxy: Some("none".to_owned()),
        };
        let mut with = |ca, insecure, server: &ServerUrl| {
            let arguments = arguments(ca, insecure);
            with_remembered_certificates(trust(&arguments)?, &arguments, server, &mut state)
        };
        assert_eq!(
            format!("{:?}", with(None, false, &server).unwrap()),
            "Trust(system)"
        );
        let shown = format!("Trust(system and {})", file.display());
        assert_eq!(
            format!("{:?}", with(Some(file.as_path()), false, &server).unwrap()),
            shown
        );
        assert_eq!(
            format!("{:?}", with(None, true, &server).unwrap()),
            "Trust(anybody)"
        );
        assert_eq!(format!("{:?}", with(None, false, &server).unwrap()), shown);
        std::fs::remove_file(&file).unwrap();
        let failure = with(None, false, &server).unwrap_err();
        assert!(failure.why.contains("--ca FILE"), "{}", failure.why);
        let clear = ServerUrl::parse("ws://localhost/").unwrap();
        assert!(with(None, false, &clear).is_ok());
    }

    /// Without a service there is nothing to connect to, and what has to be said is said.
    #[test]
    fn a_service_has_to_be_known() {
        let mut state = State::in_memory();
        let failure = server(None, None, &state, Path::new("s")).unwrap_err();
        assert!(failure.why.contains("--server"), "{}", failure.why);
        assert!(server(Some("nonsense"), None, &state, Path::new("s")).is_err());
        let known = ServerUrl::parse("wss://push.example/").unwrap();
        state.set_server(&known).unwrap();
        assert_eq!(server(None, None, &state, Path::new("s")).unwrap(), known);
        let asked = server(Some("ws://localhost:8080"), None, &state, Path::new("s")).unwrap();
        assert_eq!(asked.host(), "localhost");
        let over = |url, transport| server(url, Some(transport), &state, Path::new("s"));
        let http2 = over(None, Transport::Http2).unwrap();
        assert_eq!(http2.as_str(), "https://push.example/");
        let websocket = over(Some("https://h/s"), Transport::WebSocket).unwrap();
        assert_eq!(websocket.as_str(), "wss://h/s");
        assert!(over(Some("ws://push.example/"), Transport::Http2).is_err());
    }
}
