//! No server process outlives the tests. Checked with processes that are cheaper than brokers.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use protocol_tests::kafka::{Signal, Supervisor};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("servers_end_with_their_supervisor", servers_end_with_their_supervisor),
    (
        "a_killed_server_is_seen_as_gone_and_can_be_started_again",
        a_killed_server_is_seen_as_gone_and_can_be_started_again,
    ),
    ("a_stopped_server_ends_with_its_supervisor_too", a_stopped_server_ends_with_its_supervisor_too),
];

fn servers_end_with_their_supervisor() {
    let (directory, supervisor) = supervisor("ends");
    let pids = [0, 1].map(|n| supervisor.start_server(n, Path::new("600")).unwrap());
    wait_until("both run", || pids.iter().all(|pid| exists(*pid)));
    drop(supervisor);
    assert!(!pids.iter().any(|pid| exists(*pid)), "a server outlives its supervisor");
    assert!(!directory.exists(), "its data is left behind");
}

fn a_killed_server_is_seen_as_gone_and_can_be_started_again() {
    let (_, supervisor) = supervisor("killed");
    let first = supervisor.start_server(0, Path::new("600")).unwrap();
    assert!(supervisor.is_running(0).unwrap());
    assert!(supervisor.signal(0, Signal::Kill).unwrap());
    wait_until("it is gone", || !supervisor.is_running(0).unwrap());
    assert!(!supervisor.signal(0, Signal::Kill).unwrap(), "there is nothing left to signal");
    let second = supervisor.start_server(0, Path::new("600")).unwrap();
    assert_ne!(first, second);
    assert!(supervisor.is_running(0).unwrap());
}

fn a_stopped_server_ends_with_its_supervisor_too() {
    let (_, supervisor) = supervisor("stopped");
    let pid = supervisor.start_server(0, Path::new("600")).unwrap();
    supervisor.signal(0, Signal::Stop).unwrap();
    assert!(supervisor.is_running(0).unwrap(), "a stopped process is there");
    drop(supervisor);
    assert!(!exists(pid));
}

fn supervisor(name: &str) -> (PathBuf, Supervisor) {
    let directory = env::temp_dir().join(format!("ottla-supervisor-{}-{name}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let supervisor = Supervisor::start(&directory, &["sleep".to_owned()]).unwrap();
    (directory, supervisor)
}

/// Whether the process is there and is no zombie.
fn exists(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[allow(clippy::disallowed_methods, reason = "there is no runtime here, and processes have no notion of paused time")]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
