//! A process that has confined itself can do nothing to anybody. The process is this very program
//! of tests, which runs one test of itself again and is told what was refused.

#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use querent::retrieve::parse::confine::{Limits, confine};

const LIMITS: Limits = Limits { memory_bytes: 128 << 20, cpu_seconds: 1 };

/// Runs a test of this program that is ignored otherwise.
fn probe(name: &str, address: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env("PROBE_ADDRESS", address)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn a_confined_process_cannot_reach_anything() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = probe("probe_reach", &listener.local_addr().unwrap().to_string());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for tried in TRIED {
        assert!(said.contains(&format!("{tried}: refused")), "{tried} is not refused: {output:?}");
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "a connection came through");
}

const TRIED: [&str; 9] = [
    "connect",
    "bind",
    "datagram",
    "local socket",
    "read a file",
    "write a file",
    "open device",
    "run a program",
    "start a thread",
];

#[test]
#[ignore = "it is run by a_confined_process_cannot_reach_anything"]
fn probe_reach() {
    let address = std::env::var("PROBE_ADDRESS").unwrap();
    // What is there before must not help either.
    let mut open = File::open("/proc/self/status").unwrap();
    confine(LIMITS).unwrap();
    let say = |tried: &str, refused: bool| {
        let word = if refused { "refused" } else { "allowed" };
        writeln!(std::io::stdout(), "{tried}: {word}").unwrap();
    };
    say("connect", TcpStream::connect(&address).is_err());
    say("bind", TcpListener::bind("127.0.0.1:0").is_err());
    say("datagram", UdpSocket::bind("127.0.0.1:0").is_err());
    say("local socket", UnixStream::pair().is_err());
    say("read a file", File::open("/etc/passwd").is_err() && open.read(&mut [0; 8]).is_err());
    say("write a file", File::create("/tmp/querent-probe").is_err());
    say("open device", File::open("/dev/null").is_err());
    say("run a program", Command::new("/bin/true").stdin(Stdio::inherit()).status().is_err());
    say("start a thread", std::thread::Builder::new().spawn(|| ()).is_err());
}

#[test]
fn a_confined_process_ends_when_it_has_had_enough() {
    let started = Instant::now();
    let memory = probe("probe_memory", "");
    assert_eq!(memory.status.signal(), Some(libc::SIGABRT), "{memory:?}");
    let time = probe("probe_time", "");
    assert_eq!(time.status.signal(), Some(libc::SIGXCPU), "{time:?}");
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
#[ignore = "it is run by a_confined_process_ends_when_it_has_had_enough"]
fn probe_memory() {
    confine(LIMITS).unwrap();
    let mut kept = Vec::new();
    loop {
        kept.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

#[test]
#[ignore = "it is run by a_confined_process_ends_when_it_has_had_enough"]
fn probe_time() {
    confine(LIMITS).unwrap();
    let mut number = 0_u64;
    loop {
        number = std::hint::black_box(number.wrapping_add(1));
    }
}
