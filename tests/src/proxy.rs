//! Proxies that people put in front of a service, with the time after which each closes an idle connection.
//!
//! Each has an address of its own, or listens where the test says. It has one port for WebSockets and requests, and nginx on an
//! address of its own has a second one that speaks HTTP/2 in clear.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::application_server::Http;
use crate::binaries;
use crate::certificate::Certificate;
use crate::connector::Connector;
use crate::process::Process;
use crate::settings::own_address;
use crate::within;

const PORT: u16 = 8080;
const HTTP2_PORT: u16 = 8082;

/// Connections of a balancing proxy, both sides of each counted once.
const BALANCED: usize = 8_000;

/// Where a server's status is in HAProxy's CSV (its Management Guide, §9.1).
const STATUS_COLUMN: usize = 17;

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As the README sets it up, with the default `proxy_read_timeout` of 60 s.
    Nginx,
    /// With the timeouts of Debian's and of its own documentation's configuration: 50 s.
    HaProxy,
    /// It closes no upgraded connection for being idle.
    Caddy,
}

/// Whether nginx speaks HTTP/2 over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http2 {
    /// It does.
    On,
    /// It speaks HTTP/1.1 only.
    Off,
}

/// Where a proxy is going to be.
#[derive(Clone, Copy, Debug)]
pub struct ProxyAddress(IpAddr);

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    _process: Process,
    _directory: TempDir,
}

impl Kind {
    /// After how much silence it closes a connection by default; `None`: never.
    pub fn idle(self) -> Option<Duration> {
        match self {
            Self::Nginx => Some(Duration::from_secs(60)),
            Self::HaProxy => Some(Duration::from_secs(50)),
            Self::Caddy => None,
        }
    }
}

impl ProxyAddress {
    /// One that no other server of this machine has.
    pub fn own() -> Self {
        Self(own_address())
    }

    /// Where it speaks HTTP/1.1.
    pub fn http1(self) -> SocketAddr {
        SocketAddr::from((self.0, PORT))
    }

    /// Where it speaks HTTP/2 in clear, if it does.
    pub fn http2(self) -> SocketAddr {
        SocketAddr::from((self.0, HTTP2_PORT))
    }
}

impl Proxy {
    /// Starts one here in front of a service, whose idle connections it closes this much faster than by default.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start(kind: Kind, address: ProxyAddress, service: SocketAddr, factor: u32) -> Self {
        let directory = TempDir::with_prefix("proxy-").expect("a directory for the proxy");
        let idle_ms = kind.idle().map_or(0, |idle| (idle / factor).as_millis());
        let configuration = match kind {
            Kind::Nginx => {
                let listens = format!("listen {}; listen {} http2;", address.http1(), address.http2());
                let location = format!(
                    "proxy_read_timeout {idle_ms}ms; proxy_send_timeout {idle_ms}ms; proxy_buffering off;"
                );
                nginx(&listens, &location, service, directory.path())
            }
            Kind::HaProxy => haproxy(address, service, idle_ms),
            Kind::Caddy => caddy(address, service),
        };
        Self::run(kind, &configuration, address.http1(), directory).await
    }

    /// Starts nginx here in front of a service, as the README sets it up: in clear, or with this certificate, and over TLS with
    /// HTTP/2 or without.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn nginx(public: SocketAddr, service: SocketAddr, tls: Option<(&Certificate, Http2)>) -> Self {
        let directory = TempDir::with_prefix("nginx-").expect("a directory for nginx");
        let listens = match tls {
            None => format!("listen {public};"),
            Some((certificate, http2)) => format!(
                "listen {public} ssl{}; ssl_certificate {}; ssl_certificate_key {};",
                if http2 == Http2::On { " http2" } else { "" },
                certificate.certificate.display(),
                certificate.key.display(),
            ),
        };
        let configuration = nginx(&listens, "proxy_read_timeout 15m;", service, directory.path());
        Self::run(Kind::Nginx, &configuration, public, directory).await
    }

    /// Starts HAProxy here in front of several nodes: each with where it speaks HTTP, and the admin listener whose `/readyz` says
    /// whether it gets new connections. [`Proxy::is_up`] tells what HAProxy knows of them.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn balancing(
        address: ProxyAddress,
        balance: &str,
        nodes: impl IntoIterator<Item = (SocketAddr, SocketAddr)>,
    ) -> Self {
        let directory = TempDir::with_prefix("proxy-").expect("a directory for the proxy");
        let servers: String = nodes
            .into_iter()
            .enumerate()
            .map(|(nth, (http, admin))| {
                format!(
                    "    server node{nth} {http} check addr {} port {} inter 250ms fall 2 rise 1\n",
                    admin.ip(),
                    admin.port()
                )
            })
            .collect();
        let configuration = format!(
            "global\n    maxconn {BALANCED}\ndefaults\n    mode http\n    timeout connect 5s\n    timeout client 60s\n    \
             timeout server 60s\n    timeout tunnel 1h\n\
             frontend all\n    bind {}\n    default_backend service\n\
             frontend figures\n    bind {}\n    stats enable\n    stats uri /stats\n\
             backend service\n    balance {balance}\n    option httpchk GET /readyz\n{servers}",
            address.http1(),
            address.http2(),
        );
        Self::run(Kind::HaProxy, &configuration, address.http1(), directory).await
    }

    /// Whether a balancing proxy at this address gives the `nth` of its nodes new connections.
    ///
    /// # Panics
    ///
    /// When it does not say.
    pub async fn is_up(address: ProxyAddress, nth: usize) -> bool {
        let connector = Connector::clear(address.http2());
        let mut http = Http::connect(&connector).await.expect("HAProxy listens");
        let figures = http.get("/stats;csv").await.expect("HAProxy answers").text();
        let start = format!("service,node{nth},");
        let line = figures.lines().find(|line| line.starts_with(&start));
        let status = line.and_then(|line| line.split(',').nth(STATUS_COLUMN));
        status.expect("a line of the node").starts_with("UP")
    }

    async fn run(kind: Kind, configuration: &str, address: SocketAddr, directory: TempDir) -> Self {
        let file = directory.path().join("configuration");
        std::fs::write(&file, configuration).expect("the configuration is written");
        let process = Process::start(command(kind, &file, directory.path()));
        let listens = async {
            while TcpStream::connect(address).await.is_err() {
                assert!(!process.has_ended(), "{kind:?} ended:\n{}", process.log().text());
                tokio::task::yield_now().await;
            }
        };
        within("the proxy listens", listens).await;
        Self {
            _process: process,
            _directory: directory,
        }
    }
}

