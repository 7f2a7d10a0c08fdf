//! What can be tuned.

/// How tables are written.
#[derive(Clone, Debug)]
pub struct TableOptions {
    /// Where a table ends, in payload bytes. A table is built in memory.
    pub table_bytes: usize,
    /// Where a data block, and a partition of the index, ends, in bytes before compression.
    pub block_bytes: usize,
    /// Where a bloom filter ends, in distinct keys.
    pub filter_keys: usize,
    /// Bits of a filter for each key.
    pub filter_bits_per_key: usize,
    /// Whether blocks are LZ4-compressed where that helps.
    pub compress: bool,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            table_bytes: 16 << 20,
            block_bytes: 8 << 10,
            filter_keys: 32 << 10,
            filter_bits_per_key: 10,
            compress: true,
        }
    }
}

/// So many tables fit into memory, at least; but they are not made smaller than [`TABLE_BYTES_MIN`].
const TABLES_OF_MEMORY: usize = 32;
const TABLE_BYTES_MIN: usize = 1 << 20;

impl TableOptions {
    /// Tables that are a small part of the memory there is, since they are built in it.
    pub fn limit_to(&mut self, memory_bytes: usize) {
        self.table_bytes = self.table_bytes.min((memory_bytes / TABLES_OF_MEMORY).max(TABLE_BYTES_MIN));
    }
}

/// How the tree is kept in shape.
#[derive(Clone, Debug)]
pub struct LsmOptions {
    /// How tables are written.
    pub table: TableOptions,
    /// Runs at level 0 that set off a compaction.
    pub level_0_runs: usize,
    /// Bytes of level 1 that set off a compaction.
    pub level_1_bytes: u64,
    /// How many times larger each further level may be.
    pub level_growth: u64,
    /// Input bytes at which a compaction stops taking more of level 0 or of its own level.
    pub compaction_bytes: u64,
}

impl Default for LsmOptions {
    fn default() -> Self {
        Self {
            table: TableOptions::default(),
            level_0_runs: 4,
            level_1_bytes: 64 << 20,
            level_growth: 10,
            compaction_bytes: 256 << 20,
        }
    }
}
