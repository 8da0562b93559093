//! One server process: started, asked, killed, stopped, started again with its data or without.
//!
//! It has a loopback address of its own, like a node, so its port is free whenever it comes back, and a
//! directory of its own. It ends when the [`Server`] is dropped, or with the test process. When a test panics, the end
//! of its log is printed.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use tempfile::TempDir;

use super::configuration::Configuration;
use super::connection::{Connection, Reply};
use super::program::Program;
use super::until;
use crate::certificate::Certificate;
use crate::lab::{self, Machine};
use crate::log::Log;
use crate::process::Process;
use crate::settings::own_address;
use crate::{PATIENCE, binaries, within};

mod figures;

pub use self::figures::CommandStats;
pub(super) use self::figures::info;

/// Tries to get an address that no process with a similar number has. Chosen: the first nearly always succeeds.
const TRIES: usize = 5;

/// The configuration file. Sentinels, and servers at a sentinel's word, write into it.
const CONFIGURATION: &str = "redis.conf";

/// The address of a server that has its own machine.
const PORT: u16 = 6379;
const BUS_PORT: u16 = 16_379;

/// The files that are no data: what the server is, not what it holds.
const IDENTITY: [&str; 4] = [CONFIGURATION, "nodes.conf", "certificate.pem", "key.pem"];

/// A running (or, between a kill and a start, not running) server.
#[derive(Debug)]
pub struct Server {
    configuration: Configuration,
    address: SocketAddr,
    tls: Option<(SocketAddr, Certificate)>,
    /// Where members of a cluster speak to each other.
    bus_port: u16,
    /// Whether it was stopped and has not gone on.
    stopped: AtomicBool,
    process: Option<Process>,
    machine: Option<Machine>,
    // Behind the process, which writes into it until it is dropped.
    directory: TempDir,
}

impl Server {
    /// Starts a server and waits until it has loaded its data and answers.
    ///
    /// # Panics
    ///
    /// When it does not, with its log.
    pub async fn start(configuration: Configuration) -> Self {
        let mut said = String::new();
        for _ in 0..TRIES {
            let mut server = Self::prepare(configuration.clone());
            match server.launch().await {
                Ok(()) => return server,
                Err(log) if log.contains("Address already in use") => said = log,
                Err(log) => panic!("the server does not start:\n{log}"),
            }
        }
        panic!("the server finds no free port:\n{said}");
    }

    /// Where it speaks in clear.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it speaks TLS.
    ///
    /// # Panics
    ///
    /// When it was not told to.
    pub fn tls_address(&self) -> SocketAddr {
        self.tls.as_ref().expect("the server speaks TLS").0
    }

    /// What it shows over TLS, to be trusted as an authority as well.
    ///
    /// # Panics
    ///
    /// When it was not told to speak TLS.
    pub fn certificate(&self) -> &Certificate {
        &self.tls.as_ref().expect("the server speaks TLS").1
    }

    /// `redis://` or, when it speaks TLS, `rediss://`, with the user and the password.
    pub fn url(&self) -> String {
        let user = self.user_part();
        match &self.tls {
            None => format!("redis://{user}{}", self.address),
            Some((address, _)) => format!("rediss://{user}{address}"),
        }
    }

    /// SIGKILL, and waits until the process is gone.
    pub async fn kill(&mut self) {
        self.end(Signal::KILL).await;
    }

