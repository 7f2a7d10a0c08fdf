//! Building view arrays whose strings lie in buffers of their own.

use arrow_array::builder::make_view;
use arrow_buffer::Buffer;

use super::symbols::SymbolTable;
use crate::codec::{Damage, Decoded};

/// Bytes after which the next string goes to a new buffer: growing one copies it, and a view's offset has 32 bits.
const BUFFER_BYTES: usize = 4 << 20;
/// A view holds a string of this length itself.
const INLINE_BYTES: usize = 12;

/// Views of strings, and the buffers that they point into.
pub(super) struct ViewBuilder {
    views: Vec<u128>,
    full: Vec<Buffer>,
    data: Vec<u8>,
    /// Where the strings end in `data`; what follows is scratch space.
    end: usize,
    is_text: bool,
}

impl ViewBuilder {
    /// Room for `capacity` strings; with `is_text`, compressed ones are checked to be UTF-8.
    pub fn new(capacity: usize, is_text: bool) -> Self {
        Self { views: Vec::with_capacity(capacity), full: Vec::new(), data: Vec::new(), end: 0, is_text }
    }

    /// Appends a string, which was checked before.
    pub fn push(&mut self, string: &[u8]) {
        if string.len() > INLINE_BYTES {
            self.data.extend(string);
        }
        self.add_view(string);
        self.end = self.data.len();
        self.roll();
    }

    /// Appends a compressed string.
    pub fn push_compressed(&mut self, symbols: &SymbolTable, codes: &[u8]) -> Decoded<()> {
        let end = symbols.decompress(codes, &mut self.data, self.end)?;
        let string = self.data.get(self.end..end).unwrap_or_default();
        if self.is_text && !string.is_ascii() && std::str::from_utf8(string).is_err() {
            return Err(Damage::at(0, "text is not UTF-8"));
        }
        let view = make_view(string, self.full.len() as u32, self.end as u32);
        self.views.push(view);
        if string.len() > INLINE_BYTES {
            self.end = end;
            self.roll();
        }
        Ok(())
    }

    fn add_view(&mut self, string: &[u8]) {
        // Both numbers are small: a buffer is closed at 4 MiB, and `end` is where the last one stopped.
        self.views.push(make_view(string, self.full.len() as u32, self.end as u32));
    }

    fn roll(&mut self) {
        if self.end >= BUFFER_BYTES {
            self.close();
        }
    }

    fn close(&mut self) {
        let mut data = std::mem::take(&mut self.data);
        data.truncate(self.end);
        // A batch is charged for what its buffers hold, not for what they use.
        if data.capacity() > data.len() + data.len() / 4 {
            data.shrink_to_fit();
        }
        self.end = 0;
        self.full.push(Buffer::from_vec(data));
    }

    /// The views and the buffers.
    pub fn finish(mut self) -> (Vec<u128>, Vec<Buffer>) {
        if self.end > 0 {
            self.close();
        }
        (self.views, self.full)
    }
}
