//! A laboratory: machines with network namespaces of their own, and partitions between them.
//!
//! Contract: everything lives below the network namespace of the process that calls [`enter`], which moves itself into a new one
//! first. Each machine is a namespace with one `veth` pair to that of the process, which forwards between machines.
//! So the test, with application servers and user agents on both sides of a partition, reaches every machine at all
//! times, while [`Lab::partition`] drops packets between machines, in one direction or both, without any error.
//! Nothing outlives the process: namespaces go with the last process in them, and interfaces and rules with the
//! namespaces.
//!
//! The process also makes disks, in its own mount namespace.
//!
//! It needs root (or the right to make namespaces), `ip` and `iptables`. [`enter`] says what is missing.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::process::Process;

/// Set in the environment of a process that has entered its own namespace.
const ENTERED: &str = "PUSH_TESTS_LAB";

/// How long a namespace may take to appear. Chosen: it takes milliseconds.
const APPEARS_WITHIN: Duration = Duration::from_secs(10);

/// One machine. Its namespace ends with it and with what runs in it.
#[derive(Debug)]
pub struct Machine {
    address: Ipv4Addr,
    namespace: String,
    // Keeps the namespace while nothing else runs in it.
    _holder: Process,
}

/// Which packets are dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Packets in both directions.
    Both,
    /// Packets from the first to the second.
    OneWay,
}

/// The partitions of one trial; trials that run side by side have machines of their own.
#[derive(Debug, Default)]
pub struct Lab {
    dropped: Mutex<Vec<(IpAddr, IpAddr)>>,
}