    /// SIGTERM: asks the server to save what it saves and leave, and waits until it has.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.end(Signal::TERM).await
    }

    /// SIGSTOP: connections stay, and nothing is answered, until it shall [`go_on`](Self::go_on).
    pub fn stop(&self) {
        self.process().signal(Signal::STOP);
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.process().signal(Signal::CONT);
        self.stopped.store(false, Ordering::Relaxed);
    }

    /// Whether it runs and is not stopped.
    pub fn answers(&self) -> bool {
        let runs = self.process.as_ref().is_some_and(|process| !process.has_ended());
        runs && !self.stopped.load(Ordering::Relaxed)
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let process = self.process.take().expect("the server is running");
        self.stopped.store(false, Ordering::Relaxed);
        within("the server ends", process.ended()).await
    }

    /// Starts the process again on the same address and directory, and waits until it has loaded what is there. Without
    /// [`Configuration::durable`] that is nothing.
    pub async fn start_again(&mut self) {
        assert!(self.process.is_none(), "the server is running");
        if let Err(log) = self.launch().await {
            panic!("the server does not start again:\n{log}");
        }
    }

    /// Starts the process again as after the loss of its disk: what it knew is gone. A member of a cluster is still
    /// the same member.
    pub async fn start_empty(&mut self) {
        assert!(self.process.is_none(), "the server is running");
        empty(self.directory.path()).expect("the directory can be emptied");
        self.start_again().await;
    }

    /// A connection for a test to use as it likes, logged in.
    ///
    /// # Errors
    ///
    /// When no server listens.
    pub async fn connect(&self) -> io::Result<Connection> {
        Connection::open(self.address, self.user()).await
    }

    /// Sends a command on a connection of its own and returns the answer, which may be an error of the server's.
    ///
    /// # Panics
    ///
    /// When there is no answer.
    pub async fn command<W: AsRef<[u8]>>(&self, words: &[W]) -> Reply {
        within("the server answers", self.try_command(words))
            .await
            .expect("the server answers")
    }

    /// The same for a server that may be dead. One that is stopped or loaded answers late or never.
    ///
    /// # Errors
    ///
    /// When the connection can't be made or ends.
    pub async fn try_command<W: AsRef<[u8]>>(&self, words: &[W]) -> io::Result<Reply> {
        self.connect().await?.call(words).await
    }

    /// Waits until this many replicas hold what it holds and follow it.
    pub async fn wait_for_replicas(&self, count: usize) {
        until("replicas are online", || async {
            let info = self.info("replication").await;
            let online = info.values().filter(|value| value.contains("state=online"));
            (online.count() >= count).then_some(())
        })
        .await;
    }

    /// What the running process has said so far.
    pub fn log(&self) -> &Log {
        self.process().log()
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// `name:password@`, percent-encoded, or nothing.
    pub(super) fn user_part(&self) -> String {
        let encoded = |text: &str| {
            let bytes = text.bytes().map(|byte| match byte {
                b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
                byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            });
            bytes.collect::<String>()
        };
        match self.user() {
            None => String::new(),
            Some((name, password)) => format!("{}:{}@", encoded(name), encoded(password)),
        }
    }

    /// Name and password, where it wants them.
    pub(super) fn user(&self) -> Option<(&str, &str)> {
        let user = self.configuration.user.as_ref();
        user.map(|(name, password)| (&**name, &**password))
    }

    pub(super) fn program(&self) -> Program {
        self.configuration.program
    }

    pub(super) fn is_apart(&self) -> bool {
        self.machine.is_some()
    }

    /// The process id, while it runs.
    pub fn process_id(&self) -> i32 {
        self.process().number()
    }

    pub(super) fn bus_port(&self) -> u16 {
        self.bus_port
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the server is running")
    }

    async fn end(&mut self, signal: Signal) -> ExitStatus {
        self.process().signal(signal);
        self.ended().await
    }

    /// Chooses where it listens and writes its configuration file, once: it is the server's own from then on.
    fn prepare(configuration: Configuration) -> Self {
        let directory = TempDir::with_prefix("push-redis-").expect("a directory for the server");
        if let Some(bytes) = configuration.disk_bytes {
            lab::mount(directory.path(), bytes);
        }
        let machine = configuration.apart.then(Machine::make);
        let ip = machine.as_ref().map_or_else(own_address, Machine::address);
        // On its own machine it has all ports.
        let port = |usual| if machine.is_some() { usual } else { free_port(ip) };
        let address = SocketAddr::new(ip, port(PORT));
        let tls = configuration.tls.then(|| {
            let certificate = Certificate::make(ip, directory.path());
            (SocketAddr::new(ip, free_port(ip)), certificate)
        });
        let server = Self {
            configuration,
            address,
            tls,
            bus_port: port(BUS_PORT),
            stopped: AtomicBool::new(false),
            process: None,
            machine,
            directory,
        };
        std::fs::write(server.directory().join(CONFIGURATION), server.file()).expect("the file is written");
        server
    }

    /// The configuration file. Others see connections from a server come from 127.0.0.1, so it says where it is.
    fn file(&self) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        let directory = self.directory().display();
        let mut file = format!("bind {ip}\nport {port}\ndir {directory}\n");
        if self.machine.is_some() {
            file += "protected-mode no\n";
        }
        if self.configuration.sentinel {
            file += &format!("sentinel announce-ip {ip}\nsentinel announce-port {port}\n");
        } else {
            file += &format!("replica-announce-ip {ip}\nreplica-announce-port {port}\n");
        }
        if self.configuration.is_cluster() {
            file += &format!("cluster-announce-ip {ip}\ncluster-port {}\n", self.bus_port);
        }
        if let Some((address, certificate)) = &self.tls {
            let (shown, key) = (certificate.certificate.display(), certificate.key.display());
            file += &format!("tls-port {}\ntls-cert-file {shown}\n", address.port());
            file += &format!("tls-key-file {key}\ntls-ca-cert-file {shown}\ntls-auth-clients no\n");
        }
        file + &self.configuration.file()
    }

    /// Starts the process and waits until it serves; what it said, when it ended instead.
    async fn launch(&mut self) -> Result<(), String> {
        let mut command = binaries::command(&self.configuration.program.path(), None);
        command.arg(self.directory().join(CONFIGURATION));
        let mut ready = "Ready to accept connections";
        if self.configuration.sentinel {
            command.arg("--sentinel");
            ready = "Sentinel ID is";
        }
        if let Some(machine) = &self.machine {
            command = machine.run(&command);
        }
        command
            .current_dir(self.directory())
            .envs(self.configuration.environment.iter().cloned());
        let process = Process::start(command);
        let log = process.log().clone();
        match tokio::time::timeout(PATIENCE, log.wait_for_line(&[ready])).await {
            Err(_) => panic!("the server neither serves nor ends; it said:\n{}", log.tail()),
            Ok(None) => Err(log.text()),
            Ok(Some(_)) => {
                self.process = Some(process);
                Ok(())
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.configuration.disk_bytes.is_some() {
            lab::unmount(self.directory());
        }
        if let Some(process) = self.process.as_ref().filter(|_| std::thread::panicking()) {
            let tail = process.log().tail();
            eprintln!(
                "--- the log of the server at {} ends with:\n{tail}\n---",
                self.address
            );
        }
    }
}

/// A port that is free on an address of its own stays free.
fn free_port(ip: IpAddr) -> u16 {
    let listener = TcpListener::bind((ip, 0)).expect("the address has a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Removes what the server holds, and leaves what it is.
fn empty(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if IDENTITY.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
