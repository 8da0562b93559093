//! Whether the service could start now: files are read, ports are bound, storage is looked at. Nothing stays of it.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

use super::{build, descriptors, stores};
use crate::config::{Config, Examined};
use crate::listeners::Listener;
use crate::private;
use crate::tls::{self, Acceptor, CertificateSource, TlsError};

/// What would happen at a start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LiveCheck {
    /// Why the service would not start, one sentence each.
    pub faults: Vec<String>,
    /// What would work but is less safe than it may look, one sentence each.
    pub warnings: Vec<String>,
}

/// Tries all that a start would do, and changes nothing. What depends on refused values is not tried.
///
/// Ports of a running service are in use, and so is its embedded store: stop it first, or take the faults for what they are.
pub async fn check_live(examined: &Examined) -> LiveCheck {
    let config = examined.config();
    let mut found = LiveCheck::default();
    if examined.is_sure_of(&[
        "limits.connections",
        "storage.url",
        "listen.http",
        "listen.tls",
        "listen.admin",
    ]) {
        match descriptors::make_room(config) {
            Ok(room) => found.warnings.extend(room.warning),
            Err(error) => found.faults.push(error.to_string()),
        }
    }
    certificates(examined, &mut found.faults).await;
    ports(examined, &mut found.faults).await;
    if examined.is_sure_of(&["admin.token_file"])
        && let Err(error) = build::actions(config).await
    {
        found.faults.push(error.to_string());
    }
    let of_storage = [
        "storage.url",
        "storage.redis.ca",
        "storage.redis.prefix",
        "storage.redis.wait_replicas",
        "storage.redis.wait_replicas_min",
        "storage.redis.wait_aof",
        "security.sealing_keys",
    ];
    if examined.is_sure_of(&of_storage) {
        match stores::inspect(config).await {
            Ok(warnings) => found.warnings.extend(warnings),
            Err(error) => found.faults.push(error.to_string()),
        }
    }
    found
}

/// Reads the certificates, with their keys, and the authorities of an ACME server.
async fn certificates(examined: &Examined, faults: &mut Vec<String>) {
    let Config { listen, tls, .. } = examined.config();
    if listen.tls.is_empty() {
        return;
    }
    if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key)
        && examined.is_sure_of(&["tls.certificate", "tls.key"])
    {
        let source = CertificateSource::Files {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        faults.extend(complaint("tls", move || Acceptor::new(source).map(drop)).await);
    }
    if let Some(directory) = tls
        .directory
        .clone()
        .filter(|_| examined.is_sure_of(&["tls.directory"]))
    {
        faults.extend(complaint("tls.directory", move || tls::check_directory(directory)).await);
    }
    if examined.is_sure_of(&[
        "tls.acme.domains",
        "tls.acme.cache",
        "tls.certificate",
        "storage.url",
    ]) {
        let config = examined.config();
        if !tls.acme.domains.is_empty() {
            let cache = build::acme_cache(config);
            let looked = spawn_blocking(move || private::may_make_files_in(&cache)).await;
            let refused = looked.map_err(Into::into).and_then(|looked| looked).err();
            faults.extend(refused.map(|why: std::io::Error| format!("tls.acme.cache: {why}")));
        } else if tls.certificate.is_none() {
            let directory = build::data_directory(config).to_owned();
            faults.extend(complaint("tls", move || tls::check_self_signed(&directory)).await);
        }
    }
    if examined.is_sure_of(&["tls.acme.domains", "tls.acme.ca", "tls.acme.directory"])
        && let Err(error) = build::renewer(examined.config()).await
    {
        faults.push(error.to_string());
    }
}

async fn complaint(
    what: &str,
    read: impl FnOnce() -> Result<(), TlsError> + Send + 'static,
) -> Option<String> {
    let why = match spawn_blocking(read).await {
        Ok(read) => read.err()?.to_string(),
        Err(panic) => panic.to_string(),
    };
    Some(format!("{what}: {why}"))
}

/// Binds every port, all at the same time.
async fn ports(examined: &Examined, faults: &mut Vec<String>) {
    let listen = &examined.config().listen;
    let (mut public, mut admin) = (Vec::new(), Vec::new());
    let refused = |key: &str, address: &SocketAddr, error: std::io::Error| {
        let help = match error.kind() {
            std::io::ErrorKind::AddrInUse => "; is the service running already?",
            _ => "",
        };
        format!("{key}: cannot listen on {address}: {error}{help}")
    };
    for (key, addresses) in [("listen.http", &listen.http), ("listen.tls", &listen.tls)] {
        for address in addresses.iter().filter(|_| examined.is_sure_of(&[key])) {
            match Listener::bind(*address, None) {
                Ok(listener) => public.push(listener),
                Err(error) => faults.push(refused(key, address, error)),
            }
        }
    }
    for address in listen
        .admin
        .iter()
        .filter(|_| examined.is_sure_of(&["listen.admin"]))
    {
        match TcpListener::bind(address).await {
            Ok(listener) => admin.push(listener),
            Err(error) => faults.push(refused("listen.admin", address, error)),
        }
    }
}
