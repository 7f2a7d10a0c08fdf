//! Tables as a transaction works with them: reading at a view, writing under locks, bulk loads, index builds.
//!
//! | file | what it holds |
//! |---|---|
//! | `shared` | what all handles of one database share |
//! | `view` | what a statement reads: snapshot, own writes, catalog |
//! | `contents` | where a scan finds its rows |
//! | `index_scan` | rows in key order |
//! | `read_set` | what a SERIALIZABLE transaction has read |
//! | `transaction` | writes, locks, DDL, commit |
//! | `savepoint` | going back within a transaction |
//! | `bulk`, `segment_encoder`, `key_sorter` | rows straight into column blocks, keys into index files |
//! | `spill` | writing own rows out, so that memory stays bounded |
//! | `unique` | unique keys where rows come one by one and in bulk |
//! | `index_build`, `segment_keys` | CREATE INDEX |
//! | `relocate` | moving rows out of nearly empty segments |

mod bulk;
mod contents;
mod index_build;
mod index_scan;
mod key_sorter;
mod keys;
mod read_set;
mod relocate;
mod row;
mod savepoint;
mod segment_encoder;
mod segment_keys;
mod shared;
mod spill;
mod transaction;
mod unique;
mod view;

pub use bulk::{BulkLoad, BulkSizes, BulkWriter, MIN_ROWS as MIN_BULK_ROWS, SealedLoad};
pub use contents::TableContents;
pub use index_scan::IndexScan;
pub(crate) use keys::key_has_null;
pub use keys::{MAX_KEY_BYTES, decode_index_key, encode_index_key, index_keys};
pub use read_set::{ReadPredicate, RowFilter};
pub use relocate::{Relocated, relocate};
pub use row::TableRow;
pub use savepoint::Savepoint;
pub use segment_encoder::{BESIDE_FROM_BYTES, usual_threads as usual_encode_threads};
pub use shared::Shared;
pub(crate) use transaction::key_of;
pub use transaction::{Isolation, Locked, Transaction};
pub use view::{ReadView, TableView};