fn command(kind: Kind, configuration: &Path, directory: &Path) -> std::process::Command {
    let mut command = match kind {
        Kind::Nginx => binaries::program(&installed("nginx")),
        Kind::HaProxy => binaries::program(&installed("haproxy")),
        Kind::Caddy => binaries::program(&named_or_installed("CADDY", "caddy")),
    };
    match kind {
        Kind::Nginx => command
            .arg("-e")
            .arg("stderr")
            .arg("-p")
            .arg(directory)
            .arg("-c")
            .arg(configuration),
        Kind::HaProxy => command.arg("-db").arg("-f").arg(configuration),
        Kind::Caddy => {
            let command = command
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(configuration);
            command.env("HOME", directory)
        }
    };
    command
}

/// Programs for administrators are not in every user's path.
fn installed(program: &str) -> String {
    let path = PathBuf::from("/usr/sbin").join(program);
    if path.exists() {
        path.display().to_string()
    } else {
        program.to_owned()
    }
}

fn named_or_installed(variable: &str, program: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| program.to_owned())
}

/// What the locations of all have: the README's, for WebSockets as well.
fn nginx(listens: &str, location: &str, service: SocketAddr, directory: &Path) -> String {
    let at = directory.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("{name}_temp_path {at}/{name};\n"))
        .collect();
    format!(
        "daemon off; master_process off; pid {at}/pid; error_log stderr;
        events {{}}
        http {{
            access_log off;
            {temporary}
            server {{
                {listens}
                location / {{
                    proxy_pass http://{service};
                    proxy_http_version 1.1;
                    proxy_set_header Host $host;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection \"upgrade\";
                    proxy_set_header X-Forwarded-For $remote_addr;
                    {location}
                }}
            }}
        }}"
    )
}

fn haproxy(address: ProxyAddress, service: SocketAddr, idle_ms: u128) -> String {
    let address = address.http1();
    format!(
        "defaults\n    mode http\n    timeout connect 5s\n    timeout client {idle_ms}ms\n    timeout server {idle_ms}ms\n\
         frontend all\n    bind {address}\n    default_backend service\nbackend service\n    server node {service}\n"
    )
}

fn caddy(address: ProxyAddress, service: SocketAddr) -> String {
    let address = address.http1();
    format!(
        "{{\n    admin off\n    auto_https off\n    persist_config off\n}}\nhttp://{address} {{\n    bind {}\n\
         \x20   reverse_proxy {service}\n}}\n",
        address.ip()
    )
}
