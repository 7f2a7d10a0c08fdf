//! Everything that we write is read back by `pgwire`'s decoders.

use pgwire::messages::DecodeContext;

use super::*;

fn read(out: &mut BytesMut) -> PgWireBackendMessage {
    let mut context = DecodeContext::default();
    context.awaiting_frontend_ssl = false;
    context.awaiting_frontend_startup = false;
    PgWireBackendMessage::decode(out, &context).expect("decodes").expect("is whole")
}

fn field(name: &str) -> ResultField {
    ResultField {
        name: name.into(),
        type_oid: 23,
        type_size: 4,
        type_modifier: -1,
        table_oid: 16_384,
        column_number: 2,
    }
}

#[test]
fn what_we_write_by_hand_is_what_pgwire_writes() {
    use pgwire::messages::data::{FieldDescription, RowDescription};
    let mut ours = BytesMut::new();
    row_description(&mut ours, &[field("a"), field("b")], &[Format::Binary]);
    let theirs_field =
        |name: &str| FieldDescription::new(name.into(), 16_384, 2, 23, 4, -1, Format::Binary.code());
    let mut theirs = BytesMut::new();
    let message = RowDescription::new(vec![theirs_field("a"), theirs_field("b")]);
    PgWireBackendMessage::RowDescription(message).encode(&mut theirs).expect("encodes");
    assert_eq!(ours, theirs);
}

#[test]
fn golden_bytes_of_the_hot_messages() {
    let mut out = BytesMut::new();
    parse_complete(&mut out);
    bind_complete(&mut out);
    command_complete(&mut out, "SELECT 1");
    ready_for_query(&mut out, TransactionStatus::InTransaction);
    assert_eq!(&out[..], b"1\0\0\0\x042\0\0\0\x04C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05T");
}

#[test]
fn errors_carry_all_their_fields() {
    let error = SqlError::new("42601", "bad\0word").with_detail("d").with_hint("h").at(7);
    let mut out = BytesMut::new();
    error_response(&mut out, Severity::Error, &error);
    let PgWireBackendMessage::ErrorResponse(response) = read(&mut out) else { panic!("an error") };
    let get =
        |code: u8| response.fields.iter().find(|(key, _)| *key == code).map(|(_, value)| value.as_str());
    assert_eq!(
        [b'S', b'V', b'C', b'M', b'D', b'H', b'P'].map(get),
        ["ERROR", "ERROR", "42601", "bad\u{fffd}word", "d", "h", "7"].map(Some)
    );
    assert!(out.is_empty());
}

#[test]
fn notices_and_warnings() {
    let severity = |sqlstate| {
        let mut out = BytesMut::new();
        notice_response(&mut out, &SqlError::new(sqlstate, "m"));
        let PgWireBackendMessage::NoticeResponse(response) = read(&mut out) else { panic!("a notice") };
        response.fields.first().map(|(_, value)| value.clone())
    };
    assert_eq!(severity("25P01").as_deref(), Some("WARNING"));
    assert_eq!(severity("42P07").as_deref(), Some("NOTICE"));
}

#[test]
fn a_message_that_is_refused_leaves_nothing_behind() {
    let mut out = BytesMut::from(&b"before"[..]);
    parameter_status(&mut out, "application_name".into(), "x".repeat(40_000));
    assert_eq!(&out[..], b"before");
}

#[test]
fn copy_data_is_cut_into_messages() {
    let mut out = BytesMut::new();
    copy_data(&mut out, &vec![7; COPY_CHUNK + 1]);
    let sizes: Vec<usize> = std::iter::from_fn(|| {
        if out.is_empty() {
            return None;
        }
        match read(&mut out) {
            PgWireBackendMessage::CopyData(data) => Some(data.data.len()),
            other => panic!("{other:?}"),
        }
    })
    .collect();
    assert_eq!(sizes, [COPY_CHUNK, 1]);
}

#[test]
fn formats_follow_the_protocols_rule() {
    use Format::{Binary, Text};
    assert_eq!(format_of(&[], 3), Text);
    assert_eq!(format_of(&[Binary], 3), Binary);
    assert_eq!(format_of(&[Text, Binary], 1), Binary);
}
