//! When background work is due.

/// Who runs maintenance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MaintenanceMode {
    /// A thread of the database's own.
    #[default]
    Background,
    /// The user, by [`Database::maintain`](crate::Database::maintain).
    Manual,
}

/// Thresholds.
#[derive(Clone, Debug)]
pub struct MaintenanceOptions {
    /// Memtable bytes at which it is sealed and flushed.
    pub memtable_bytes: usize,
    /// Journal bytes at which a checkpoint is due: what opening may have to replay.
    pub journal_bytes: u64,
    /// Whether sealed segments are frozen as soon as there is time.
    pub freeze_idle_segments: bool,
    /// How full the last segment of a heap must be, in slots, for VACUUM to seal it.
    pub tail_slots: u32,
    /// A segment is emptied by moving its rows once no more than one in so many of its slots is live. Two at least: the rows of a
    /// full segment would move for ever.
    pub move_share: u32,
}

impl MaintenanceOptions {
    /// Thresholds for a process of this many bytes.
    pub fn for_memory(memory_bytes: usize) -> Self {
        Self {
            memtable_bytes: (memory_bytes / 16).clamp(1 << 20, 64 << 20),
            journal_bytes: (memory_bytes as u64 / 4).clamp(16 << 20, 256 << 20),
            freeze_idle_segments: true,
            // An eighth of a segment, or blocks would be short.
            tail_slots: 8_192,
            move_share: 16,
        }
    }
}
