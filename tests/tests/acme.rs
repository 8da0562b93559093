//! Certificates that come by themselves: a node and a real ACME server, which looks for it on the ports of the world.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use push_tests::acme_server::{AcmeServer, needs_low_ports};
use push_tests::application_server::Http;
use push_tests::certificate::Certificate;
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::within;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const HOSTS: [&str; 2] = ["push.example.test", "also-push.example.test"];

/// A node that listens where ACME servers look.
fn listening() -> Settings {
    let settings = Settings::new();
    let address = settings.address();
    needs_low_ports(address);
    settings
        .set("listen.tls", vec![format!("{address}:443")])
        .set("listen.http", vec![format!("{address}:80")])
        .set("public_url", format!("https://{}", HOSTS[0]))
        .set("drain.delay", 0)
        .set("drain.spread", 0)
}

/// The same, with certificates from `server`.
fn ordering(settings: Settings, server: &AcmeServer, data: &Path) -> Settings {
    settings
        .set("tls.acme.domains", HOSTS.to_vec())
        .set("tls.acme.directory", server.url())
        .set("tls.acme.ca", server.authority().display().to_string())
        .set("tls.acme.contact", "admin@example.test")
        .data_directory(data)
}

async fn has_issued(node: &Node) {
    let line = node
        .log()
        .wait_for_line(&["the ACME server issued a certificate"]);
    let line = within("the certificate is issued", line).await;
    assert!(line.expect("the node runs").contains("new connections get it"));
}

/// Whether a client with these settings gets an answer of the service at `host`, over TLS.
async fn is_served(address: SocketAddr, host: &'static str, config: Arc<ClientConfig>) -> bool {
    let socket = TcpStream::connect(address).await.expect("the port is open");
    let name = ServerName::try_from(host).expect("a name");
    let Ok(mut stream) = TlsConnector::from(config).connect(name, socket).await else {
        return false;
    };
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer.starts_with("HTTP/1.1 200") && answer.contains("Web Push")
}

/// The one file in `directory` whose name begins so.
fn file(directory: &Path, prefix: &str) -> PathBuf {
    let mut files = fs::read_dir(directory)
        .expect("the directory is there")
        .map(|entry| {
            let entry = entry.expect("an entry");
            (entry.file_name().to_string_lossy().into_owned(), entry.path())
        });
    let found = files.find(|(name, _)| name.starts_with(prefix));
    found
        .unwrap_or_else(|| panic!("no {prefix} in {}", directory.display()))
        .1
}

/// RFC 8555, by one challenge: a node without a certificate is ready and serves, has one issued for all its hosts, and keeps
/// it where only its owner reads it; after a kill it presents it without another order.
async fn a_certificate_comes(challenge: &str) {
    let data = TempDir::new().expect("a directory");
    let settings = listening();
    let address = settings.address();
    let server = AcmeServer::start(&HOSTS.map(|host| (host, address))).await;
    let mut node =
        Node::start(ordering(settings, &server, data.path()).set("tls.acme.challenge", challenge)).await;
    assert_eq!(node.ask_admin("/readyz").await.status, 200);
    has_issued(&node).await;

    let tls = SocketAddr::from((address, 443));
    for host in HOSTS {
        assert!(
            is_served(tls, host, server.trusted_by_client(&["http/1.1"])).await,
            "{host}"
        );
    }
    let mut http = Http::connect(&node.connector()).await.expect("the port is open");
    let page = http
        .get("/.well-known/acme-challenge/token")
        .await
        .expect("an answer");
    assert_eq!(page.status, 404);
    for kept in ["account-", "certificate-"] {
        let mode = fs::metadata(file(&data.path().join("acme"), kept))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{kept}");
    }

    node.kill().await;
    node.start_again().await;
    assert!(is_served(tls, HOSTS[0], server.trusted_by_client(&["http/1.1"])).await);
    assert!(!node.log().text().contains("ordering a certificate"));
}

#[tokio::test]
async fn a_certificate_comes_by_tls() {
    a_certificate_comes("tls-alpn-01").await;
}

#[tokio::test]
async fn a_certificate_comes_by_http() {
    a_certificate_comes("http-01").await;
}

/// A certificate with less than a third of its life left is presented until there is a new one, which the same account gets.
#[tokio::test]
async fn a_certificate_is_renewed() {
    let data = TempDir::new().expect("a directory");
    let settings = listening();
    let address = settings.address();
    let server = AcmeServer::start(&HOSTS.map(|host| (host, address))).await;
    let mut node = Node::start(ordering(settings, &server, data.path())).await;
    has_issued(&node).await;
    node.kill().await;

    let account = fs::read(file(&data.path().join("acme"), "account-")).expect("an account");
    let kept = file(&data.path().join("acme"), "certificate-");
    fs::write(&kept, old_certificate()).expect("the certificate is written");
    node.start_again().await;
    has_issued(&node).await;
    let tls = SocketAddr::from((address, 443));
    assert!(is_served(tls, HOSTS[1], server.trusted_by_client(&["http/1.1"])).await);
    assert_eq!(
        fs::read(file(&data.path().join("acme"), "account-")).expect("an account"),
        account
    );
}

