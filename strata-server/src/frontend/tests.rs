//! The decoder against good frames, bad frames and noise.

use std::fs;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use pgwire::messages::PgWireFrontendMessage;
use pgwire::messages::extendedquery as theirs;

use super::startup::StartupPacket;
use super::*;
use crate::frame::{Cut, cut_frame, cut_startup};

fn body(tag: u8, body: &[u8]) -> Result<FrontendMessage, DecodeError> {
    FrontendMessage::decode(Frame { tag, body: Bytes::copy_from_slice(body) })
}

fn text(value: &'static str) -> Text {
    let mut bytes = value.as_bytes().to_vec();
    bytes.push(0);
    Cursor::new(bytes.into()).text().expect("a literal is UTF-8")
}

/// What pgwire's encoder writes is what our decoder reads.
fn round_trip(message: PgWireFrontendMessage) -> FrontendMessage {
    let mut buffer = BytesMut::new();
    message.encode(&mut buffer).expect("encodes");
    match cut_frame(&mut buffer) {
        Ok(Cut::Frame(frame)) => {
            assert!(buffer.is_empty());
            FrontendMessage::decode(frame).expect("decodes")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_what_pgwire_writes() {
    let parse = theirs::Parse::new(Some("s".into()), "select $1".into(), vec![23, 0]);
    assert_eq!(
        round_trip(PgWireFrontendMessage::Parse(parse)),
        FrontendMessage::Parse { name: text("s"), query: text("select $1"), parameter_oids: vec![23, 0] }
    );
    let parameters = vec![Some(BytesMut::from(&b"\0\0\0\x07"[..]).freeze()), None];
    let bind = theirs::Bind::new(Some("p".into()), None, vec![1, 0], parameters.clone(), vec![1]);
    assert_eq!(
        round_trip(PgWireFrontendMessage::Bind(bind)),
        FrontendMessage::Bind(Bind {
            portal: text("p"),
            statement: text(""),
            parameter_formats: vec![Format::Binary, Format::Text],
            parameters,
            result_formats: vec![Format::Binary],
        })
    );
    let execute = theirs::Execute::new(None, 10);
    assert_eq!(
        round_trip(PgWireFrontendMessage::Execute(execute)),
        FrontendMessage::Execute { portal: text(""), max_rows: 10 }
    );
}

#[test]
fn counts_and_lengths_beyond_the_body_are_refused() {
    // pgwire's own decoder panics on some of these.
    assert_eq!(body(b'P', b"\0\0\xff\xff"), Err(DecodeError::Truncated));
    assert_eq!(body(b'B', b"\0\0\xff\xff"), Err(DecodeError::Truncated));
    assert_eq!(body(b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0"), Err(DecodeError::Truncated));
    assert!(matches!(body(b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"), Err(DecodeError::Value { .. })));
    assert!(matches!(body(b'B', b"\0\0\0\x01\0\x02\0\0\0\0"), Err(DecodeError::Value { .. })));
    assert!(matches!(body(b'B', b"\0\0\0\x02\0\0\0\0\0\0\0\0"), Err(DecodeError::Value { .. })));
    assert_eq!(body(b'Q', b"select 1"), Err(DecodeError::Unterminated));
    assert_eq!(body(b'Q', b"select 1\0x"), Err(DecodeError::Trailing(1)));
    assert_eq!(body(b'S', b"x"), Err(DecodeError::Trailing(1)));
    assert!(matches!(body(b'D', b"Xname\0"), Err(DecodeError::Value { field: "subtype", .. })));
    assert_eq!(
        body(b'E', b"\0\xff\xff\xff\xff"),
        Ok(FrontendMessage::Execute { portal: text(""), max_rows: 0 })
    );
}

#[test]
fn text_that_is_not_utf8_is_named() {
    let error = body(b'Q', b"select '\xff\xfe'\0").expect_err("not UTF-8");
    assert_eq!(error.to_string(), "invalid byte sequence for encoding \"UTF8\": 0xff 0xfe 0x27");
}

#[test]
fn startup_packets() {
    let decode = |bytes: &'static [u8]| StartupPacket::decode(Bytes::from_static(bytes));
    assert_eq!(decode(b"\x04\xd2\x16\x2f"), Ok(StartupPacket::Encryption));
    assert_eq!(decode(b"\x04\xd2\x16\x30"), Ok(StartupPacket::Encryption));
    assert_eq!(
        decode(b"\x04\xd2\x16\x2e\0\0\0\x05abcd"),
        Ok(StartupPacket::Cancel { pid: 5, secret: Bytes::from_static(b"abcd") })
    );
    assert!(decode(b"\x04\xd2\x16\x2e\0\0\0\x05abc").is_err());
    let Ok(StartupPacket::Startup(startup)) = decode(b"\0\x03\0\x02user\0ann\0database\0d\0\0") else {
        panic!("a startup packet");
    };
    assert_eq!((startup.major, startup.minor), (3, 2));
    assert_eq!((startup.get("user"), startup.get("database")), (Some("ann"), Some("d")));
    assert_eq!(startup.get("options"), None);
    assert!(decode(b"\0\x03\0\0user\0").is_err());
    assert!(decode(b"\0\x03\0\0user\0ann\0\0x").is_err());
    assert!(decode(b"\0\x03").is_err());
}

/// A small generator, so that a failing seed can be run again.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }
}

/// Decodes a stream to its end, its error or its lack of bytes; panics are the failure.
fn drain(bytes: &[u8]) -> usize {
    let mut buffer = BytesMut::from(bytes);
    let mut decoded = 0;
    while let Ok(Cut::Frame(frame)) = cut_frame(&mut buffer) {
        if FrontendMessage::decode(frame).is_ok() {
            decoded += 1;
        }
    }
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Cut::Frame(frame)) = cut_startup(&mut buffer) {
        let _ = StartupPacket::decode(frame.body);
    }
    decoded
}

#[test]
fn no_bytes_make_it_panic() {
    let tags = b"QPBDECSHdcfXpF";
    let mut decoded = 0;
    for seed in 1..=40_000u64 {
        let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut bytes = Vec::new();
        for _ in 0..=noise.below(3) {
            // Bodies of small numbers and zeros come near to what is valid.
            let size = noise.below(24);
            bytes.push(tags[noise.below(tags.len())]);
            let length = if noise.below(8) == 0 { noise.next() as u32 } else { size as u32 + 4 };
            bytes.extend_from_slice(&length.to_be_bytes());
            for _ in 0..size {
                let byte = [0, 0, 1, 2, b'S', b'a', 0xff, noise.next() as u8][noise.below(8)];
                bytes.push(byte);
            }
        }
        let count = std::panic::catch_unwind(|| drain(&bytes));
        decoded += count.unwrap_or_else(|_| panic!("seed {seed}: {bytes:?}"));
    }
    assert!(decoded > 10_000, "the noise comes near to valid messages: {decoded}");
}

#[test]
fn every_truncation_and_bit_flip_of_a_valid_stream_is_survived() {
    let mut stream = BytesMut::new();
    for message in [
        PgWireFrontendMessage::Parse(theirs::Parse::new(Some("s".into()), "select $1".into(), vec![23])),
        PgWireFrontendMessage::Bind(theirs::Bind::new(
            None,
            Some("s".into()),
            vec![0],
            vec![Some(Bytes::from_static(b"12"))],
            vec![0, 1],
        )),
        PgWireFrontendMessage::Execute(theirs::Execute::new(None, 0)),
    ] {
        message.encode(&mut stream).expect("encodes");
    }
    assert_eq!(drain(&stream), 3);
    for end in 0..stream.len() {
        assert!(drain(&stream[..end]) < 3);
    }
    for bit in 0..stream.len() * 8 {
        let mut flipped = stream.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        drain(&flipped);
    }
}

#[test]
fn kept_frames_hold() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/frame");
    let inputs: Vec<_> = fs::read_dir(corpus).expect("a corpus").flatten().collect();
    assert!(inputs.len() > 2, "the corpus has {} inputs", inputs.len());
    for input in inputs {
        let bytes = fs::read(input.path()).expect("reads");
        let outcome = std::panic::catch_unwind(|| fuzzing::frame(&bytes));
        assert!(outcome.is_ok(), "{}", input.path().display());
    }
}
