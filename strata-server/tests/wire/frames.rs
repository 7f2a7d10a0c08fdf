//! The protocol frame by frame: what is answered, in which order, and what nonsense comes to.

use crate::client::{TestServer, bind, execute, frame, parse, query, sync, tags};

/// A query that runs for hours.
const LONG: &str = "select count(*) from generate_series(1, 1000000000000)";

#[test]
fn simple_queries() {
    let server = TestServer::start();
    let mut client = server.session();
    client.send(&query("select 1; select 'x' as t"));
    let answer = client.read_to(b'Z');
    assert_eq!(tags(&answer), "TDCTDCZ");
    assert_eq!((answer[1].text(), answer[4].text()), ("1".to_owned(), "x".to_owned()));
    assert_eq!(answer[5].body, b"SELECT 1\0");
    client.send(&query(""));
    assert_eq!(tags(&client.read_to(b'Z')), "IZ");
    client.send(&query("select 1; selec"));
    assert_eq!(tags(&client.read_to(b'Z')), "EZ", "nothing runs of a string that does not parse");
    client.send(&query("select 1; select * from nowhere; select 2"));
    assert_eq!(tags(&client.read_to(b'Z')), "TDCEZ");
    client.send(&frame(b'X', b""));
    assert!(client.read_to_end().is_empty());
    server.stop();
}

#[test]
fn ready_for_query_tells_where_the_transaction_stands() {
    let server = TestServer::start();
    let mut client = server.session();
    let mut status = |sql: &str| {
        client.send(&query(sql));
        client.read_to(b'Z').pop().expect("an answer").body
    };
    assert_eq!(status("begin"), b"T");
    assert_eq!(status("select * from nowhere"), b"E");
    assert_eq!(status("select 1"), b"E");
    assert_eq!(status("rollback"), b"I");
    server.stop();
}

#[test]
fn row_limits_suspend_a_portal_and_sync_ends_it() {
    let server = TestServer::start();
    let mut client = server.session();
    let portal = [parse("select * from generate_series(1, 5)"), bind(), frame(b'D', b"P\0")].concat();
    client.send(&[portal, execute(2), execute(3), execute(3), execute(0), sync()].concat());
    let answer = client.read_to(b'Z');
    assert_eq!(tags(&answer), "12TDDsDDDsCCZ");
    let rows: Vec<String> = answer.iter().filter(|message| message.tag == b'D').map(|m| m.text()).collect();
    assert_eq!(rows, ["1", "2", "3", "4", "5"]);
    client.send(&[execute(0), sync()].concat());
    let answer = client.read_to(b'Z');
    assert_eq!(answer[0].field(b'C').as_deref(), Some("34000"), "the portal went with its transaction");
    client.send(&[query("begin"), parse("select * from generate_series(1, 5)"), bind(), execute(2)].concat());
    client.send(&[sync(), execute(0), sync()].concat());
    assert_eq!(tags(&client.read_to(b'Z')), "CZ");
    assert_eq!(tags(&client.read_to(b'Z')), "12DDsZ");
    assert_eq!(tags(&client.read_to(b'Z')), "DDDCZ", "in a block it outlives Sync");
    client.send(&[parse("commit"), bind(), execute(0), execute(0), sync()].concat());
    assert_eq!(tags(&client.read_to(b'Z')), "12CEZ");
    server.stop();
}

#[test]
fn an_error_passes_over_everything_to_the_next_sync() {
    let server = TestServer::start();
    let mut client = server.session();
    let skipped = [bind(), execute(0), query("select 1"), frame(b'P', b"\xff")].concat();
    client.send(&[parse("select * from nowhere"), skipped, sync(), parse("select 1"), sync()].concat());
    assert_eq!(tags(&client.read_to(b'Z')), "EZ");
    assert_eq!(tags(&client.read_to(b'Z')), "1Z");
    server.stop();
}

#[test]
fn statements_by_name() {
    let server = TestServer::start();
    let mut client = server.session();
    let named = frame(b'P', b"s\0select 7\0\0\0");
    let describe = frame(b'D', b"Ss\0");
    let bind = frame(b'B', b"\0s\0\0\0\0\0\0\0");
    client.send(&[&named[..], &describe, &bind, &execute(0), &sync()].concat());
    assert_eq!(tags(&client.read_to(b'Z')), "1tT2DCZ");
    let mut failure = |messages: &[Vec<u8>]| {
        client.send(&[messages.concat(), sync()].concat());
        client.read_to(b'Z').iter().find(|message| message.tag == b'E').and_then(|error| error.field(b'C'))
    };
    assert_eq!(failure(std::slice::from_ref(&named)).as_deref(), Some("42P05"));
    assert_eq!(failure(&[frame(b'P', b"\0select 1; select 2\0\0\0")]).as_deref(), Some("42601"));
    let too_many = frame(b'B', b"\0s\0\0\0\0\x01\xff\xff\xff\xff\0\0");
    assert_eq!(failure(&[too_many]).as_deref(), Some("08P01"));
    assert_eq!(failure(&[frame(b'C', b"Ss\0"), frame(b'C', b"Pnone\0")]), None);
    assert_eq!(failure(std::slice::from_ref(&bind)).as_deref(), Some("26000"));
    assert_eq!(failure(&[named, query("discard all")]), None);
    // The Query has its own ReadyForQuery.
    assert_eq!(tags(&client.read_to(b'Z')), "Z");
    client.send(&[bind, sync()].concat());
    assert_eq!(client.read_to(b'Z')[0].field(b'C').as_deref(), Some("26000"));
    server.stop();
}

