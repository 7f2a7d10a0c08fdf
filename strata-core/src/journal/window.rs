//! Buffered reading of one segment file, mostly forward.

use std::io;
use std::sync::Arc;

use crate::vfs::File;

/// Bytes read ahead at a time.
const READ_BYTES: usize = 256 << 10;

/// A part of a file in memory.
pub(super) struct Window {
    file: Arc<dyn File>,
    start: u64,
    data: Vec<u8>,
}

impl Window {
    pub fn new(file: Arc<dyn File>) -> Self {
        Self { file, start: 0, data: Vec::new() }
    }

    /// The bytes at `offset`: `len` of them, fewer at the end of the file. The caller bounds `len`.
    pub fn slice(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let held = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let within = held.filter(|skip| skip.checked_add(len).is_some_and(|end| end <= self.data.len()));
        let skip = match within {
            Some(skip) => skip,
            None => {
                self.read(offset, len.max(READ_BYTES))?;
                0
            }
        };
        let end = (skip + len).min(self.data.len());
        Ok(self.data.get(skip..end).unwrap_or(&[]))
    }

    fn read(&mut self, offset: u64, len: usize) -> io::Result<()> {
        self.start = offset;
        self.data.resize(len, 0);
        let mut filled = 0;
        while filled < len {
            let Some(rest) = self.data.get_mut(filled..) else { break };
            match self.file.read_at(offset + filled as u64, rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.data.clear();
                    return Err(error);
                }
            }
        }
        self.data.truncate(filled);
        Ok(())
    }
}
