//! The COPY sub-protocol, the same from Query and from Execute.

use std::sync::atomic::Ordering;

use futures::StreamExt;
use strata_datafusion::session::{CopyFormat, CopyOut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, Failure};
use crate::backend;
use crate::frontend::FrontendMessage;
use crate::wire::Ended;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// COPY … FROM STDIN: takes the client's data to its end; gives the command tag.
    ///
    /// When a chunk is refused the client has not heard of it and goes on sending: what is left is passed over where messages are
    /// served, as PostgreSQL does.
    pub(super) async fn copy_in(&mut self, format: CopyFormat, columns: usize) -> Result<String, Failure> {
        backend::copy_in_response(&mut self.wire.output, format, columns);
        loop {
            let frame = self.wire.frame().await?;
            match FrontendMessage::decode(frame).map_err(Ended::from)? {
                FrontendMessage::CopyData(data) => {
                    self.wire.watch(&self.cancel, self.session.copy_in(data)).await??;
                }
                FrontendMessage::CopyDone => {
                    return Ok(self.wire.watch(&self.cancel, self.session.finish_copy()).await??);
                }
                FrontendMessage::CopyFail(reason) => {
                    return Err(self.session.abort_copy(reason.as_str()).into());
                }
                // Clients send these after Execute, not knowing that a COPY has begun.
                FrontendMessage::Sync | FrontendMessage::Flush => {}
                FrontendMessage::Terminate => return Err(Ended::Terminated.into()),
                _ => return Err(Ended::Protocol("unexpected message during COPY from stdin").into()),
            }
        }
    }

    /// COPY … TO STDOUT: sends all data; gives the command tag.
    pub(super) async fn copy_out(&mut self, mut copy: CopyOut) -> Result<String, Failure> {
        backend::copy_out_response(&mut self.wire.output, copy.format, copy.columns);
        while let Some(chunk) = self.wire.watch(&self.cancel, copy.data.next()).await? {
            backend::copy_data(&mut self.wire.output, &chunk?);
            self.wire.send_when_full().await?;
        }
        backend::copy_done(&mut self.wire.output);
        Ok(format!("COPY {}", copy.rows.load(Ordering::Acquire)))
    }
}
