//! How many connections the limit of open files allows beside storage and the admin listener (PR-44).
//!
//! An embedded store that can't open a file ends the process, and a node that answers no probe is taken for dead. So
//! public connections are bounded before descriptors run out, even if `limits.connections` is higher.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::ServiceError;
use crate::config::{Config, StorageUrl};
use crate::defaults::{
    ADMIN_CONNECTIONS, EMBEDDED_DESCRIPTORS, LEAST_CONNECTIONS, LISTENER_DESCRIPTORS, OTHER_DESCRIPTORS,
    REDIS_DESCRIPTORS,
};

/// The connections that fit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Room {
    /// Public connections at a time.
    pub(super) connections: usize,
    /// A sentence for the operator, if fewer fit than configured.
    pub(super) warning: Option<String>,
}

/// Raises the limit of open files as far as the system allows, and returns how many connections fit.
pub(super) fn make_room(config: &Config) -> Result<Room, ServiceError> {
    room(config, raise_limit())
}

/// The soft limit becomes the hard one. Returns what it is then; `None` is no limit.
fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "the soft limit of open files cannot be raised to the hard limit");
            current
        }
    }
}

fn room(config: &Config, files: Option<u64>) -> Result<Room, ServiceError> {
    let configured = config.limits.connections;
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    let reserve = reserve(config);
    let allowed = files.saturating_sub(reserve);
    if allowed >= configured {
        return Ok(Room {
            connections: configured,
            warning: None,
        });
    }
    if allowed < LEAST_CONNECTIONS {
        return Err(ServiceError(format!(
            "the limit of open files is too low: it is {files}, and storage, the admin listener and the \
             process itself need {reserve}; raise it (LimitNOFILE, ulimit -n)"
        )));
    }
    let warning = format!(
        "limits.connections is lowered from {configured} to {allowed}: the limit of open files is {files}, \
         and {reserve} of them are kept for storage, the admin listener and the process itself; to have \
         more, raise it (LimitNOFILE, ulimit -n)"
    );
    Ok(Room {
        connections: allowed,
        warning: Some(warning),
    })
}

/// Descriptors that no public connection may take.
fn reserve(config: &Config) -> usize {
    let storage = match config.storage.url {
        StorageUrl::Embedded { .. } => EMBEDDED_DESCRIPTORS,
        StorageUrl::Redis(_) => REDIS_DESCRIPTORS,
        StorageUrl::Memory => 0,
    };
    let listen = &config.listen;
    // Its connections, its socket, and one connection that is accepted before another one is closed.
    let admin = listen.admin.len() * (ADMIN_CONNECTIONS + 2);
    let public = (listen.http.len() + listen.tls.len()) * LISTENER_DESCRIPTORS;
    storage + admin + public + OTHER_DESCRIPTORS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-44: connections never get the descriptors that storage, the admin listener and the process need, and the
    /// operator is told.
    #[test]
    fn connections_leave_the_reserve_alone() {
        let config = Config::default();
        let reserve = reserve(&config);
        assert!((256..=320).contains(&reserve), "{reserve}");
        let room = |files| room(&config, files);
        let plenty = room(Some(1 << 20)).unwrap();
        assert_eq!(
            (plenty.connections, plenty.warning),
            (config.limits.connections, None)
        );
        assert_eq!(room(None).unwrap().connections, config.limits.connections);
        let usual = room(Some(1024)).unwrap();
        assert_eq!(usual.connections, 1024 - reserve);
        let warning = usual.warning.unwrap();
        assert!(
            warning.contains("100000") && warning.contains(&usual.connections.to_string()),
            "{warning}"
        );
        assert!(room(Some(reserve as u64 + 15)).is_err());
        assert!(room(Some(64)).is_err());
    }
}
