//! nghttp: the one command that people have which takes server push.

use push_tests::binaries;
use push_tests::node::Node;
use push_tests::process::Process;
use push_tests::settings::Settings;
use push_tests::within;

use crate::rfc8030_clients::curl::Curl;
use crate::rfc8030_clients::run;

/// R30-SUB-2 to R30-SUB-4, R30-MON-3, R30-MON-11, R30-MON-13, R30-H2-8, R30-ACK-2: in clear.
#[tokio::test]
async fn in_clear() {
    subscribes_and_is_pushed_to(&Node::start(Settings::new()).await).await;
}

/// R30-TLS-1, R30-MON-3, R30-H2-8: over TLS, with a certificate that the service made for itself.
#[tokio::test]
async fn over_tls() {
    subscribes_and_is_pushed_to(&Node::start(Settings::new().self_signed()).await).await;
}

async fn subscribes_and_is_pushed_to(node: &Node) {
    let service = format!("{}/subscribe", node.public_url());
    let said = nghttp(&["-H", ":method: POST", &service]).await;
    assert!(said.contains(":status: 201"), "{said}");
    let subscription = field(&said, "location: ", "");
    let push = field(&said, "link: <", ">; rel=\"urn:ietf:params:push\"");
    let no_wait = ["-H", "prefer: wait=0", &subscription];
    let said = nghttp(&no_wait).await;
    assert!(
        said.contains(":status: 204") && !said.contains("PUSH_PROMISE"),
        "{said}"
    );

    let curl = Curl::of(node.public_url());
    for text in ["first", "second, which is longer"] {
        curl.sends(&push, text, &[]).await;
    }
    let table = run("nghttp", &[&["-y", "-ans"], &no_wait[..]].concat(), "").await;
    let pushed: Vec<_> = table.lines().filter(|line| line.contains(" *")).collect();
    assert_eq!(
        pushed.len(),
        2 + 1,
        "two messages, and the table's own explanation:\n{table}"
    );
    for size in ["first".len(), "second, which is longer".len()] {
        let row = format!(" 200  {size:>3} /message/");
        assert!(pushed.iter().any(|line| line.contains(&row)), "{row}\n{table}");
    }

    // One that stays: what waits, what comes, and the end of the subscription.
    let mut command = binaries::program("nghttp");
    command.args(["-nvy", &subscription]);
    let monitor = Process::start(command);
    curl.sends(&push, "third", &[]).await;
    let waited = monitor.log().wait_for_line(&["content-length: 5"]);
    within("the first message is pushed", waited).await;
    let third = monitor.log().wait_until(|lines| {
        let promises = lines
            .iter()
            .filter(|line| line.contains("recv PUSH_PROMISE frame"));
        (promises.count() == 3).then_some(())
    });
    within("all three are promised", third).await;
    let said = monitor.log().text();
    for (at, _) in said.match_indices(") :path: /message/") {
        let path = said[at..].lines().next().and_then(|line| line.rsplit(' ').next());
        let message = format!("{}{}", node.public_url(), path.expect("a path"));
        let said = nghttp(&["-H", ":method: DELETE", &message]).await;
        assert!(said.contains(":status: 204"), "{said}");
    }
    let said = nghttp(&no_wait).await;
    assert!(said.contains(":status: 204"), "{said}");
    let gone = ["-H", ":method: DELETE", &subscription];
    assert!(nghttp(&gone).await.contains(":status: 204"));
    assert!(nghttp(&gone).await.contains(":status: 404"));
    within("the monitor ends", monitor.ended()).await;
}

/// What nghttp tells of all frames, without bodies.
async fn nghttp(words: &[&str]) -> String {
    run("nghttp", &[&["-nvy"], words].concat(), "").await
}

/// What stands between these two in a line of what was received.
fn field(said: &str, before: &str, after: &str) -> String {
    let mut received = said.lines().filter(|line| line.contains("recv (stream_id="));
    let found = received.find_map(|line| line.split_once(before)?.1.strip_suffix(after));
    found
        .unwrap_or_else(|| panic!("no {before}…{after} in\n{said}"))
        .to_owned()
}
