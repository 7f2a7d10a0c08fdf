//! The header of a block.
//!
//! ```text
//! offset  size  field
//! 0       8     magic "STRACOLB"
//! 8       2     flags, u16: bit 0 sparse, bit 1 of a bulk load
//! 10      2     0
//! 12      4     schema version
//! 16      8     load id; 0 unless of a bulk load
//! 24      8     ordinal within the load, or first RowId
//! 32      4     slots
//! 36      4     rows
//! 40      4     columns
//! 44      4     bytes of the directory
//! 48      4     bytes of the pages
//! 52      4     0
//! 56      4     CRC-32 of the directory
//! 60      4     CRC-32 of bytes 0 to 60
//! ```

use crate::codec::{Cursor, Damage, Decoded};
use crate::ids::{LoadId, RowId, SLOTS_PER_SEGMENT, SchemaVersion};

/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 64;
const MAGIC: &[u8; 8] = b"STRACOLB";
const IS_SPARSE: u16 = 1;
const IS_LOAD: u16 = 2;

/// Where the rows of a block come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A frozen segment: the RowId of its first slot.
    Rows(RowId),
    /// A bulk load, and the ordinal of the block's first row in it.
    Load(LoadId, u64),
}

/// The header, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub schema_version: SchemaVersion,
    pub origin: Origin,
    pub slots: u32,
    pub rows: u32,
    pub is_sparse: bool,
    pub columns: u32,
    pub directory_bytes: u32,
    pub pages_bytes: u32,
    pub directory_crc: u32,
}

impl Header {
    /// The bytes of the header.
    pub fn encode(&self) -> Vec<u8> {
        let (flag, load, position) = match self.origin {
            Origin::Rows(first) => (0, 0, first.get()),
            Origin::Load(load, ordinal) => (IS_LOAD, load.get(), ordinal),
        };
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend(MAGIC);
        out.extend((flag | if self.is_sparse { IS_SPARSE } else { 0 }).to_le_bytes());
        out.extend([0; 2]);
        out.extend(self.schema_version.get().to_le_bytes());
        out.extend(load.to_le_bytes());
        out.extend(position.to_le_bytes());
        for field in [self.slots, self.rows, self.columns, self.directory_bytes, self.pages_bytes, 0] {
            out.extend(field.to_le_bytes());
        }
        out.extend(self.directory_crc.to_le_bytes());
        let checksum = crc32fast::hash(&out);
        out.extend(checksum.to_le_bytes());
        out
    }

    /// Reads and checks the header.
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        let mut cursor = Cursor::new(bytes);
        let magic = cursor.array::<8>()?;
        if magic != *MAGIC {
            return Err(Damage::at(0, "no column block starts here"));
        }
        let flags = cursor.u16()?;
        let zero = cursor.u16()?;
        let schema_version = SchemaVersion::new(cursor.u32()?);
        let (load, position) = (cursor.u64()?, cursor.u64()?);
        let (slots, rows, columns) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let (directory_bytes, pages_bytes) = (cursor.u32()?, cursor.u32()?);
        let reserved = cursor.u32()?;
        let directory_crc = cursor.u32()?;
        let computed = crc32fast::hash(bytes.get(..HEADER_BYTES - 4).unwrap_or_default());
        if cursor.u32()? != computed {
            return Err(Damage::at(0, "column block header fails its checksum"));
        }
        let is_sparse = flags & IS_SPARSE != 0;
        let fits = slots <= SLOTS_PER_SEGMENT && rows <= slots && (is_sparse || rows == slots);
        if flags & !(IS_SPARSE | IS_LOAD) != 0 || zero != 0 || reserved != 0 || !fits {
            return Err(Damage::at(
                8,
                format!("column block of {rows} rows in {slots} slots, flags {flags:#x}"),
            ));
        }
        let origin = match flags & IS_LOAD {
            0 => Origin::Rows(RowId::new(position)),
            _ => Origin::Load(LoadId::new(load), position),
        };
        Ok(Self {
            schema_version,
            origin,
            slots,
            rows,
            is_sparse,
            columns,
            directory_bytes,
            pages_bytes,
            directory_crc,
        })
    }
}
