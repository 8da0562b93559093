//! A push service process: started, asked where it listens, killed, stopped, started again on the same data and ports.
//!
//! A process is ended by its process id and by nothing broader. It ends with the test: when the [`Node`] is dropped,
//! and, by the kernel's doing, when the test process dies. When a test panics, the end of the node's log is printed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::application_server::{Answer, Http};
use crate::certificate::{Certificate, write_secret};
use crate::connector::Connector;
use crate::settings::Settings;
use crate::{PATIENCE, binaries, within};

pub use crate::log::Log;

/// A running (or, between a kill and a start, not running) push service.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    directory: TempDir,
    certificate: Option<Arc<Certificate>>,
    process: Option<Process>,
    listeners: Listeners,
}

/// A node that ended without listening: what it said, and how.
#[derive(Debug)]
pub struct Refusal {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it wrote to standard error.
    pub said: String,
}

#[derive(Debug)]
struct Process {
    child: Child,
    log: Log,
}

#[derive(Debug, Default)]
struct Listeners {
    http: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    admin: Vec<SocketAddr>,
    public_url: String,
}

impl Node {
    /// Starts a node and waits until it listens.
    ///
    /// # Panics
    ///
    /// When it does not, with its log.
    pub async fn start(settings: Settings) -> Self {
        let mut node = Self::prepare(settings);
        if let Err(refusal) = node.launch().await {
            panic!("the node does not start ({}):\n{}", refusal.status, refusal.said);
        }
        node.keep_ports();
        node
    }

    /// Starts a node and waits until its admin listener answers, which is before storage is open. [`Node::listens`] waits for the
    /// rest.
    ///
    /// # Panics
    ///
    /// When it ends before that, with its log.
    pub async fn starting(settings: Settings) -> Self {
        let mut node = Self::prepare(settings);
        let process = node.spawn();
        let Some(record) = within("the node starts", process.log.wait_for("starting")).await else {
            panic!("the node ended:\n{}", process.log.text());
        };
        node.listeners = Listeners::read(&record);
        node.process = Some(process);
        node
    }

    /// Waits until a node that is [`starting`](Self::starting) listens.
    ///
    /// # Panics
    ///
    /// When it ends instead, with its log.
    pub async fn listens(&mut self) {
        let log = self.log().clone();
        let Some(record) = within("the node listens", log.wait_for("listening")).await else {
            panic!("the node ended:\n{}", log.text());
        };
        self.listeners = Listeners::read(&record);
    }

    /// A node that has not been started yet: [`Node::start_again`] does.
    pub fn stopped(settings: Settings) -> Self {
        Self::prepare(settings)
    }

    /// Runs another command of the service to its end, with the configuration of this node, whether that runs or not.
    pub async fn runs(&self, words: &[&str], input: impl Into<Stdio>) -> Output {
        let (configuration, _) = self.configure();
        let mut command = Command::from(binaries::command(binaries::push_service(), None));
        command
            .current_dir(self.directory.path())
            .args(words)
            .arg("--config")
            .arg(configuration)
            .stdin(input)
            .kill_on_drop(true);
        let output = within("the command ends", command.output()).await;
        output.expect("the command starts")
    }

    /// Starts a node that is expected to refuse its configuration or its data, and returns what it said.
    ///
    /// # Panics
    ///
    /// When it listens all the same.
    pub async fn refused(settings: Settings) -> Refusal {
        match Self::prepare(settings).launch().await {
            Ok(()) => panic!("the node started, though it should have refused to"),
            Err(refusal) => refusal,
        }
    }

    /// Starts the process again, on the same data and the same ports.
    pub async fn start_again(&mut self) {
        assert!(self.process.is_none(), "the node is running");
        if let Err(refusal) = self.launch().await {
            panic!(
                "the node does not start again ({}):\n{}",
                refusal.status, refusal.said
            );
        }
    }

    /// Changes the configuration that the next start will read.
    pub fn reconfigure(&mut self, change: impl FnOnce(Settings) -> Settings) {
        self.settings = change(self.settings.clone());
    }

    /// SIGKILL, and waits until the process is gone.
    pub async fn kill(&mut self) {
        let mut process = self.process.take().expect("the node is running");
        process.child.kill().await.expect("the process can be killed");
    }

    /// Starts the process again and kills it after this time, whether it listens by then or not.
    pub async fn stumble(&mut self, after: Duration) {
        assert!(self.process.is_none(), "the node is running");
        let mut process = self.spawn();
        tokio::time::sleep(after).await;
        process.child.kill().await.expect("the process can be killed");
    }

