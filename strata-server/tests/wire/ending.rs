//! How things end: queries by cancellation, sessions by their client's silence, the server by its operator.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::client::{Raw, TestServer, database, frame, query, tags};
use strata_datafusion::session::{Engine, EngineOptions};
use strata_server::{Server, ServerOptions, StartError};

const LONG: &str = "select count(*) from generate_series(1, 1000000000000)";
const ENDLESS: &str = "select * from generate_series(1, 1000000000)";

/// Sends a cancel request for the session whose BackendKeyData is `key`.
fn cancel(server: &TestServer, key: &[u8]) {
    let mut request = server.connect();
    let size = u32::try_from(8 + key.len()).expect("small");
    request.send(&[&size.to_be_bytes()[..], b"\x04\xd2\x16\x2e", key].concat());
    assert!(request.read_to_end().is_empty(), "a cancel request is never answered");
}

fn session_with_key(server: &TestServer, minor: u8) -> (Raw, Vec<u8>) {
    let mut client = server.connect();
    client.start_version(minor, &[("user", "ann")]);
    let begun = client.read_to(b'Z');
    let key = begun.iter().find(|message| message.tag == b'K').expect("a key").body.clone();
    (client, key)
}

#[test]
fn a_cancel_request_ends_a_running_query() {
    let server = TestServer::start();
    for minor in [0, 2] {
        let (mut client, key) = session_with_key(&server, minor);
        client.send(&query(LONG));
        std::thread::sleep(Duration::from_millis(200));
        let mut wrong = key.clone();
        *wrong.last_mut().expect("bytes") ^= 1;
        cancel(&server, &wrong);
        cancel(&server, &key);
        let answer = client.read_to(b'Z');
        let error = answer.iter().find(|message| message.tag == b'E').expect("cancelled");
        assert_eq!(error.field(b'C').as_deref(), Some("57014"));
        client.send(&query("select 1"));
        assert_eq!(tags(&client.read_to(b'Z')), "TDCZ");
    }
    server.stop();
}

/// Joins that make millions of batches of their first one, or none. One thread runs all queries: it is free again only if they let go of it.
#[test]
fn a_cancelled_join_lets_go_of_its_thread() {
    let options = EngineOptions { analytical_threads: 1 };
    let engine = Engine::new(database(), options).expect("an engine");
    let server = TestServer::of(engine, ServerOptions::default());
    let mut other = server.session();
    for condition in
        ["true", "a < b", "a % 1000 = b % 1000", "a + b < 0", "a % 1000 = b % 1000 and a + b < 0"]
    {
        let (mut client, key) = session_with_key(&server, 0);
        let series = "generate_series(1, 300000)";
        let sql = format!("select sum((a + b) % 7) from {series} x(a), {series} y(b) where {condition}");
        client.send(&query(&sql));
        std::thread::sleep(Duration::from_millis(1500));
        let begun = Instant::now();
        cancel(&server, &key);
        let answer = client.read_to(b'Z');
        let error = answer.iter().find(|message| message.tag == b'E').expect("cancelled");
        assert_eq!(error.field(b'C').as_deref(), Some("57014"), "{sql}");
        other.send(&query("select count(*) from generate_series(1, 1000) g(n) where n > 0"));
        assert_eq!(other.read_to(b'Z')[1].text(), "1000", "{sql}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{sql}: took {:?}", begun.elapsed());
    }
    server.stop();
}

/// Found while designing: a client that gives up on a query just as it ends must not lose its next one.
#[test]
fn a_cancel_request_that_comes_late_is_void() {
    let server = TestServer::start();
    let (mut client, key) = session_with_key(&server, 0);
    cancel(&server, &key);
    client.send(&query("select 1"));
    assert_eq!(tags(&client.read_to(b'Z')), "TDCZ");
    server.stop();
}

