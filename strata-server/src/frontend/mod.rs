//! What clients send, decoded with every count and length checked: no bytes make it panic, and none are copied.
//!
//! Two kinds of failure: text that is not UTF-8 ([`DecodeError::InvalidText`]) is the statement's error, SQLSTATE 22021, since the frame
//! itself is whole; anything else is a protocol violation, 08P01, and ends the connection.

mod cursor;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod startup;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use cursor::{Cursor, Text};

use crate::frame::Frame;

/// A body that does not hold what its tag promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A field runs past the body's end.
    #[error("insufficient data left in message")]
    Truncated,
    /// A string without its zero byte.
    #[error("invalid string in message")]
    Unterminated,
    /// Bytes after the last field.
    #[error("invalid message format: {0} bytes too many")]
    Trailing(usize),
    /// A field outside of its values.
    #[error("invalid {field} in message: {value}")]
    Value {
        /// Which field.
        field: &'static str,
        /// What it held.
        value: i64,
    },
    /// Text that is not UTF-8; the first bytes of what is not.
    #[error("invalid byte sequence for encoding \"UTF8\": {}", hex(.0))]
    InvalidText(Vec<u8>),
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("0x{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// What Describe and Close refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A prepared statement, the unnamed one by the empty name.
    Statement(Text),
    /// A portal, likewise.
    Portal(Text),
}

/// A client's message, once the connection is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrontendMessage {
    /// Simple query: any number of statements.
    Query(Text),
    /// Prepare a statement.
    Parse {
        /// Its name.
        name: Text,
        /// Its text, of one statement at most.
        query: Text,
        /// Type OIDs of the first parameters, 0 where the server shall infer.
        parameter_oids: Vec<u32>,
    },
    /// Make a portal of a statement and parameters.
    Bind(Bind),
    /// Ask for the shape of a statement or portal.
    Describe(Target),
    /// Run a portal.
    Execute {
        /// The portal.
        portal: Text,
        /// How many rows at most, 0 for all.
        max_rows: usize,
    },
    /// Forget a statement or portal.
    Close(Target),
    /// The end of an extended query.
    Sync,
    /// Send what there is.
    Flush,
    /// A chunk of COPY data.
    CopyData(Bytes),
    /// The end of COPY data.
    CopyDone,
    /// The client gives a COPY up, and why.
    CopyFail(Text),
    /// A password or SASL answer.
    Password,
    /// The long obsolete function call.
    FunctionCall,
    /// Goodbye.
    Terminate,
}

/// A portal to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The portal's name.
    pub portal: Text,
    /// The statement's name.
    pub statement: Text,
    /// None for all in text, one for all, or one for each parameter.
    pub parameter_formats: Vec<Format>,
    /// The values, `None` for NULL.
    pub parameters: Vec<Option<Bytes>>,
    /// None for all in text, one for all, or one for each column.
    pub result_formats: Vec<Format>,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As text.
    Text,
    /// In the type's binary form.
    Binary,
}

impl Format {
    /// The wire's code.
    pub fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }
}

impl FrontendMessage {
    /// The message in a frame.
    pub fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let mut body = Cursor::new(frame.body);
        let message = match frame.tag {
            b'Q' => Self::Query(body.text()?),
            b'P' => parse(&mut body)?,
            b'B' => Self::Bind(bind(&mut body)?),
            b'D' => Self::Describe(target(&mut body)?),
            b'E' => Self::Execute { portal: body.text()?, max_rows: max_rows(&mut body)? },
            b'C' => Self::Close(target(&mut body)?),
            b'S' => Self::Sync,
            b'H' => Self::Flush,
            b'd' => Self::CopyData(body.bytes(body.remaining())?),
            b'c' => Self::CopyDone,
            b'f' => Self::CopyFail(body.text()?),
            b'X' => Self::Terminate,
            b'p' => {
                body.bytes(body.remaining())?;
                Self::Password
            }
            b'F' => {
                body.bytes(body.remaining())?;
                Self::FunctionCall
            }
            tag => return Err(DecodeError::Value { field: "message type", value: i64::from(tag) }),
        };
        body.end()?;
        Ok(message)
    }
}

fn parse(body: &mut Cursor) -> Result<FrontendMessage, DecodeError> {
    let name = body.text()?;
    let query = body.text()?;
    let count = body.count(4)?;
    let parameter_oids = (0..count).map(|_| body.u32()).collect::<Result<_, _>>()?;
    Ok(FrontendMessage::Parse { name, query, parameter_oids })
}

fn bind(body: &mut Cursor) -> Result<Bind, DecodeError> {
    let portal = body.text()?;
    let statement = body.text()?;
    let parameter_formats = formats(body)?;
    let count = body.count(4)?;
    let mut parameters = Vec::with_capacity(count);
    for _ in 0..count {
        let size = body.i32()?;
        parameters.push(match usize::try_from(size) {
            Ok(size) => Some(body.bytes(size)?),
            Err(_) if size == -1 => None,
            Err(_) => return Err(DecodeError::Value { field: "parameter length", value: i64::from(size) }),
        });
    }
    let result_formats = formats(body)?;
    if !matches!(parameter_formats.len(), 0 | 1) && parameter_formats.len() != count {
        return Err(DecodeError::Value {
            field: "number of parameter formats",
            value: parameter_formats.len().try_into().unwrap_or(i64::MAX),
        });
    }
    Ok(Bind { portal, statement, parameter_formats, parameters, result_formats })
}

fn formats(body: &mut Cursor) -> Result<Vec<Format>, DecodeError> {
    let count = body.count(2)?;
    (0..count)
        .map(|_| match body.i16()? {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            code => Err(DecodeError::Value { field: "format code", value: i64::from(code) }),
        })
        .collect()
}

fn target(body: &mut Cursor) -> Result<Target, DecodeError> {
    match body.u8()? {
        b'S' => Ok(Target::Statement(body.text()?)),
        b'P' => Ok(Target::Portal(body.text()?)),
        kind => Err(DecodeError::Value { field: "subtype", value: i64::from(kind) }),
    }
}

/// Zero and, as PostgreSQL takes them, negative numbers ask for all rows.
fn max_rows(body: &mut Cursor) -> Result<usize, DecodeError> {
    Ok(usize::try_from(body.i32()?).unwrap_or(0))
}
