//! The state of a user agent that speaks HTTP/2, and what it has to do with that of a WebSocket.

use super::*;

const SET: &str = "https://push.example.net/subscriptions/a-set-whose-name-is-longer-than-what-the-services-of-the-websocket-may-call-a-user-agent-which-is-128";

/// A state with one subscription, over HTTP/2.
fn over_http2() -> (Rig, SubscriptionName) {
    let mut rig = Rig::new();
    rig.state
        .set_server(&server("https://push.example.net/secret"))
        .unwrap();
    let name = rig.ask("door");
    rig.save(&Change::Identified(Identity::of_set(SET).unwrap()));
    rig.save(&located(name, "https://push.example.net/subscription/1"));
    rig.save(&confirmed(name, "https://push.example.net/push/1"));
    (rig, name)
}

/// R30-SUB-3, R30-SET-2, PR-1: set, subscription resource and push resource outlive the process, also while a subscription
/// is ending.
#[test]
fn sets_and_subscription_resources_survive() {
    let (mut rig, name) = over_http2();
    for change in [None, Some(Change::Ending(name))] {
        change.iter().for_each(|change| rig.save(change));
        let before = all_of(&rig.state);
        rig.reopen();
        assert_eq!(all_of(&rig.state), before);
    }
    let durable = rig.state.durable();
    assert_eq!(durable.identity.as_ref().unwrap().as_str(), SET);
    let resource = durable.registrations[&name].resource.as_ref().unwrap();
    assert_eq!(resource.as_str(), "https://push.example.net/subscription/1");
    assert!(rig.holds("\"format\":2"));
}

/// What a WebSocket's user agent keeps is what it always was: versions before HTTP/2 read it, and theirs is read.
#[test]
fn the_format_of_a_websocket_is_the_first() {
    let mut rig = Rig::new();
    rig.state.set_server(&server("wss://push.example.net/")).unwrap();
    rig.save(&identified("me"));
    rig.subscribe("door");
    assert!(rig.holds("\"format\":1,") && !rig.holds("\"resource\""));
    let before = all_of(&rig.state);
    rig.reopen();
    assert_eq!(all_of(&rig.state), before);
}

/// What a subscription is to its service depends on the transport: the other one is refused with a sentence that says what
/// to type, until there are no subscriptions.
#[test]
fn a_state_belongs_to_one_transport() {
    let (mut rig, name) = over_http2();
    let before = all_of(&rig.state);
    let other = server("wss://push.example.net/secret");
    let error = rig.state.set_server(&other).unwrap_err();
    assert!(matches!(error, StateError::OtherTransport(_)));
    let sentence = error.to_string();
    assert!(
        sentence.contains("`ServerUrl::over(Transport::Http2)`") && !sentence.contains("secret"),
        "{sentence}"
    );
    rig.reopen();
    assert_eq!(all_of(&rig.state), before);
    // Another port is the same service over the same transport.
    rig.state
        .set_server(&server("https://push.example.net:8443/"))
        .unwrap();
    rig.save(&Change::Ended(name));
    rig.state.set_server(&other).unwrap();
    rig.reopen();
    assert_eq!(
        (rig.state.server(), &rig.state.durable().identity),
        (Some(&other), &None)
    );
}

/// WP-RFR-1, PR-47: a set that is gone takes the keys along, but not before the service has made the subscription again; the name
/// and the label stay.
#[test]
fn a_forgotten_set_brings_other_keys() {
    let (mut rig, name) = over_http2();
    let before = private_key(&rig.state, name);
    rig.save(&Change::Forgotten);
    rig.save(&Change::Identified(Identity::of_set(SET).unwrap()));
    rig.reopen();
    assert_eq!(private_key(&rig.state, name), before);
    rig.save(&confirmed(name, "https://push.example.net/push/1"));
    rig.reopen();
    assert_ne!(private_key(&rig.state, name), before);
    assert_eq!(rig.state.name_of("door"), Some(name));
}
