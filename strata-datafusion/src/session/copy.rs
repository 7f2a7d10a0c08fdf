//! COPY … FROM STDIN as the wire drives it: chunks, then the end or the client's refusal.

use bytes::Bytes;

use super::Session;
use crate::error::{SqlError, SqlResult};

impl Session {
    /// Takes a chunk of COPY data, cut anywhere.
    pub async fn copy_in(&mut self, _data: Bytes) -> SqlResult<()> {
        Err(no_copy())
    }

    /// The data is complete; gives the command tag.
    pub async fn finish_copy(&mut self) -> SqlResult<String> {
        Err(no_copy())
    }

    /// The client gives the COPY up.
    pub fn abort_copy(&mut self, reason: &str) -> SqlError {
        SqlError::new("57014", format!("COPY from stdin failed: {reason}"))
    }
}

/// No statement has begun a COPY.
fn no_copy() -> SqlError {
    SqlError::new("08P01", "no COPY is in progress")
}
