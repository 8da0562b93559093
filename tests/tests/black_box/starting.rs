//! A service that cannot do its work says so in a sentence and does not start; one whose disk fills up says so and lives.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use push_tests::application_server::{Http, Push};
use push_tests::node::{Node, Refusal};
use push_tests::payload;
use push_tests::settings::Settings;
use push_tests::user_agent::UserAgent;
use tempfile::TempDir;

/// A refusal that a person can act on: it has all these words, is no crash, and fails the command.
fn says(refusal: &Refusal, words: &[&str]) {
    assert!(!refusal.status.success(), "{refusal:?}");
    assert!(!refusal.said.contains("panicked"), "{}", refusal.said);
    for word in words {
        assert!(
            refusal.said.contains(word),
            "`{word}` is not in:\n{}",
            refusal.said
        );
    }
}

/// A data directory in use by another node is left alone, and the second node says whose it is.
#[tokio::test]
async fn a_locked_data_directory_is_refused() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let first = Node::start(Settings::new().data_directory(&data)).await;
    let refusal = Node::refused(Settings::new().data_directory(&data)).await;
    says(&refusal, &[data.to_str().unwrap(), "another process"]);
    let (mut agent, _) = UserAgent::arrive(&first.connector(), None).await;
    agent.subscribe(None).await;
}

/// PR-3: a damaged store is refused with its place, and never taken for an empty one.
#[tokio::test]
async fn a_damaged_data_directory_is_refused() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let mut node = Node::start(Settings::new().data_directory(&data).set("drain.delay", "0s")).await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    agent.subscribe(None).await;
    agent.leave().await;
    node.terminate();
    assert!(node.ended().await.0.success());
    damage(&data);
    let refusal = Node::refused(Settings::new().data_directory(&data)).await;
    says(&refusal, &[data.to_str().unwrap()]);
    assert!(!refusal.said.contains(&uaid));
}

/// A data directory that cannot be made is refused with its path.
#[tokio::test]
async fn a_data_directory_that_cannot_be_made_is_refused() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("a-file");
    fs::write(&file, "in the way").unwrap();
    let refusal = Node::refused(Settings::new().data_directory(&file)).await;
    says(&refusal, &[file.to_str().unwrap()]);
}

/// A disk without room for a store is refused.
#[tokio::test]
async fn a_full_disk_is_refused_at_start() {
    let refusal = Node::refused(Settings::new().disk_bytes(16 << 10)).await;
    says(&refusal, &["space"]);
}

/// PR-5: when less than the reserve of 256 MiB is free, new messages get 503 and when to try again; what was accepted still goes out, and the
/// service lives.
#[tokio::test]
async fn a_disk_that_fills_up_refuses_new_messages() {
    let settings = Settings::new()
        .disk_bytes((256 + 64) << 20)
        .set("limits.body_bytes", 65_536)
        .set("limits.queue_bytes", 1 << 30)
        .set("limits.queue_messages", 1_000_000);
    let node = Node::start(settings).await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    agent.leave().await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    let push = Push::new(&subscription.push_resource, "first").body(noise());
    server.accepts(&push).await;
    let mut accepted = 1;
    let refused = loop {
        let answer = server
            .push(&Push::new(&subscription.push_resource, "").body(noise()))
            .await;
        if answer.status != 201 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 100_000, "the disk does not fill up");
    };
    assert_eq!(refused.status, 503, "after {accepted}: {}", refused.text());
    assert_ne!(refused.header("retry-after"), "");
    let (mut agent, again) = UserAgent::arrive(&node.connector(), Some(&uaid)).await;
    assert_eq!(again, uaid);
    for _ in 0..100 {
        let arrived = agent.notification().await;
        agent.acknowledge(&arrived).await;
    }
    assert_eq!(node.ask_admin("/healthz").await.status, 200);
}

/// A key that does not exist is refused with the nearest one that does.
#[tokio::test]
async fn an_unknown_key_is_refused() {
    let refusal = Node::refused(Settings::new().set("limits.body_byte", 5_000)).await;
    says(&refusal, &["limits.body_byte", "limits.body_bytes"]);
}

