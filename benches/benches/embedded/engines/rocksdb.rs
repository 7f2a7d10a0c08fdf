//! RocksDB: an LSM tree. Each write is durable by `sync`; concurrent ones share a sync.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, CompactOptions, DB, DBCompressionType, Direction, IteratorMode, Options,
    WriteBatch, WriteOptions,
};

use super::{Client, Engine, Outcome};
use crate::row::Row;

pub struct Rocks {
    database: DB,
}

impl Rocks {
    pub fn open(dir: &Path, memory_bytes: usize) -> Outcome<Self> {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(memory_bytes));
        table.set_bloom_filter(10.0, false);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_compression_type(DBCompressionType::None);
        options.increase_parallelism(2);
        options.set_allow_concurrent_memtable_write(true);
        Ok(Self { database: DB::open(&options, dir)? })
    }

    fn write(&self, rows: &[Row], sync: bool) -> Outcome<()> {
        let mut batch = WriteBatch::default();
        for row in rows {
            batch.put(Row::key(row.id), row.encode());
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        Ok(self.database.write_opt(batch, &options)?)
    }
}

impl Engine for Rocks {
    fn load(&self, rows: &mut dyn Iterator<Item = Row>) -> Outcome<()> {
        let mut batch = Vec::with_capacity(10_000);
        for row in rows {
            batch.push(row);
            if batch.len() == 10_000 {
                self.write(&batch, false)?;
                batch.clear();
            }
        }
        self.write(&batch, true)?;
        Ok(self.database.flush_wal(true)?)
    }

    fn settle(&self) -> Outcome<()> {
        self.database.flush()?;
        self.database.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &CompactOptions::default());
        Ok(())
    }

    fn client(&self) -> Outcome<Box<dyn Client + '_>> {
        Ok(Box::new(Handle(self)))
    }

    fn sums(&self) -> Outcome<(i64, i64)> {
        let mut sums = (0, 0);
        for entry in self.database.iterator(IteratorMode::Start) {
            let (price, quantity) = Row::scanned(&entry?.1);
            sums = (sums.0 + price, sums.1 + quantity);
        }
        Ok(sums)
    }
}

struct Handle<'a>(&'a Rocks);

impl Client for Handle<'_> {
    fn get(&mut self, id: i64) -> Outcome<Option<Row>> {
        Ok(self.0.database.get_pinned(Row::key(id))?.map(|bytes| Row::decode(id, &bytes)))
    }

    fn range(&mut self, from: i64, count: usize) -> Outcome<(i64, usize)> {
        let key = Row::key(from);
        let (mut sum, mut found) = (0, 0);
        for entry in self.0.database.iterator(IteratorMode::From(&key, Direction::Forward)).take(count) {
            sum += Row::scanned(&entry?.1).0;
            found += 1;
        }
        Ok((sum, found))
    }

    fn insert(&mut self, rows: &[Row]) -> Outcome<()> {
        self.0.write(rows, true)
    }

    fn update(&mut self, rows: &[Row]) -> Outcome<()> {
        self.0.write(rows, true)
    }
}
