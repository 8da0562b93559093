//! How tests run the command: in a directory of its own, with nothing of this user's, and with a deadline.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The command with these arguments.
pub(crate) fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_user-agent-client"));
    command
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory)
        .stdin(Stdio::null());
    command
}

/// The same command, whose files may not grow beyond so many blocks of 512 bytes.
pub(crate) fn limited(command: &Command, blocks: u32) -> Command {
    let mut limited = Command::new("sh");
    limited
        .args(["-c", &format!("ulimit -f {blocks}; exec \"$@\""), "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    if let Some(directory) = command.get_current_dir() {
        limited.current_dir(directory);
    }
    limited
}

/// Runs it to its end, and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Output {
    let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    ended(process.unwrap())
}

/// Waits for its end. If it does not end in time, it is killed, and the test fails.
pub(crate) fn ended(process: Child) -> Output {
    let pid = Pid::from_child(&process);
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(process.wait_with_output()));
    told.recv_timeout(PATIENCE).map_or_else(
        |_| {
            let _ = kill_process(pid, Signal::KILL);
            panic!("the command has not ended within {} s", PATIENCE.as_secs());
        },
        Result::unwrap,
    )
}
