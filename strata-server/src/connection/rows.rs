//! Result batches into DataRow messages, a write buffer at a time.

use std::ops::Range;

use arrow_array::RecordBatch;
use bytes::BytesMut;
use futures::StreamExt;
use strata_datafusion::error::SqlError;
use strata_datafusion::postgres::wire::RowEncoder;
use strata_datafusion::session::{CancelHandle, RowStream, RowsTag};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Failure;
use crate::frontend::Format;
use crate::wire::{SEND_SIZE, Wire};

/// Where the sending of rows stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// No rows are left.
    End,
    /// As many rows as were asked for are sent; there may be more.
    Limit,
}

/// Rows on their way out. One batch is held at most, so that a suspended portal costs little.
pub struct Rows {
    stream: RowStream,
    encoder: RowEncoder,
    batch: Option<(RecordBatch, usize)>,
    /// How many rows the last [`Rows::send`] wrote.
    sent: usize,
    /// How many rows are encoded at once: about a write buffer's worth.
    stride: usize,
}

impl Rows {
    /// Before the first row, its columns in these formats.
    pub fn new(stream: RowStream, formats: &[Format]) -> Result<Self, SqlError> {
        let codes: Vec<i16> = formats.iter().map(|format| format.code()).collect();
        let encoder = RowEncoder::new(&stream.fields, &codes, &stream.time_zone)?;
        Ok(Self { stream, encoder, batch: None, sent: 0, stride: 64 })
    }

    /// Sends up to `max_rows` rows.
    pub async fn send<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        cancel: &CancelHandle,
        max_rows: usize,
    ) -> Result<Stop, Failure> {
        self.sent = 0;
        while self.sent < max_rows {
            let Some((batch, from)) = self.batch.take() else {
                match wire.watch(cancel, self.stream.batches.next()).await? {
                    Some(batch) => self.batch = Some((batch?, 0)),
                    None => return Ok(Stop::End),
                }
                continue;
            };
            let end = batch.num_rows().min(from.saturating_add(self.stride.min(max_rows - self.sent)));
            self.encode(&batch, from..end, &mut wire.output)?;
            if end < batch.num_rows() {
                self.batch = Some((batch, end));
            }
            wire.send_when_full().await?;
        }
        Ok(Stop::Limit)
    }

    fn encode(&mut self, batch: &RecordBatch, rows: Range<usize>, out: &mut BytesMut) -> Result<(), Failure> {
        let (count, before) = (rows.len(), out.len());
        self.encoder.encode_rows(batch, rows, out)?;
        self.sent += count;
        let row_size = (out.len() - before) / count.max(1);
        self.stride = (SEND_SIZE / row_size.max(1)).clamp(1, 1024);
        Ok(())
    }

    /// The command tag of what the last [`Rows::send`] wrote.
    pub fn tag(&self) -> String {
        match &self.stream.tag {
            RowsTag::Select => format!("SELECT {}", self.sent),
            RowsTag::Fixed(tag) => tag.clone(),
        }
    }
}
