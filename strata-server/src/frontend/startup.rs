//! The first packet of a connection, which has no tag.
//!
//! | code | packet |
//! |---|---|
//! | 80877103, 80877104 | a question for TLS or GSSAPI encryption |
//! | 80877102 | cancel: process id, then a secret of 4 to 256 bytes |
//! | `major << 16 \| minor` | startup: pairs of strings, then a zero byte |

use bytes::Bytes;

use super::{Cursor, DecodeError, Text};

const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// A connection's first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartupPacket {
    /// TLS or GSSAPI encryption is asked for.
    Encryption,
    /// A running query of another connection shall end.
    Cancel {
        /// That connection's process id.
        pid: i32,
        /// Its secret.
        secret: Bytes,
    },
    /// A session shall begin.
    Startup(Startup),
}

/// What a session is to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// The protocol's major version.
    pub major: u16,
    /// The protocol's minor version.
    pub minor: u16,
    /// The pairs, in order.
    pub parameters: Vec<(Text, Text)>,
}

impl Startup {
    /// The last value given for a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(key, _)| key.as_str() == name).map(|(_, value)| value.as_str())
    }
}

impl StartupPacket {
    /// The packet in a startup frame's body.
    pub fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut body = Cursor::new(body);
        let code = body.u32()?;
        match code {
            SSL_REQUEST | GSSENC_REQUEST => {
                body.end()?;
                Ok(Self::Encryption)
            }
            CANCEL_REQUEST => {
                let pid = body.i32()?;
                let size = body.remaining();
                if !(4..=256).contains(&size) {
                    return Err(DecodeError::Value {
                        field: "cancel key length",
                        value: size.try_into().unwrap_or(i64::MAX),
                    });
                }
                Ok(Self::Cancel { pid, secret: body.bytes(size)? })
            }
            version => {
                let [high, low, third, fourth] = version.to_be_bytes();
                let (major, minor) = (u16::from_be_bytes([high, low]), u16::from_be_bytes([third, fourth]));
                // The rest of another major version's packet is not ours to read.
                let parameters = if major == 3 { pairs(body)? } else { Vec::new() };
                Ok(Self::Startup(Startup { major, minor, parameters }))
            }
        }
    }
}

fn pairs(mut body: Cursor) -> Result<Vec<(Text, Text)>, DecodeError> {
    let mut parameters = Vec::new();
    loop {
        let name = body.text()?;
        if name.as_str().is_empty() {
            body.end()?;
            return Ok(parameters);
        }
        parameters.push((name, body.text()?));
    }
}
