//! Disks that fill up, file descriptors that run out, and imports that are killed.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::pause;
use crate::chance::Chance;
use crate::checker::history::{Recorder, What};
use crate::checker::topology::{NODE_DISK_BYTES, REDIS_DISK_BYTES, Service, on_redis};
use crate::redis::until;

/// The disk of Redis is filled. With `appendfsync always` Redis ends then; its supervisor starts it again when there
/// is room.
pub(super) async fn redis_disk_full(service: &mut Service, hold: Duration) {
    let filler = service.servers()[0].directory().join("filler");
    fill(&filler, REDIS_DISK_BYTES, 0);
    pause(hold).await;
    std::fs::remove_file(&filler).expect("there is room again");
    if !service.servers()[0].answers() {
        service.server_mut(0).ended().await;
        service.server_mut(0).start_again().await;
    }
}

/// The data directory's disk is filled: up to the service's reserve, or completely. A node that ends is started again
/// when there is room.
pub(super) async fn node_disk_full(service: &mut Service, recorder: &Recorder, hold: Duration, keep: u64) {
    let filler = service.disk.as_ref().expect("a disk").directory().join("filler");
    let invoked = recorder.now();
    fill(&filler, NODE_DISK_BYTES, keep);
    pause(hold).await;
    std::fs::remove_file(&filler).expect("there is room again");
    if service.nodes[0].has_ended() {
        service.hide(0);
        service.nodes[0].ended().await;
        service.nodes[0].start_again().await;
        service.show(0);
        recorder.enter(invoked, What::NodeDown { node: 0 });
    }
}

/// The node drains; its data are exported, and imported into Redis; the import is killed at random moments, and
/// repeated as its help text says; then the node starts on Redis.
pub(super) async fn imports_killed(service: &mut Service, recorder: &Recorder, chance: &mut Chance) {
    let invoked = recorder.now();
    let url = service.servers()[0].url();
    service.hide(0);
    let node = &mut service.nodes[0];
    node.terminate();
    node.ended().await;
    let file = node
        .data_directory()
        .with_file_name("moved.export")
        .display()
        .to_string();
    let exported = node.runs(&["export", &file], Stdio::null()).await;
    assert!(
        exported.status.success(),
        "{}",
        String::from_utf8_lossy(&exported.stderr)
    );
    node.reconfigure(|settings| on_redis(settings, &url));
    for turn in 0..8 {
        let merge: &[&str] = if turn == 0 { &[] } else { &["--merge"] };
        let words = [&["import", &file][..], merge].concat();
        // When its future is dropped, the import is killed.
        let life = chance.between((Duration::from_millis(5), Duration::from_millis(120)));
        let _ = tokio::time::timeout(life, node.runs(&words, Stdio::null())).await;
    }
    let node = &service.nodes[0];
    until("the import comes to its end", || async {
        let imported = node.runs(&["import", &file, "--merge"], Stdio::null()).await;
        imported.status.success().then_some(())
    })
    .await;
    service.nodes[0].start_again().await;
    service.show(0);
    recorder.enter(invoked, What::NodeDown { node: 0 });
}

/// Writes until the disk is full, except for this number of bytes.
pub(super) fn fill(file: &std::path::Path, most: u64, keep: u64) {
    use std::io::Write as _;
    let mut filler = std::fs::File::create(file).expect("the disk takes a file");
    let block = [0x55; 1 << 14];
    let mut written = 0;
    while written < most && filler.write_all(&block).is_ok() {
        written += block.len() as u64;
    }
    if keep > 0 {
        filler
            .set_len(written.saturating_sub(keep))
            .expect("the file gets shorter");
    }
}

/// The soft limit of a process.
pub(super) fn descriptors_allowed(process: i32) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).expect("the process is there");
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.expect("a limit").to_owned()
}

pub(super) fn limit_descriptors(process: i32, limit: &str) {
    let status = Command::new("prlimit")
        .arg("--pid")
        .arg(process.to_string())
        .arg(format!("--nofile={limit}:"))
        .stdout(Stdio::null())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "prlimit works");
}
