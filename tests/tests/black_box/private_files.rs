//! Files that only their owner can read, whatever the umask is.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use push_tests::application_server::{Http, Push};
use push_tests::listener::Agent;
use push_tests::node::Node;
use push_tests::payload;
use push_tests::settings::Settings;
use push_tests::user_agent::UserAgent;
use rustix::fs::Mode;

/// The path of everything in a directory, and below it.
fn all_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(all_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Files have the mode 0600, and directories 0700, but for a certificate, which is public.
fn are_private(directory: &Path) {
    for path in all_below(directory) {
        let about = fs::symlink_metadata(&path).expect("it is there");
        let is_public = path.ends_with("self-signed-certificate.pem");
        let expected = match (about.is_dir(), is_public) {
            (true, _) => 0o700,
            (false, true) => 0o644,
            (false, false) => 0o600,
        };
        let mode = about.permissions().mode() & 0o777;
        assert_eq!(mode, expected, "{:o}: {}", mode, path.display());
    }
}

/// Without a umask: the store with its keys, waiting messages and certificates, an export, and the state of a user agent with
/// its sockets are for their owner only.
#[tokio::test]
async fn only_the_owner_reads_secrets() {
    rustix::process::umask(Mode::empty());
    let settings = Settings::new().self_signed().set("drain.delay", "0s");
    let plain = format!("{}:0", settings.address());
    let mut node = Node::start(settings.set("listen.http", vec![plain])).await;
    let (mut waiting, _) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = waiting.subscribe(None).await;
    waiting.leave().await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    for number in 0..100 {
        let push =
            Push::new(&subscription.push_resource, "").body(payload::body_of(&number.to_string(), 4_000));
        assert_eq!(server.push(&push).await.status, 201);
    }
    let agent = Agent::at(&node.connector());
    agent.subscribe("door", &[]).await;
    let mut listener = agent.listen(&[]);
    listener.says(&["connected"]).await;
    are_private(&agent.state);
    listener.terminate();
    assert!(listener.ended().await.success());
    are_private(&agent.state);
    are_private(&node.data_directory());
    node.terminate();
    assert!(node.ended().await.0.success());
    are_private(&node.data_directory());
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("a.export");
    let exported = node
        .runs(&["export", file.to_str().expect("text")], Stdio::null())
        .await;
    assert!(exported.status.success(), "{exported:?}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

/// A data directory that others could read is closed at the next start, and a key that all can read is named. Both are
/// logged.
#[tokio::test]
async fn a_start_says_what_others_could_read() {
    let mut node = Node::start(Settings::new().tls().set("drain.delay", "0s")).await;
    node.terminate();
    assert!(node.ended().await.0.success());
    for path in all_below(&node.data_directory()) {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    let key = node.certificate().key.clone();
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    node.start_again().await;
    are_private(&node.data_directory());
    let said = node.log().text();
    assert!(
        said.contains("other users could read the data directory until now"),
        "{said}"
    );
    let named = said
        .lines()
        .find(|line| line.contains("every user of this machine can read"));
    let named = named.expect("the key is named");
    assert!(named.contains(key.to_str().expect("text")), "{named}");
}
