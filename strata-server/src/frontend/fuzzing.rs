//! What must hold of any bytes that a client sends: frames are cut whatever the pieces they come in, and what is decoded is
//! what stands in the frame.

use bytes::{BufMut, Bytes, BytesMut};

use super::startup::StartupPacket;
use super::{Bind, Format, FrontendMessage, Target};
use crate::frame::{Cut, Frame, FrameError, cut_frame, cut_startup};

/// A startup packet, then messages. The first byte says how long the pieces are that the rest comes in.
pub fn frame(data: &[u8]) {
    let Some((piece, stream)) = data.split_first() else { return };
    if let Ok(Cut::Frame(frame)) = cut_startup(&mut BytesMut::from(stream)) {
        startup(frame.body);
    }
    let whole = cut_all(stream, stream.len().max(1));
    assert_eq!(whole, cut_all(stream, 1 + usize::from(*piece)), "pieces of {piece}");
    for frame in whole.0 {
        if let Ok(message) = FrontendMessage::decode(frame.clone()) {
            assert!(message_body(&message).is_none_or(|body| body == frame.body), "{message:?} of {frame:?}");
        }
    }
}

/// The frames of a stream that comes in pieces, and what ended it.
fn cut_all(stream: &[u8], piece: usize) -> (Vec<Frame>, Option<FrameError>) {
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match cut_frame(&mut buffer) {
                Ok(Cut::Frame(frame)) => frames.push(frame),
                Ok(Cut::Needs(missing)) => {
                    assert!(missing > 0);
                    break;
                }
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fn startup(body: Bytes) {
    let Ok(packet) = StartupPacket::decode(body.clone()) else { return };
    let mut again = BytesMut::new();
    match packet {
        StartupPacket::Encryption => return assert_eq!(body.len(), 4),
        StartupPacket::Cancel { pid, secret } => {
            again.put_u32(80_877_102);
            again.put_i32(pid);
            again.put(secret);
        }
        StartupPacket::Startup(startup) if startup.major == 3 => {
            again.put_u16(startup.major);
            again.put_u16(startup.minor);
            for text in startup.parameters.iter().flat_map(|(name, value)| [name, value]) {
                again.put(text.as_str().as_bytes());
                again.put_u8(0);
            }
            again.put_u8(0);
        }
        StartupPacket::Startup(_) => return,
    }
    assert_eq!(again, body);
}

/// The body that such a message has; `None` where it keeps less than the body says.
fn message_body(message: &FrontendMessage) -> Option<Bytes> {
    let mut body = BytesMut::new();
    let text = |body: &mut BytesMut, text: &super::Text| {
        body.put(text.as_str().as_bytes());
        body.put_u8(0);
    };
    match message {
        FrontendMessage::Query(query) | FrontendMessage::CopyFail(query) => text(&mut body, query),
        FrontendMessage::Parse { name, query, parameter_oids } => {
            text(&mut body, name);
            text(&mut body, query);
            body.put_u16(u16::try_from(parameter_oids.len()).expect("counted in 16 bits"));
            parameter_oids.iter().for_each(|oid| body.put_u32(*oid));
        }
        FrontendMessage::Bind(bind) => put_bind(&mut body, bind),
        FrontendMessage::Describe(target) | FrontendMessage::Close(target) => {
            let (kind, name) = match target {
                Target::Statement(name) => (b'S', name),
                Target::Portal(name) => (b'P', name),
            };
            body.put_u8(kind);
            text(&mut body, name);
        }
        FrontendMessage::CopyData(bytes) => body.put(bytes.clone()),
        FrontendMessage::Sync
        | FrontendMessage::Flush
        | FrontendMessage::CopyDone
        | FrontendMessage::Terminate => {}
        FrontendMessage::Execute { .. } | FrontendMessage::Password | FrontendMessage::FunctionCall => {
            return None;
        }
    }
    Some(body.freeze())
}

fn put_bind(body: &mut BytesMut, bind: &Bind) {
    let count = |count: usize| u16::try_from(count).expect("counted in 16 bits");
    for name in [&bind.portal, &bind.statement] {
        body.put(name.as_str().as_bytes());
        body.put_u8(0);
    }
    let formats = |body: &mut BytesMut, formats: &[Format]| {
        body.put_u16(count(formats.len()));
        formats.iter().for_each(|format| body.put_i16(format.code()));
    };
    formats(body, &bind.parameter_formats);
    body.put_u16(count(bind.parameters.len()));
    for parameter in &bind.parameters {
        match parameter {
            Some(value) => {
                body.put_i32(i32::try_from(value.len()).expect("a frame is below 2^31 bytes"));
                body.put(value.clone());
            }
            None => body.put_i32(-1),
        }
    }
    formats(body, &bind.result_formats);
}