    /// SIGTERM: asks the node to leave. [`Node::ended`] tells how it did.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process can be signalled");
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        let process = self.process.as_mut();
        process.is_some_and(|process| process.child.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// Waits until the process has ended by itself, and returns how, with its log.
    pub async fn ended(&mut self) -> (ExitStatus, Log) {
        let mut process = self.process.take().expect("the node is running");
        let status = within("the node ends", process.child.wait()).await;
        process.log.wait_for_end().await;
        (
            status.expect("the process can be waited for"),
            process.log.clone(),
        )
    }

    /// Where plain HTTP is spoken.
    pub fn connector(&self) -> Connector {
        Connector::clear(self.listeners.http[0])
    }

    /// Where TLS is spoken.
    pub fn tls_connector(&self) -> Connector {
        let certificate = self.certificate.as_ref().expect("the node has a TLS listener");
        Connector::tls(self.listeners.tls[0], Arc::clone(certificate))
    }

    /// What the node shows over TLS.
    pub fn certificate(&self) -> &Certificate {
        self.certificate.as_ref().expect("the node has a TLS listener")
    }

    /// Where the admin listener is.
    pub fn admin(&self) -> Connector {
        Connector::clear(self.listeners.admin[0])
    }

    /// The origin of every resource URL.
    pub fn public_url(&self) -> &str {
        &self.listeners.public_url
    }

    /// Asks the admin listener.
    pub async fn ask_admin(&self, path: &str) -> Answer {
        let mut http = Http::connect(&self.admin())
            .await
            .expect("the admin listener answers");
        http.get(path).await.expect("the admin listener answers")
    }

    /// What the running process has said so far.
    pub fn log(&self) -> &Log {
        &self.process.as_ref().expect("the node is running").log
    }

    /// Memory that the process has in use, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero()))
            .expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kilobytes
            .and_then(|number| number.parse::<u64>().ok())
            .expect("VmRSS in kB")
            * 1024
    }

    /// File descriptors that the process holds.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid().as_raw_nonzero()))
            .expect("the process is there")
            .count()
    }

    /// Its data directory.
    pub fn data_directory(&self) -> PathBuf {
        self.settings.data_below(self.directory.path())
    }

    fn prepare(settings: Settings) -> Self {
        let directory = TempDir::with_prefix("push-service-").expect("a directory for the node");
        let certificate = settings
            .wants_tls()
            .then(|| Arc::new(Certificate::make(settings.address(), directory.path())));
        let settings = match &certificate {
            None => settings,
            Some(made) => settings
                .set("tls.certificate", made.certificate.display().to_string())
                .set("tls.key", made.key.display().to_string()),
        };
        Self {
            settings,
            directory,
            certificate,
            process: None,
            listeners: Listeners::default(),
        }
    }

    fn spawn(&self) -> Process {
        let (configuration, data) = self.configure();
        let mut command = Command::from(self.settings.command(&configuration, &data));
        let mut child = command
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the process starts");
        let errors = child.stderr.take().expect("standard error is a pipe");
        let log = Log::read(errors.into_owned_fd().expect("a pipe of its own").into());
        Process { child, log }
    }

    /// Writes the configuration's file, and says where it and the data are.
    fn configure(&self) -> (PathBuf, PathBuf) {
        let configuration = self.directory.path().join("push-service.toml");
        let data = self.settings.data_below(self.directory.path());
        write_secret(&configuration, &self.settings.file(&data));
        (configuration, data)
    }

    async fn launch(&mut self) -> Result<(), Refusal> {
        let Process { mut child, log } = self.spawn();
        match tokio::time::timeout(PATIENCE, log.wait_for("listening")).await {
            Err(_) => panic!("the node neither listens nor ends; it said:\n{}", log.tail()),
            Ok(Some(record)) => {
                self.listeners = Listeners::read(&record);
                self.process = Some(Process { child, log });
                Ok(())
            }
            Ok(None) => Err(Refusal {
                status: within("the node ends", child.wait())
                    .await
                    .expect("it can be waited for"),
                said: log.text(),
            }),
        }
    }

    fn keep_ports(&mut self) {
        let mut settings = self.settings.clone();
        for (key, bound) in [
            ("listen.http", &self.listeners.http),
            ("listen.tls", &self.listeners.tls),
            ("listen.admin", &self.listeners.admin),
        ] {
            if !bound.is_empty() {
                let addresses: Vec<String> = bound.iter().map(ToString::to_string).collect();
                settings = settings.set(key, addresses);
            }
        }
        self.settings = settings;
    }

    /// SIGSTOP: connections stay open, and no request is answered until [`go_on`](Self::go_on).
    pub fn stop(&self) {
        kill_process(self.pid(), Signal::STOP).expect("the process can be signalled");
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).expect("the process can be signalled");
    }

    /// The process id, while it runs.
    pub fn process_id(&self) -> i32 {
        self.pid().as_raw_nonzero().get()
    }

    fn pid(&self) -> Pid {
        let id = self.process.as_ref().and_then(|process| process.child.id());
        let id = id.expect("the node is running");
        Pid::from_raw(id.cast_signed()).expect("a process id is not 0")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(process) = self.process.as_ref().filter(|_| std::thread::panicking()) {
            eprintln!("--- the node's log ends with:\n{}\n---", process.log.tail());
        }
    }
}

impl Listeners {
    fn read(record: &Value) -> Self {
        let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
        let addresses = |name: &str| {
            let listed = text(name)
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty());
            listed
                .map(|address| address.parse().expect("an address"))
                .collect()
        };
        Self {
            http: addresses("http"),
            tls: addresses("tls"),
            admin: addresses("admin"),
            public_url: text("public_url").trim_end_matches('/').to_owned(),
        }
    }
}
