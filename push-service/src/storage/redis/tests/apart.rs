//! What goes over which connection.

use push_tests::redis::gate::{Gate, Way, Which};
use push_tests::redis::{Configuration, Server};

use super::super::scripts::Scripts;
use super::{OWN, open_with};
use crate::storage::Manner;
use crate::storage::contract::{enqueue, everything, ids, seat, user_agent};

/// PR-34: a page that does not get through delays no step: pages have a connection of their own.
#[tokio::test]
async fn a_page_that_stalls_delays_no_step() {
    let server = Server::start(Configuration::new()).await;
    let attach: &'static str = Scripts::new().attach.script.sha1.leak();
    let mut gate = Gate::listening_for(&[attach], server.address()).await;
    let rig = open_with(&format!("redis://{}", gate.address()), OWN, "push".to_owned()).await;
    rig.subscribed(1, 1).await;
    rig.attached(1, seat(1)).await;

    gate.stall(Which::Said(attach), Way::Both);
    let stalled = rig
        .storage
        .attach(user_agent(1), seat(2), everything(), Manner::Asking);
    let stored = rig.stored(enqueue(1, 1, b"a"));
    let stored = tokio::select! {
        biased;
        attached = stalled => panic!("the page got through: {attached:?}"),
        stored = stored => stored,
    };
    gate.resume().await;
    assert_eq!(ids(&rig.attached(1, seat(3)).await), [stored]);
}