#[test]
fn an_empty_statement_can_be_prepared() {
    let server = TestServer::start();
    let mut client = server.session();
    client.send(&[parse(" ; "), frame(b'D', b"S\0"), bind(), execute(0), sync()].concat());
    assert_eq!(tags(&client.read_to(b'Z')), "1tn2IZ");
    server.stop();
}

#[test]
fn flush_sends_without_sync() {
    let server = TestServer::start();
    let mut client = server.session();
    client.send(&[parse("select 1"), frame(b'H', b"")].concat());
    assert_eq!(tags(&client.read_to(b'1')), "1");
    client.send(&sync());
    assert_eq!(tags(&client.read_to(b'Z')), "Z");
    server.stop();
}

#[test]
fn encryption_is_refused_and_the_client_may_go_on() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.send(b"\0\0\0\x08\x04\xd2\x16\x30");
    assert_eq!(client.bytes(1), b"N");
    client.send(b"\0\0\0\x08\x04\xd2\x16\x2f");
    assert_eq!(client.bytes(1), b"N");
    client.start(&[("user", "ann")]);
    assert!(tags(&client.read_to(b'Z')).ends_with("KZ"));
    server.stop();
}

#[test]
fn newer_protocols_are_talked_down() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.start_version(99, &[("user", "ann"), ("_pq_.new", "1")]);
    let begun = client.read_to(b'Z');
    assert_eq!(begun[0].tag, b'v');
    assert_eq!(begun[0].body, b"\0\x03\0\x02\0\0\0\x01_pq_.new\0");
    let key = begun.iter().find(|message| message.tag == b'K').expect("a key");
    assert_eq!(key.body.len(), 4 + 32);
    server.stop();
}

#[test]
fn startup_options_are_settings() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.start(&[("user", "ann"), ("options", "-c statement_timeout=250"), ("application_name", "tests")]);
    client.read_to(b'Z');
    client.send(&query("show application_name"));
    assert_eq!(client.read_to(b'Z')[1].text(), "tests");
    client.send(&query(LONG));
    let answer = client.read_to(b'Z');
    let error = answer.iter().find(|message| message.tag == b'E').expect("it does not end in time");
    assert_eq!(error.field(b'C').as_deref(), Some("57014"));
    server.stop();
}

#[test]
fn garbage_before_the_session() {
    let server = TestServer::start();
    for garbage in [
        &b"\0\0\0\x03"[..],
        b"\xff\xff\xff\xffxxxx",
        b"\0\0\x27\x11aaaa",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x09\0\x03\0\0x",
        b"\0\0\0\x08\0\x02\0\0",
        b"\0\0\0\x09\0\x03\0\0\0",
        b"\0\0\0\x0b\x04\xd2\x16\x2e\0\0\0",
    ] {
        let mut client = server.connect();
        client.send(garbage);
        client.close_writing();
        let answer = client.read_to_end();
        assert_eq!(tags(&answer), "E", "{garbage:?}");
        assert_eq!(answer[0].field(b'S').as_deref(), Some("FATAL"));
    }
    // Half a packet, and silence.
    let mut client = server.connect();
    client.send(b"\0\0\0");
    client.close_writing();
    assert!(client.read_to_end().is_empty());
    server.session();
    server.stop();
}

#[test]
fn garbage_in_the_session_is_fatal_but_bad_text_is_not() {
    let server = TestServer::start();
    for garbage in [
        frame(b'?', b""),
        b"Q\0\0\0\x03".to_vec(),
        b"Q\x7f\xff\xff\xff".to_vec(),
        frame(b'P', b"\0\0\xff\xff"),
        frame(b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"),
        frame(b'p', b"secret\0"),
    ] {
        let mut client = server.session();
        client.send(&garbage);
        let answer = client.read_to_end();
        assert_eq!(tags(&answer), "E", "{garbage:?}");
        assert_eq!(answer[0].field(b'S').as_deref(), Some("FATAL"));
        assert_eq!(answer[0].field(b'C').as_deref(), Some("08P01"));
    }
    let mut client = server.session();
    client.send(&frame(b'Q', b"select '\xff'\0"));
    let answer = client.read_to(b'Z');
    assert_eq!(tags(&answer), "EZ");
    assert_eq!(answer[0].field(b'C').as_deref(), Some("22021"));
    client.send(&[frame(b'P', b"\0select '\xff'\0\0\0"), bind(), sync()].concat());
    assert_eq!(tags(&client.read_to(b'Z')), "EZ");
    // Left over from a COPY that failed.
    client.send(&[frame(b'd', b"1\n"), frame(b'c', b""), query("select 1")].concat());
    assert_eq!(tags(&client.read_to(b'Z')), "TDCZ");
    client.send(&frame(b'F', b"\0\0\0\x01\0\0\0\0\0\0"));
    assert_eq!(tags(&client.read_to(b'Z')), "EZ");
    server.stop();
}

#[test]
fn large_results_arrive_whole() {
    let server = TestServer::start();
    let mut client = server.session();
    client.send(&query("select * from generate_series(1, 100000)"));
    let answer = client.read_to(b'Z');
    assert_eq!(answer.len(), 100_003);
    let sum: u64 = answer[1..=100_000].iter().map(|row| row.text().parse::<u64>().expect("a number")).sum();
    assert_eq!(sum, 5_000_050_000);
    assert_eq!(answer[100_001].body, b"SELECT 100000\0");
    server.stop();
}

#[test]
fn a_message_in_many_pieces() {
    let server = TestServer::start();
    let mut client = server.session();
    let text = "x".repeat(300_000);
    let message = query(&format!("select length('{text}')"));
    for piece in message.chunks(70_001) {
        client.send(piece);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(client.read_to(b'Z')[1].text(), "300000");
    server.stop();
}
