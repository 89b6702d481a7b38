//! The process that owns a cluster's servers (`kafka/supervise`), spoken to over its standard input and output.
//!
//! Calls block for the time that a line takes through a pipe: the supervisor answers at once and waits for nothing.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::package_folder;

/// What a server is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: Kafka hands its partitions over and stops.
    Terminate,
    /// SIGKILL: it is gone at once.
    Kill,
    /// SIGSTOP: it keeps its connections and answers nothing.
    Stop,
    /// SIGCONT: it goes on.
    Continue,
}

impl Signal {
    /// As `kill` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }
}

/// The owner of server processes. When it is dropped, or this process ends in any way, they are killed and the directory removed.
#[derive(Debug)]
pub struct Supervisor {
    process: Child,
    pipes: Mutex<Option<Pipes>>,
}

#[derive(Debug)]
struct Pipes {
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Supervisor {
    /// Starts a supervisor for `directory`, whose servers run `command` with their configuration file as the last argument.
    pub fn start(directory: &Path, command: &[String]) -> io::Result<Self> {
        // In a session of its own: an interrupt from the keyboard ends the tests, and the tests' end ends this.
        let mut process = Command::new("setsid")
            .arg("bash")
            .arg(package_folder().join("kafka/supervise"))
            .arg(directory)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let commands = process.stdin.take().expect("standard input is piped");
        let answers = BufReader::new(process.stdout.take().expect("standard output is piped"));
        Ok(Self { process, pipes: Mutex::new(Some(Pipes { commands, answers })) })
    }

    /// Starts server `n` with `file` and returns its process id.
    pub fn start_server(&self, n: usize, file: &Path) -> io::Result<u32> {
        let answer = self.ask(&format!("start {n} {}", file.display()))?;
        answer
            .strip_prefix("started ")
            .and_then(|pid| pid.parse().ok())
            .ok_or_else(|| io::Error::other(format!("server {n} was not started: {answer}")))
    }

    /// Sends server `n` a signal. False: it was not running.
    pub fn signal(&self, n: usize, signal: Signal) -> io::Result<bool> {
        Ok(self.ask(&format!("signal {n} {}", signal.name()))? == "signalled")
    }

    /// Whether server `n` runs. A stopped one does.
    pub fn is_running(&self, n: usize) -> io::Result<bool> {
        Ok(self.ask(&format!("state {n}"))? == "running")
    }

    /// Kills every server and waits until the supervisor is gone.
    pub fn end(&mut self) -> io::Result<()> {
        drop(self.pipes.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.process.wait().map(drop)
    }

    fn ask(&self, command: &str) -> io::Result<String> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let pipes = pipes.as_mut().ok_or_else(|| io::Error::other("the supervisor has ended"))?;
        writeln!(pipes.commands, "{command}")?;
        let mut answer = String::new();
        if pipes.answers.read_line(&mut answer)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the supervisor ended"));
        }
        Ok(answer.trim_end().to_owned())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Waited for, so that a test that has returned has left nothing; the servers are killed, which does not take long.
        let _ = self.end();
    }
}