/// A value is refused before a port opens, with its key, wherever it came from.
#[tokio::test]
async fn a_wrong_value_is_refused() {
    let refusal = Node::refused(Settings::new().set("limits.ttl", "for ever")).await;
    says(&refusal, &["limits.ttl", "for ever"]);
    let from_environment = Settings::new().environment("PUSH_SERVICE__LIMITS__BODY_BYTES", "many");
    says(
        &Node::refused(from_environment).await,
        &["PUSH_SERVICE__LIMITS__BODY_BYTES", "many"],
    );
}

/// All that is wrong is told at once: keys, values, variables, the log, keys without effect, and files that are not there.
#[tokio::test]
async fn all_faults_are_told_at_once() {
    let settings = Settings::new()
        .redis("rediss://127.0.0.1:1")
        .set("storage.redis.ca", "/there/is/no/authority.pem")
        .set("limits.body_byte", 5_000)
        .set("limits.ttl", "for ever")
        .set("tls.self_signed", true)
        .environment("PUSH_SERVICE_STORAGE_URL", "memory:")
        .environment("PUSH_SERVICE_LOG", "push-service=debug");
    let refusal = Node::refused(settings).await;
    assert_eq!(refusal.status.code(), Some(2));
    let words = [
        "storage.redis.ca: /there/is/no/authority.pem: No such file",
        "did you mean limits.body_bytes?",
        "`for ever` is not accepted",
        "tls.self_signed is set, but listen.tls is empty",
        "did you mean PUSH_SERVICE__STORAGE__URL?",
        "nothing here logs as `push-service`, did you mean `push_service`?",
    ];
    says(&refusal, &words);
    assert_eq!(
        refusal.said.trim_end().lines().count(),
        1 + words.len(),
        "{}",
        refusal.said
    );
}

/// Kubernetes sets variables that have our name beside a Service that has it. They stop no start.
#[tokio::test]
async fn service_links_stop_no_start() {
    let links = [
        ("PUSH_SERVICE_SERVICE_HOST", "10.0.0.11"),
        ("PUSH_SERVICE_SERVICE_PORT", "80"),
        ("PUSH_SERVICE_SERVICE_PORT_HTTP", "80"),
        ("PUSH_SERVICE_PORT", "tcp://10.0.0.11:80"),
        ("PUSH_SERVICE_PORT_80_TCP", "tcp://10.0.0.11:80"),
        ("PUSH_SERVICE_PORT_80_TCP_PROTO", "tcp"),
        ("PUSH_SERVICE_PORT_80_TCP_PORT", "80"),
        ("PUSH_SERVICE_PORT_80_TCP_ADDR", "10.0.0.11"),
    ];
    let set = |settings: Settings, (name, value): &(&str, &str)| settings.environment(name, value);
    Node::start(links.iter().fold(Settings::new(), set)).await;
}

