//! Writing messages to the client, each straight into the connection's write buffer.
//!
//! What is sent with every query is written by hand, without an allocation; the rest goes through `pgwire`'s encoders. A test reads all
//! of it back with `pgwire`'s decoders.

use bytes::{BufMut, Bytes, BytesMut};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::copy::{CopyInResponse, CopyOutResponse};
use pgwire::messages::data::ParameterDescription;
use pgwire::messages::response::{ErrorResponse, NoticeResponse};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey,
};
use strata_datafusion::error::SqlError;
use strata_datafusion::session::{CopyFormat, ResultField, TransactionStatus};

use crate::frontend::Format;

#[cfg(test)]
mod tests;

/// What an ErrorResponse means for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The connection ends.
    Fatal,
}

/// Writes a message whose body `write` appends; its length is filled in afterwards.
fn message(out: &mut BytesMut, tag: u8, write: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let start = out.len();
    out.put_u32(0);
    write(out);
    // Only COPY data could come near 4 GiB, and its chunks are cut far below.
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start..start + 4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

fn cstring(out: &mut BytesMut, text: &str) {
    let end = text.find('\0').unwrap_or(text.len());
    out.extend_from_slice(&text.as_bytes()[..end]);
    out.put_u8(0);
}

/// Writes one of `pgwire`'s messages; one that it refuses as too large is left out whole.
fn encode(out: &mut BytesMut, message: &PgWireBackendMessage) {
    let start = out.len();
    if let Err(error) = message.encode(out) {
        out.truncate(start);
        tracing::warn!(%error, "left a message out");
    }
}

/// The client need not prove who it is.
pub fn authentication_ok(out: &mut BytesMut) {
    encode(out, &PgWireBackendMessage::Authentication(Authentication::Ok));
}

/// The newest protocol version that the server speaks, and the `_pq_.` options that it does not know.
pub fn negotiate_protocol_version(out: &mut BytesMut, version: i32, unknown: Vec<String>) {
    let message = NegotiateProtocolVersion::new(version, unknown);
    encode(out, &PgWireBackendMessage::NegotiateProtocolVersion(message));
}

/// A setting that the client wants to know of.
pub fn parameter_status(out: &mut BytesMut, name: String, value: String) {
    encode(out, &PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name, value)));
}

/// What a CancelRequest must name.
pub fn backend_key_data(out: &mut BytesMut, pid: i32, secret: Bytes) {
    let message = BackendKeyData::new(pid, SecretKey::Bytes(secret));
    encode(out, &PgWireBackendMessage::BackendKeyData(message));
}

/// The session waits for the next query.
pub fn ready_for_query(out: &mut BytesMut, status: TransactionStatus) {
    let status = match status {
        TransactionStatus::Idle => b'I',
        TransactionStatus::InTransaction => b'T',
        TransactionStatus::Failed => b'E',
    };
    message(out, b'Z', |out| out.put_u8(status));
}

/// A statement is prepared.
pub fn parse_complete(out: &mut BytesMut) {
    message(out, b'1', |_| {});
}

/// A portal is made.
pub fn bind_complete(out: &mut BytesMut) {
    message(out, b'2', |_| {});
}

/// A statement or portal is forgotten.
pub fn close_complete(out: &mut BytesMut) {
    message(out, b'3', |_| {});
}

/// No rows come from this statement.
pub fn no_data(out: &mut BytesMut) {
    message(out, b'n', |_| {});
}

/// The portal has reached the row limit of Execute.
pub fn portal_suspended(out: &mut BytesMut) {
    message(out, b's', |_| {});
}

/// The query string held no statement.
pub fn empty_query_response(out: &mut BytesMut) {
    message(out, b'I', |_| {});
}

/// A statement is done.
pub fn command_complete(out: &mut BytesMut, tag: &str) {
    message(out, b'C', |out| cstring(out, tag));
}

