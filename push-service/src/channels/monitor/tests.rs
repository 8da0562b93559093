//! The size of a session of monitors.

use super::request::Monitor;
use super::task::MonitorTask;
use crate::tasks::Watched;

/// An idle session of monitors is this future and its monitors. It has to stay small: these are the sizes as they were measured.
#[test]
fn a_session_of_monitors_is_small() {
    let (task, monitor) = (size_of::<Watched<MonitorTask>>(), size_of::<Monitor>());
    println!("{task} bytes for the task, {monitor} for a monitor");
    assert!(task <= 544 && monitor <= 56, "{task} and {monitor} bytes");
}