/// `config check --live` tells all that would keep the service from starting now, and changes nothing; without `--live` only
/// the configuration and the presence of its files count.
#[tokio::test]
async fn a_live_check_tries_files_ports_and_storage() {
    let check = async |node: &Node, words: &[&str]| {
        let output = node
            .runs(&[&["config", "check"], words].concat(), Stdio::null())
            .await;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), said)
    };
    let mut node = Node::start(Settings::new().tls()).await;
    // In use: two public ports, the admin listener's, and the store.
    let (code, said) = check(&node, &["--live"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(
        said.matches("is the service running already?").count(),
        3,
        "{said}"
    );
    assert!(said.contains("another process has the store"), "{said}");
    let (code, said) = check(&node, &[]).await;
    assert_eq!(code, Some(0), "{said}");

    node.kill().await;
    let data = node.data_directory();
    let before = listed(&data);
    let (code, said) = check(&node, &["--live"]).await;
    assert_eq!((code, said.starts_with("ok\n")), (Some(0), true), "{said}");
    assert_eq!(listed(&data), before);

    // A key that is none, a token that is too short, a directory that does not exist, and a Redis that is not there: all told in
    // one run.
    let token = node.certificate().key.with_file_name("token");
    fs::write(&token, "secret").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let key = node.certificate().key.clone();
    fs::write(&key, "no key").unwrap();
    node.reconfigure(|settings| {
        settings
            .redis("redis://127.0.0.1:1")
            .set("admin.token_file", token.display().to_string())
            .set("tls.directory", "/there/is/no/directory")
    });
    let (code, said) = check(&node, &["--live"]).await;
    assert_eq!(code, Some(2), "{said}");
    let of_key = format!("tls: {}", key.display());
    for expected in [
        "tls.directory: /there/is/no/directory: No such file",
        "the token is shorter than",
        &of_key,
        "storage.url: ",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    fs::remove_file(&key).unwrap();
    let (code, said) = check(&node, &[]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("tls.key: ") && said.contains("No such file"),
        "{said}"
    );
}

/// `config check --live` names what is in the way of files that the service makes: a directory in place of the self-signed
/// certificate's key, a file in place of the directory of ordered certificates, a link to nothing in place of the data directory.
#[tokio::test]
async fn a_live_check_finds_what_is_in_the_way_of_new_files() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    fs::create_dir_all(data.join("self-signed-key.pem")).unwrap();
    fs::write(data.join("acme"), "in the way").unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(directory.path().join("nothing"), &link).unwrap();
    let over_tls = |data: &Path| {
        Settings::new()
            .data_directory(data)
            .set("listen.tls", vec!["127.0.0.1:0"])
    };
    let rows = [
        (
            over_tls(&data).set("tls.self_signed", true),
            "self-signed-key.pem",
        ),
        (
            over_tls(&data).set("tls.acme.domains", vec!["push.example"]),
            "acme is not a directory",
        ),
        (Settings::new().data_directory(&link), "link is not a directory"),
    ];
    for (settings, expected) in rows {
        let output = Node::stopped(settings)
            .runs(&["config", "check", "--live"], Stdio::null())
            .await;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(2), "{expected}: {said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

/// The files of a directory, with their lengths.
fn listed(directory: &Path) -> Vec<(PathBuf, u64)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files.extend(listed(&path)),
            false => files.push((path.clone(), fs::metadata(&path).expect("a file").len())),
        }
    }
    files.sort();
    files
}

/// The environment overrides the file.
#[tokio::test]
async fn the_environment_comes_first() {
    let settings = Settings::new()
        .set("limits.body_bytes", 5_000)
        .environment("PUSH_SERVICE__LIMITS__BODY_BYTES", "4096");
    let node = Node::start(settings).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    for (bytes, expected) in [(4_096, 201), (4_097, 413)] {
        let push = Push::new(&subscription.push_resource, "").body(payload::body_of("", bytes));
        assert_eq!(server.push(&push).await.status, expected, "{bytes} bytes");
    }
}

/// An address that is taken is refused with its name.
#[tokio::test]
async fn an_address_in_use_is_refused() {
    let first = Node::start(Settings::new()).await;
    let taken = first.connector().address.to_string();
    let refusal = Node::refused(Settings::new().set("listen.http", vec![taken.clone()])).await;
    says(&refusal, &[&taken, "in use"]);
}

/// Writes noise over the beginning of every file, as a failing disk or a wrong restore would.
fn damage(directory: &Path) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            damage(&path);
        } else {
            let mut content = fs::read(&path).expect("a file");
            for byte in content.iter_mut().take(4_096) {
                *byte = !*byte;
            }
            fs::write(&path, content).expect("a file");
        }
    }
}

/// A body that no store can make smaller.
fn noise() -> Vec<u8> {
    use ring::rand::SecureRandom as _;
    let mut body = payload::body_of("", 65_536);
    let after_header = body.len() - 65_000;
    ring::rand::SystemRandom::new()
        .fill(&mut body[after_header..])
        .expect("random bits");
    body
}
