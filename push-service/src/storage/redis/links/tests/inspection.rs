//! What is warned of: a server that keeps nothing, and rights that are missing.

use std::collections::BTreeSet;

use super::*;
use crate::storage::redis::links::inspection::rules;
use crate::storage::redis::scripts::{Scripts, present, senders};

/// The start, `/status` and the log tell of a server that keeps nothing, or only snapshots; one with an append-only file is
/// fine.
#[tokio::test]
async fn a_server_that_keeps_nothing_is_warned_of() {
    let rows = [
        (Configuration::new(), Some("keeps nothing on disk")),
        (
            Configuration::new().set("save", "3600 1"),
            Some("keeps only snapshots"),
        ),
        (Configuration::new().durable(), None),
    ];
    for (configuration, expected) in rows {
        let server = Server::start(configuration).await;
        let warnings = connect(&server.url()).await.warnings();
        match expected {
            None => assert_eq!(warnings, [""; 0]),
            Some(expected) => {
                assert_eq!(warnings.len(), 1, "{warnings:?}");
                assert!(warnings[0].contains(expected), "{warnings:?}");
                assert!(
                    warnings[0].contains(&server.address().to_string()),
                    "{warnings:?}"
                );
            }
        }
    }
}

/// A server that is changed so that it drops messages is warned of at the next inspection.
#[tokio::test]
async fn a_server_that_begins_to_evict_is_warned_of() {
    let server = Server::start(Configuration::new().durable()).await;
    let primaries = connect(&server.url()).await;
    assert_eq!(primaries.warnings(), [""; 0]);
    let evict = ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"];
    server.command(&evict).await.expect_ok();
    primaries.inspect().await;
    let warnings = primaries.warnings();
    assert!(
        warnings.len() == 1 && warnings[0].contains("allkeys-lru"),
        "{warnings:?}"
    );
}

/// Each right that is missing is named, with the rule that grants it: a command, the keys, the channels. A user who may not ask
/// is told so.
#[tokio::test]
async fn a_missing_right_is_warned_of() {
    let server = Server::start(Configuration::new().durable().user("push", "right")).await;
    let options = || Options {
        prefix: "push".to_owned(),
        ..Options::default()
    };
    let primaries = connect_with(&server.url(), options()).await.unwrap();
    let set_user = async |rules: &[&str]| {
        let command = [&["ACL", "SETUSER", "push"], rules].concat();
        server.command(&command).await.expect_ok();
    };
    let warnings = async || {
        primaries.inspect().await;
        primaries.warnings()
    };
    let everything = ["reset", "on", ">right", "~push:*", "&push:*", "+@all"];
    // Of the way in, without which nothing can be asked; and of a cluster, sentinels and replicas, which are not there.
    let apart = [
        "+info",
        "+select",
        "+cluster|slots",
        "+cluster|info",
        "+asking",
        "+role",
        "+wait",
        "+waitaof",
    ];
    for rule in rules().filter(|rule| !apart.contains(rule)) {
        set_user(&everything).await;
        set_user(&[&rule.replacen('+', "-", 1)]).await;
        let warnings = warnings().await;
        let expected =
            format!("lacks rights, and what needs them fails: run `ACL SETUSER push {rule}` there");
        assert!(
            warnings.len() == 1 && warnings[0].ends_with(&expected),
            "{rule}: {warnings:?}"
        );
    }
    let rows: [(&[&str], &str); 4] = [
        (&["resetkeys", "~other:*"], "`ACL SETUSER push ~push:*`"),
        (&["resetkeys", "%R~push:*"], "`ACL SETUSER push ~push:*`"),
        (&["resetchannels", "&other:*"], "`ACL SETUSER push &push:*`"),
        (
            &["-acl|dryrun"],
            "cannot check the rights of this service's user: run `ACL SETUSER push +acl|dryrun`",
        ),
    ];
    for (change, expected) in rows {
        set_user(&everything).await;
        set_user(change).await;
        let warnings = warnings().await;
        assert!(
            warnings.len() == 1 && warnings[0].contains(expected),
            "{change:?}: {warnings:?}"
        );
    }
    set_user(&everything).await;
    assert_eq!(warnings().await, [""; 0]);
    set_user(&["-hget", "-zadd", "resetchannels"]).await;
    let lacking = warnings().await;
    assert!(
        lacking[0].contains("`ACL SETUSER push +hget +zadd &push:*`"),
        "{lacking:?}"
    );
    // A node that starts warns as well, and starts.
    let another = connect_with(&server.url(), options()).await.unwrap();
    assert_eq!(another.warnings(), lacking);
}

/// Whatever a script calls is among the rights that are asked for.
#[test]
fn what_scripts_call_is_asked_for() {
    let scripts = Scripts::new();
    let (present, senders) = (present().script, senders().script);
    let mut sources: Vec<_> = scripts.all().map(|script| script.source.as_str()).collect();
    sources.extend([present.source.as_str(), senders.source.as_str()]);
    let mut called = BTreeSet::new();
    for source in sources {
        for (_, call) in source
            .match_indices("call('")
            .map(|(at, found)| (at, &source[at + found.len()..]))
        {
            let command = call.split('\'').next().unwrap();
            called.insert(format!("+{}", command.to_ascii_lowercase()));
        }
    }
    assert!(called.len() > 15, "{called:?}");
    let asked: BTreeSet<_> = rules().map(str::to_owned).collect();
    let missing: Vec<_> = called.difference(&asked).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
