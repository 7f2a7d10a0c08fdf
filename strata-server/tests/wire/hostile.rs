//! Clients that send nonsense, or nothing: they are hung up on, and nobody else notices.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use strata_core::vfs::{Random, SeededRandom};
use strata_server::ServerOptions;

use crate::client::{TestServer, frame, query, tags};

/// A session that asks, all the while, for what it has to get.
fn bystander(server: &TestServer, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<Duration> {
    let mut client = server.session();
    client.send(&query("create table kept (a integer); insert into kept values (1), (2)"));
    assert_eq!(tags(&client.read_to(b'Z')), "CCZ");
    std::thread::spawn(move || {
        let mut slowest = Duration::ZERO;
        while !stop.load(Ordering::SeqCst) {
            let begun = Instant::now();
            client.send(&query("select sum(a) from kept"));
            let answer = client.read_to(b'Z');
            assert_eq!((tags(&answer).as_str(), answer[1].text().as_str()), ("TDCZ", "3"));
            slowest = slowest.max(begun.elapsed());
        }
        slowest
    })
}

/// Runs what attacks while a bystander works, then sees that a new session can begin.
fn beside_others(server: &TestServer, attack: impl FnOnce()) {
    let stop = Arc::new(AtomicBool::new(false));
    let other = bystander(server, Arc::clone(&stop));
    attack();
    stop.store(true, Ordering::SeqCst);
    let slowest = other.join().expect("the other session went on");
    assert!(slowest < Duration::from_secs(5), "an answer took {slowest:?}");
    let mut client = server.session();
    client.send(&query("select 1"));
    assert_eq!(tags(&client.read_to(b'Z')), "TDCZ");
}

/// Sends what the server may stop reading at any time, and waits until it hangs up.
fn send_and_drain(socket: &mut TcpStream, bytes: &[u8]) {
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    // Refused or half sent: the server has hung up already.
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let mut sink = [0; 4096];
    loop {
        match socket.read(&mut sink) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the server does not hang up: {error}"),
        }
    }
}

#[test]
fn random_bytes_instead_of_frames() {
    let server = TestServer::start();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = now.map_or(1, |now| now.subsec_nanos().into());
    println!("seed {seed}");
    let random = SeededRandom::new(seed);
    beside_others(&server, || {
        for turn in 0..200 {
            let bytes: Vec<u8> = (0..random.below(300)).map(|_| random.below(256) as u8).collect();
            // In place of a startup packet, of a message, and as the body of one that the server knows.
            if turn % 3 == 0 {
                send_and_drain(&mut server.connect().socket, &bytes);
                continue;
            }
            let mut client = server.session();
            let known = b"QPBDECSHdcfpF";
            let tag = known[random.below(known.len() as u64) as usize];
            let bytes = if turn % 3 == 1 { bytes } else { [frame(tag, &bytes), frame(b'S', b"")].concat() };
            send_and_drain(&mut client.socket, &bytes);
        }
    });
    server.stop();
}

#[test]
fn lengths_that_no_client_sends_cost_no_memory() {
    let server = TestServer::start();
    let before = resident_kib();
    beside_others(&server, || {
        let mut held = Vec::new();
        for length in [0_u32, 3, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            for tag in *b"QPBdp" {
                let mut client = server.session();
                client.send(&[&[tag][..], &length.to_be_bytes(), b"x"].concat());
                held.push(client);
            }
            let mut client = server.connect();
            client.send(&length.to_be_bytes());
            held.push(client);
        }
        std::thread::sleep(Duration::from_millis(200));
    });
    if let (Some(before), Some(after)) = (before, resident_kib()) {
        assert!(after < before + (512 << 10), "{before} KiB became {after} KiB");
    }
    server.stop();
}

#[test]
fn startup_packets_that_never_end() {
    let options = ServerOptions { startup_timeout: Duration::from_millis(500), ..ServerOptions::default() };
    let server = TestServer::with(options);
    beside_others(&server, || {
        let packets: [&[u8]; 5] =
            [b"", b"\0", b"\0\0\0\x40", b"\0\0\0\x40\0\x03\0\0user\0an", b"\0\0\0\x08\x04\xd2\x16"];
        let mut held = Vec::new();
        for turn in 0..50 {
            let mut client = server.connect();
            client.send(packets[turn % packets.len()]);
            held.push(client);
        }
        for mut client in held {
            // Hung up on, with or without a word.
            client.read_to_end();
        }
        for packet in packets {
            let mut client = server.connect();
            send_and_drain(&mut client.socket, packet);
        }
    });
    server.stop();
}

#[test]
fn a_client_that_asks_for_encryption_without_end() {
    let server = TestServer::start();
    beside_others(&server, || {
        for request in [&b"\0\0\0\x08\x04\xd2\x16\x2f"[..], b"\0\0\0\x08\x04\xd2\x16\x30"] {
            for _ in 0..10 {
                send_and_drain(&mut server.connect().socket, &request.repeat(10_000));
            }
        }
    });
    server.stop();
}

/// The memory of this process; None where the system does not tell.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
