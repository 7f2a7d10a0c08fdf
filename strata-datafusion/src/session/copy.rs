//! COPY … FROM STDIN as the wire drives it: chunks, then the end or the client's refusal.

use bytes::Bytes;

use super::Session;
use crate::error::{SqlError, SqlResult};
use crate::sql::copy::CopyIn;

impl Session {
    /// A statement has begun a COPY.
    pub(crate) fn begin_copy(&mut self, copy: CopyIn) {
        self.copying = Some(copy);
    }

    /// Takes a chunk of COPY data, cut anywhere.
    pub async fn copy_in(&mut self, data: Bytes) -> SqlResult<()> {
        let mut copy = self.copying.take().ok_or_else(no_copy)?;
        copy.push(self, &data).await?;
        self.copying = Some(copy);
        Ok(())
    }

    /// The data is complete; gives the command tag.
    pub async fn finish_copy(&mut self) -> SqlResult<String> {
        let copy = self.copying.take().ok_or_else(no_copy)?;
        let rows = copy.finish(self).await?;
        Ok(format!("COPY {rows}"))
    }

    /// The client gives the COPY up.
    pub fn abort_copy(&mut self, reason: &str) -> SqlError {
        self.copying = None;
        SqlError::new("57014", format!("COPY from stdin failed: {reason}"))
    }
}

/// No statement has begun a COPY.
fn no_copy() -> SqlError {
    SqlError::new("08P01", "no COPY is in progress")
}
