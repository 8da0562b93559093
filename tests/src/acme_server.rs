//! An ACME server that people run: caddy's, which issues certificates by an authority of its own.
//!
//! It looks for hosts on ports 443 and 80, as every ACME server does, so a node that has certificates issued listens there,
//! on the loopback address that only it has. Where the hosts are, the server is told by a hosts file of its own.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Child;

use crate::certificate;
use crate::log::Log;
use crate::settings::own_address;
use crate::within;

/// Its port, on an address of its own.
const PORT: u16 = 14_000;

/// A running ACME server.
#[derive(Debug)]
pub struct AcmeServer {
    address: IpAddr,
    directory: TempDir,
    /// Ends with this.
    _process: Child,
    log: Log,
}

impl AcmeServer {
    /// Starts one that finds these hosts at these addresses.
    ///
    /// # Panics
    ///
    /// When `CADDY` names no caddy, or it does not start.
    pub async fn start(hosts: &[(&str, IpAddr)]) -> Self {
        let Some(caddy) = std::env::var_os("CADDY") else {
            panic!("CADDY does not name a caddy: `tests/run.sh --only acme` installs one and runs this test");
        };
        let address = own_address();
        let directory = TempDir::with_prefix("acme-server-").expect("a directory for the server");
        let path = |name: &str| directory.path().join(name);
        let mut listed = String::from("127.0.0.1 localhost\n");
        for (host, at) in hosts {
            writeln!(listed, "{at} {host}").expect("writing to a string");
        }
        std::fs::write(path("hosts"), listed).expect("the hosts file is written");
        let configuration = configuration(address, &path("data")).to_string();
        std::fs::write(path("caddy.json"), configuration).expect("the configuration is written");

        // A mount that only this process sees; it ends when the test does, however that ends.
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--map-root-user", "sh", "-c"])
            .arg("mount --bind \"$1\" /etc/hosts && exec setpriv --pdeathsig KILL \"$0\" run --config \"$2\"")
            .arg(caddy)
            .args([path("hosts"), path("caddy.json")])
            .env("HOME", directory.path());
        let mut process = tokio::process::Command::from(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("unshare starts");
        let errors = process.stderr.take().expect("standard error is a pipe");
        let log = Log::read(errors.into_owned_fd().expect("a pipe of its own").into());
        let server = Self {
            address,
            directory,
            _process: process,
            log,
        };
        let has_its_own = server.log.wait_for_line(&["certificate obtained successfully"]);
        if within("the ACME server starts", has_its_own).await.is_none() {
            panic!("the ACME server does not start:\n{}", server.log.tail());
        }
        server
    }

    /// What `tls.acme.directory` names.
    pub fn url(&self) -> String {
        let address = SocketAddr::from((self.address, PORT));
        format!("https://{address}/acme/local/directory")
    }

    /// The PEM file with the authority that signs for the server, and for those whom it issues certificates.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("data/pki/authorities/local/root.crt")
    }

    /// The TLS settings of a client that trusts only certificates of this server.
    pub fn trusted_by_client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let authority = CertificateDer::from_pem_file(self.authority()).expect("an authority");
        certificate::trusting(authority, protocols)
    }

    /// What the server has said so far.
    pub fn log(&self) -> &Log {
        &self.log
    }
}

/// Says why the ports that ACME servers look at cannot be had, if they cannot.
///
/// # Panics
///
/// If they cannot.
pub fn needs_low_ports(address: IpAddr) {
    for port in [80, 443] {
        if let Err(error) = TcpListener::bind((address, port)) {
            panic!(
                "port {port} of {address} cannot be had ({error}): ACME servers look there and nowhere else. Run this \
                 as root, or after `sysctl net.ipv4.ip_unprivileged_port_start=80`"
            );
        }
    }
}

/// An authority, and a server that issues for it. Its own certificate is of the same authority.
fn configuration(address: IpAddr, data: &std::path::Path) -> serde_json::Value {
    let own = json!([address.to_string()]);
    json!({
        "admin": { "disabled": true, "config": { "persist": false } },
        "storage": { "module": "file_system", "root": data },
        "apps": {
            "pki": { "certificate_authorities": { "local": { "install_trust": false } } },
            "tls": {
                "certificates": { "automate": own },
                "automation": { "policies": [{ "subjects": own, "issuers": [{ "module": "internal" }] }] },
            },
            "http": { "servers": { "acme": {
                "listen": [SocketAddr::from((address, PORT)).to_string()],
                "protocols": ["h1"],
                "automatic_https": { "disable_redirects": true },
                "tls_connection_policies": [{}],
                "routes": [{ "handle": [{
                    "handler": "acme_server",
                    "host": SocketAddr::from((address, PORT)).to_string(),
                    "lifetime": "24h",
                    "challenges": ["http-01", "tls-alpn-01"],
                }] }],
            } } },
        },
    })
}