/// Moves this program into its own network namespace, by starting it again there. Returns when it runs there; `Err`
/// says why it can't. Must be called before anything else.
pub fn enter() -> Result<(), String> {
    if is_here() {
        return prepare();
    }
    for (program, package) in [
        ("ip", "iproute2"),
        ("iptables", "iptables"),
        ("unshare", "util-linux"),
    ] {
        let found = Command::new(program)
            .arg("--help")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if found.is_err() {
            return Err(format!(
                "there is no {program} (Debian: apt-get install {package})"
            ));
        }
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount", "--"]);
    let possible = Command::new("unshare")
        .args(["--net", "--mount", "--", "true"])
        .stderr(Stdio::null())
        .status();
    if !possible.is_ok_and(|status| status.success()) {
        return Err("network namespaces take root".to_owned());
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let status = unshare
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(ENTERED, "1")
        .status()
        .map_err(|error| error.to_string())?;
    std::process::exit(status.code().unwrap_or(1));
}

/// Whether this process is in a laboratory.
pub fn is_here() -> bool {
    std::env::var_os(ENTERED).is_some()
}

fn prepare() -> Result<(), String> {
    run("ip", &["link", "set", "lo", "up"])?;
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")
        .map_err(|error| format!("no forwarding: {error}"))?;
    run("iptables", &["-w", "-L", "FORWARD"])
}

impl Machine {
    /// Makes a machine.
    ///
    /// # Panics
    ///
    /// When this process is not in a laboratory.
    pub fn make() -> Self {
        static MADE: AtomicU16 = AtomicU16::new(0);
        assert!(is_here(), "machines are made in a laboratory");
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let [high, low] = [(number / 250) as u8, (number % 250) as u8];
        let holder = Process::start({
            let mut command = crate::binaries::program("unshare");
            command.args(["--net", "--", "sleep", "infinity"]);
            command
        });
        let namespace = format!("/proc/{}/ns/net", holder.number());
        appears(&namespace);
        let (ours, gateway) = (format!("veth{number}"), Ipv4Addr::new(10, 77 + high, low, 1));
        let address = Ipv4Addr::new(10, 77 + high, low, 2);
        let made = [
            vec![
                "ip".to_owned(),
                "link".into(),
                "add".into(),
                ours.clone(),
                "type".into(),
                "veth".into(),
                "peer".into(),
                "name".into(),
                "eth0".into(),
                "netns".into(),
                holder.number().to_string(),
            ],
            words(&format!("ip addr add {gateway}/24 dev {ours}")),
            words(&format!("ip link set {ours} up")),
            words(&format!("nsenter --net={namespace} ip link set lo up")),
            words(&format!(
                "nsenter --net={namespace} ip addr add {address}/24 dev eth0"
            )),
            words(&format!("nsenter --net={namespace} ip link set eth0 up")),
            words(&format!(
                "nsenter --net={namespace} ip route add default via {gateway}"
            )),
        ];
        for words in made {
            let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
            run(&words[0], &arguments).expect("the machine is connected");
        }
        Self {
            address,
            namespace,
            _holder: holder,
        }
    }

    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address.into()
    }

    /// The command that runs this one in the machine. `nsenter` becomes it: there is no process between.
    pub(crate) fn run(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside
            .arg(format!("--net={}", self.namespace))
            .arg("--")
            .arg(command.get_program());
        inside.args(command.get_args());
        inside
    }
}

impl Lab {
    /// Drops all packets between machines of the two sides, or only those from the first side to the second, in
    /// addition to earlier partitions.
    pub fn partition(&self, one: &[IpAddr], other: &[IpAddr], direction: Direction) {
        let mut drops = Vec::new();
        for first in one {
            for second in other {
                drops.push((*first, *second));
                if direction == Direction::Both {
                    drops.push((*second, *first));
                }
            }
        }
        change('A', &drops);
        self.dropped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(drops);
    }

    /// Lets all packets through.
    pub fn heal(&self) {
        let dropped = std::mem::take(&mut *self.dropped.lock().unwrap_or_else(PoisonError::into_inner));
        change('D', &dropped);
    }
}

/// A disk of its own, of a given size, in memory. It is there for this process and those that it starts.
#[derive(Debug)]
pub struct Disk {
    directory: tempfile::TempDir,
}

impl Disk {
    /// Makes a disk of this size in bytes.
    ///
    /// # Panics
    ///
    /// When this process is not in a laboratory.
    pub fn new(bytes: u64) -> Self {
        let directory = tempfile::TempDir::with_prefix("push-disk-").expect("a directory for the disk");
        mount(directory.path(), bytes);
        Self { directory }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(self.directory.path());
    }
}

/// Mounts a disk of this size in bytes on a directory.
pub(crate) fn mount(directory: &Path, bytes: u64) {
    assert!(is_here(), "disks are made in a laboratory");
    let (size, directory) = (format!("size={bytes}"), directory.display().to_string());
    run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &directory]).expect("the disk is mounted");
}

/// Unmounts it; processes that still use it can go on.
pub(crate) fn unmount(directory: &Path) {
    let directory = directory.display().to_string();
    if let Err(why) = run("umount", &["--lazy", &directory]) {
        eprintln!("{why}");
    }
}

/// Adds or removes rules, all at once.
fn change(how: char, drops: &[(IpAddr, IpAddr)]) {
    if drops.is_empty() {
        return;
    }
    let mut rules = String::from("*filter\n");
    for (from, to) in drops {
        rules.push_str(&format!("-{how} FORWARD -s {from} -d {to} -j DROP\n"));
    }
    rules.push_str("COMMIT\n");
    let mut restore = Command::new("iptables-restore")
        .args(["--wait", "--noflush"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("iptables-restore starts");
    let mut input = restore.stdin.take().expect("it has an input");
    input.write_all(rules.as_bytes()).expect("it reads");
    drop(input);
    assert!(
        restore.wait().expect("it ends").success(),
        "the rules can't be set:\n{rules}"
    );
}

/// Waits until a process has a network namespace of its own.
fn appears(namespace: &str) {
    let ours = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
    let began = Instant::now();
    while std::fs::read_link(namespace).is_ok_and(|theirs| theirs == ours) {
        assert!(began.elapsed() < APPEARS_WITHIN, "no namespace of its own");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => Err(format!("{program}: {error}")),
    }
}