/// The types of a statement's parameters.
pub fn parameter_description(out: &mut BytesMut, oids: &[u32]) {
    encode(out, &PgWireBackendMessage::ParameterDescription(ParameterDescription::new(oids.to_vec())));
}

/// The columns of the rows to come, each in the format that `formats` gives it (see [`format_of`]).
pub fn row_description(out: &mut BytesMut, fields: &[ResultField], formats: &[Format]) {
    message(out, b'T', |out| {
        out.put_u16(u16::try_from(fields.len()).unwrap_or(u16::MAX));
        for (index, field) in fields.iter().enumerate() {
            cstring(out, &field.name);
            out.put_u32(field.table_oid);
            out.put_i16(field.column_number);
            out.put_u32(field.type_oid);
            out.put_i16(field.type_size);
            out.put_i32(field.type_modifier);
            out.put_i16(format_of(formats, index).code());
        }
    });
}

/// The format of a value by the protocol's rule: none given means text, one holds for all.
pub fn format_of(formats: &[Format], index: usize) -> Format {
    match formats {
        [] => Format::Text,
        [all] => *all,
        each => each.get(index).copied().unwrap_or(Format::Text),
    }
}

/// COPY data is expected from the client.
pub fn copy_in_response(out: &mut BytesMut, format: CopyFormat, columns: usize) {
    let (overall, count, formats) = copy_formats(format, columns);
    encode(out, &PgWireBackendMessage::CopyInResponse(CopyInResponse::new(overall, count, formats)));
}

/// COPY data follows.
pub fn copy_out_response(out: &mut BytesMut, format: CopyFormat, columns: usize) {
    let (overall, count, formats) = copy_formats(format, columns);
    encode(out, &PgWireBackendMessage::CopyOutResponse(CopyOutResponse::new(overall, count, formats)));
}

fn copy_formats(format: CopyFormat, columns: usize) -> (i8, i16, Vec<i16>) {
    let code = match format {
        CopyFormat::Text => 0i8,
        CopyFormat::Binary => 1,
    };
    let count = i16::try_from(columns).unwrap_or(i16::MAX);
    (code, count, vec![i16::from(code); columns])
}

/// The largest piece of COPY data put into one message.
const COPY_CHUNK: usize = 1 << 20;

/// COPY data; nothing for nothing.
pub fn copy_data(out: &mut BytesMut, data: &[u8]) {
    for chunk in data.chunks(COPY_CHUNK) {
        message(out, b'd', |out| out.extend_from_slice(chunk));
    }
}

/// The end of COPY data.
pub fn copy_done(out: &mut BytesMut) {
    message(out, b'c', |_| {});
}

/// A failure.
pub fn error_response(out: &mut BytesMut, severity: Severity, error: &SqlError) {
    let severity = match severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    encode(out, &PgWireBackendMessage::ErrorResponse(ErrorResponse::new(fields(severity, error))));
}

/// Something worth telling that is no failure: a warning by class 01, a notice otherwise.
pub fn notice_response(out: &mut BytesMut, notice: &SqlError) {
    let warning = notice.sqlstate.starts_with("01") || notice.sqlstate.starts_with("25");
    let severity = if warning { "WARNING" } else { "NOTICE" };
    encode(out, &PgWireBackendMessage::NoticeResponse(NoticeResponse::new(fields(severity, notice))));
}

fn fields(severity: &str, error: &SqlError) -> Vec<(u8, String)> {
    // A zero byte would end the field, and the rest be taken for fields.
    let clean = |text: &str| text.replace('\0', "\u{fffd}");
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', error.sqlstate.to_owned()),
        (b'M', clean(&error.message)),
    ];
    let optional = [(b'D', &error.detail), (b'H', &error.hint), (b'W', &error.context)];
    fields.extend(optional.into_iter().filter_map(|(code, text)| Some((code, clean(text.as_ref()?)))));
    fields.extend(error.position.map(|position| (b'P', position.to_string())));
    fields
}
