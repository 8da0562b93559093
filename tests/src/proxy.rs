//! Proxies that people put in front of a service, with the time after which each closes an idle connection.
//!
//! Each has an address of its own. What it listens with is the port of WebSockets and requests, and for nginx a second one
//! that speaks HTTP/2 in clear.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::binaries;
use crate::process::Process;
use crate::settings::own_address;
use crate::within;

const PORT: u16 = 8080;
const HTTP2_PORT: u16 = 8082;

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

/// Where a proxy is going to be.
#[derive(Clone, Copy, Debug)]
pub struct Place(IpAddr);

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    place: Place,
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

impl Place {
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
    pub async fn start(kind: Kind, place: Place, service: SocketAddr, factor: u32) -> Self {
        let directory = TempDir::with_prefix("proxy-").expect("a directory for the proxy");
        let idle_ms = kind.idle().map_or(0, |idle| (idle / factor).as_millis());
        let configuration = match kind {
            Kind::Nginx => nginx(place, service, idle_ms, directory.path()),
            Kind::HaProxy => haproxy(place, service, idle_ms),
            Kind::Caddy => caddy(place, service),
        };
        let file = directory.path().join("configuration");
        std::fs::write(&file, configuration).expect("the configuration is written");
        let process = Process::start(command(kind, &file, directory.path()));
        let listens = async {
            while TcpStream::connect(place.http1()).await.is_err() {
                assert!(!process.has_ended(), "{kind:?} ended:\n{}", process.log().text());
                tokio::task::yield_now().await;
            }
        };
        within("the proxy listens", listens).await;
        Self {
            place,
            _process: process,
            _directory: directory,
        }
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        self.place
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

/// Programs for administrators are not in everybody's path.
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

fn nginx(place: Place, service: SocketAddr, idle_ms: u128, directory: &Path) -> String {
    let mut temporary = String::new();
    for what in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let path = directory.join(what);
        writeln!(temporary, "    {what}_temp_path {};", path.display()).expect("writing to a string");
    }
    let (http1, http2) = (place.http1(), place.http2());
    let pid = directory.join("pid");
    format!(
        "daemon off;\nmaster_process off;\npid {};\nerror_log stderr;\nevents {{}}\nhttp {{\n    access_log off;\n{temporary}\
         \x20   server {{\n        listen {http1};\n        listen {http2} http2;\n        location / {{\n\
         \x20           proxy_pass http://{service};\n            proxy_http_version 1.1;\n\
         \x20           proxy_set_header Host $http_host;\n            proxy_set_header Upgrade $http_upgrade;\n\
         \x20           proxy_set_header Connection \"upgrade\";\n            proxy_set_header X-Forwarded-For $remote_addr;\n\
         \x20           proxy_read_timeout {idle_ms}ms;\n            proxy_send_timeout {idle_ms}ms;\n\
         \x20           proxy_buffering off;\n        }}\n    }}\n}}\n",
        pid.display()
    )
}

fn haproxy(place: Place, service: SocketAddr, idle_ms: u128) -> String {
    let address = place.http1();
    format!(
        "defaults\n    mode http\n    timeout connect 5s\n    timeout client {idle_ms}ms\n    timeout server {idle_ms}ms\n\
         frontend all\n    bind {address}\n    default_backend service\nbackend service\n    server node {service}\n"
    )
}

fn caddy(place: Place, service: SocketAddr) -> String {
    let address = place.http1();
    format!(
        "{{\n    admin off\n    auto_https off\n    persist_config off\n}}\nhttp://{address} {{\n    bind {}\n\
         \x20   reverse_proxy {service}\n}}\n",
        address.ip()
    )
}