#[test]
fn a_cancel_request_ends_a_streaming_query() {
    let server = TestServer::start();
    let (mut client, key) = session_with_key(&server, 0);
    client.send(&query(ENDLESS));
    client.bytes(1_000_000);
    cancel(&server, &key);
    let answer = client.read_to_tail(b'Z');
    let error = answer.iter().rev().find(|message| message.tag == b'E').expect("cancelled");
    assert_eq!(error.field(b'C').as_deref(), Some("57014"));
    server.stop();
}

/// A client that hangs up leaves nothing running: its session's place is free again.
#[test]
fn a_client_that_hangs_up_frees_its_place() {
    let server = TestServer::with(ServerOptions { max_connections: 1, ..ServerOptions::default() });
    for sql in [LONG, ENDLESS, "begin"] {
        let mut client = retry_session(&server);
        client.send(&query(sql));
        std::thread::sleep(Duration::from_millis(100));
        drop(client);
    }
    // In the middle of a message.
    let mut client = retry_session(&server);
    client.send(&frame(b'Q', b"select 1\0")[..7]);
    drop(client);
    retry_session(&server);
    server.stop();
}

/// A session, as soon as there is a place for one.
fn retry_session(server: &TestServer) -> Raw {
    let deadline = Instant::now() + Duration::from_secs(8);
    loop {
        let mut client = server.connect();
        client.start(&[("user", "ann")]);
        let begun = client.read_to(b'Z');
        match begun.first() {
            Some(message) if message.tag == b'R' => return client,
            Some(message) => assert_eq!(message.field(b'C').as_deref(), Some("53300")),
            None => panic!("hung up"),
        }
        assert!(Instant::now() < deadline, "the place never became free");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn one_client_too_many_is_told_so() {
    let server = TestServer::with(ServerOptions { max_connections: 1, ..ServerOptions::default() });
    let (client, key) = session_with_key(&server, 0);
    let mut second = server.connect();
    second.start(&[("user", "ann")]);
    let answer = second.read_to_end();
    assert_eq!(answer[0].field(b'C').as_deref(), Some("53300"));
    assert_eq!(answer[0].field(b'S').as_deref(), Some("FATAL"));
    // Cancel requests need no place.
    cancel(&server, &key);
    drop(client);
    server.stop();
}

#[test]
fn a_client_that_never_starts_is_hung_up_on() {
    let options = ServerOptions { startup_timeout: Duration::from_millis(200), ..ServerOptions::default() };
    let server = TestServer::with(options);
    let mut silent = server.connect();
    let mut slow = server.connect();
    slow.send(b"\0\0\0\x20\0\x03");
    assert!(silent.read_to_end().is_empty());
    assert!(slow.read_to_end().is_empty());
    server.stop();
}

#[test]
fn stopping_tells_idle_sessions_and_cancels_running_queries() {
    let options = ServerOptions { drain: Duration::from_millis(300), ..ServerOptions::default() };
    let mut server = TestServer::with(options);
    let mut idle = server.session();
    let mut running = server.session();
    running.send(&query(LONG));
    let mut deaf = server.session();
    deaf.send(&query(ENDLESS));
    std::thread::sleep(Duration::from_millis(200));
    let started = Instant::now();
    let stopped = server.begin_stop();
    for client in [&mut idle, &mut running] {
        let answer = client.read_to_end();
        let error = answer.iter().rev().find(|message| message.tag == b'E').expect("a farewell");
        assert_eq!(error.field(b'C').as_deref(), Some("57P01"));
    }
    server.runtime.block_on(stopped).expect("stops");
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert!(std::net::TcpStream::connect(server.address).is_err(), "nothing listens any more");
}

#[test]
fn other_machines_are_kept_out_unless_told_otherwise() {
    let server = TestServer::start();
    let anywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let start = |insecure| {
        let options = ServerOptions { listen: anywhere, insecure, ..ServerOptions::default() };
        server.runtime.block_on(Server::start(crate::client::engine(), options))
    };
    assert!(matches!(start(false), Err(StartError::NotLoopback(_))));
    assert!(start(true).is_ok());
    server.stop();
}
