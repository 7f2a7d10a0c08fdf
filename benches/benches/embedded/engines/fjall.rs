//! fjall: an LSM tree. Each write is durable by `PersistMode::SyncAll`; loads go through its ingestion.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Client, Engine, Outcome};
use crate::row::Row;

pub struct Fjall {
    database: Database,
    rows: Keyspace,
}

impl Fjall {
    pub fn open(dir: &Path, memory_bytes: usize) -> Outcome<Self> {
        let database = Database::builder(dir).cache_size(memory_bytes as u64).open()?;
        let rows = database.keyspace("rows", KeyspaceCreateOptions::default)?;
        Ok(Self { database, rows })
    }
}

impl Engine for Fjall {
    fn load(&self, rows: &mut dyn Iterator<Item = Row>) -> Outcome<()> {
        let mut ingestion = self.rows.start_ingestion()?;
        for row in rows {
            ingestion.write(Row::key(row.id), row.encode())?;
        }
        ingestion.finish()?;
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }

    fn settle(&self) -> Outcome<()> {
        self.rows.rotate_memtable_and_wait()?;
        Ok(self.rows.major_compact()?)
    }

    fn client(&self) -> Outcome<Box<dyn Client + '_>> {
        Ok(Box::new(Handle(self)))
    }

    fn sums(&self) -> Outcome<(i64, i64)> {
        let mut sums = (0, 0);
        for entry in self.rows.iter() {
            let (price, quantity) = Row::scanned(&entry.value()?);
            sums = (sums.0 + price, sums.1 + quantity);
        }
        Ok(sums)
    }
}

struct Handle<'a>(&'a Fjall);

impl Client for Handle<'_> {
    fn get(&mut self, id: i64) -> Outcome<Option<Row>> {
        Ok(self.0.rows.get(Row::key(id))?.map(|bytes| Row::decode(id, &bytes)))
    }

    fn range(&mut self, from: i64, count: usize) -> Outcome<(i64, usize)> {
        let (mut sum, mut found) = (0, 0);
        for entry in self.0.rows.range(Row::key(from)..).take(count) {
            sum += Row::scanned(&entry.value()?).0;
            found += 1;
        }
        Ok((sum, found))
    }

    fn insert(&mut self, rows: &[Row]) -> Outcome<()> {
        let mut batch = self.0.database.batch().durability(Some(PersistMode::SyncAll));
        for row in rows {
            batch.insert(&self.0.rows, Row::key(row.id), row.encode());
        }
        Ok(batch.commit()?)
    }

    fn update(&mut self, rows: &[Row]) -> Outcome<()> {
        self.insert(rows)
    }
}