/// A key and a certificate for the hosts that was made for 90 days, of which ten are left.
fn old_certificate() -> String {
    let now = std::time::SystemTime::now();
    let mut params = CertificateParams::new(HOSTS.map(String::from)).expect("names");
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    params.not_before = (now - 80 * day).into();
    params.not_after = (now + 10 * day).into();
    let key = KeyPair::generate().expect("a key");
    let made = params.self_signed(&key).expect("a certificate");
    key.serialize_pem() + &made.pem()
}

/// An ACME server that cannot find a host is quoted in the log, with the time of the next attempt; the node serves all the
/// same, with a certificate that no client trusts.
#[tokio::test]
async fn a_host_that_is_not_found_is_told() {
    let data = TempDir::new().expect("a directory");
    let settings = listening();
    let address = settings.address();
    let elsewhere = Settings::new().address();
    let server = AcmeServer::start(&[(HOSTS[0], address), (HOSTS[1], elsewhere)]).await;
    let node = Node::start(ordering(settings, &server, data.path())).await;
    let told = node
        .log()
        .wait_for_line(&["no certificate was issued", "again_in_seconds"]);
    let told = within("the failure is told", told).await.expect("the node runs");
    assert!(
        told.contains(HOSTS[1]) && told.contains("could not verify"),
        "{told}"
    );
    assert_eq!(node.ask_admin("/readyz").await.status, 200);
    let tls = SocketAddr::from((address, 443));
    assert!(!is_served(tls, HOSTS[0], server.trusted_by_client(&["http/1.1"])).await);
}

/// RFC 8555 §6.6: a server that has had enough of us is quoted, and left alone for as long as it asks.
#[tokio::test]
async fn a_server_that_limits_us_is_left_alone() {
    let data = TempDir::new().expect("a directory");
    let settings = listening();
    let shown = Certificate::make(settings.address(), data.path());
    let limits = TcpListener::bind((settings.address(), 0)).await.expect("a port");
    let url = format!("https://{}", limits.local_addr().expect("an address"));
    let settings = settings
        .set("tls.acme.domains", HOSTS.to_vec())
        .set("tls.acme.directory", format!("{url}/directory"))
        .set("tls.acme.ca", shown.certificate.display().to_string());
    let limiting = tokio::spawn(limit(limits, shown, url));
    let node = Node::start(settings).await;
    let told = node
        .log()
        .wait_for("no certificate was issued; the old one stays in use until the next attempt");
    let told = within("the failure is told", told).await.expect("the node runs");
    let error = told["error"].as_str().expect("a reason");
    assert!(error.contains("too many new accounts today"), "{error}");
    let wait = told["again_in_seconds"].as_u64().expect("a time");
    assert!((7_200..9_000).contains(&wait), "{wait}");
    assert!(
        told["again_at"].as_str().is_some_and(|at| at.ends_with("GMT")),
        "{told}"
    );
    limiting.abort();
}

/// An ACME server that makes no accounts.
async fn limit(listener: TcpListener, shown: Certificate, url: String) {
    let chain = vec![CertificateDer::from_pem_file(&shown.certificate).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(&shown.key).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate and its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let directory = json!({
        "newNonce": format!("{url}/nonce"),
        "newAccount": format!("{url}/account"),
        "newOrder": format!("{url}/order"),
    });
    let problem = json!({
        "type": "urn:ietf:params:acme:error:rateLimited",
        "detail": "too many new accounts today",
    });
    loop {
        let (socket, _) = listener.accept().await.expect("a connection");
        let stream = acceptor.accept(socket).await.expect("a handshake");
        let service = service_fn(|request: Request<Incoming>| {
            let answer = Response::builder()
                .header("replay-nonce", "once")
                .header("content-type", "application/json");
            std::future::ready(match request.uri().path() {
                "/account" => answer
                    .status(429)
                    .header("retry-after", "7200")
                    .body(problem.to_string()),
                _ => answer.body(directory.to_string()),
            })
        });
        // Who asks hangs up when it has its answer.
        let _ = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }
}

/// An ACME server that says nothing delays nothing: the node serves, and leaves when it is told to.
#[tokio::test]
async fn an_order_under_way_does_not_hold_up_the_end() {
    let data = TempDir::new().expect("a directory");
    let settings = listening();
    let address = settings.address();
    let silent = TcpListener::bind((address, 0)).await.expect("a port");
    let server = AcmeServer::start(&[(HOSTS[0], address)]).await;
    let url = format!("https://{}/directory", silent.local_addr().expect("an address"));
    let settings = ordering(settings, &server, data.path()).set("tls.acme.directory", url);
    let mut node = Node::start(settings).await;
    let asked = within("the server is asked", silent.accept())
        .await
        .expect("a connection");
    assert_eq!(node.ask_admin("/readyz").await.status, 200);
    node.terminate();
    let (status, log) = node.ended().await;
    assert!(status.success(), "{}", log.tail());
    drop(asked);
}
