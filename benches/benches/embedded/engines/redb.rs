//! redb: a copy-on-write B-tree. One writer at a time; each commit is durable by `Durability::Immediate`, its default.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Client, Engine, Outcome};
use crate::row::Row;

const ROWS: TableDefinition<i64, &[u8]> = TableDefinition::new("rows");

pub struct Redb {
    database: Database,
}

impl Redb {
    pub fn open(dir: &Path, memory_bytes: usize) -> Outcome<Self> {
        std::fs::create_dir_all(dir)?;
        let database = Database::builder().set_cache_size(memory_bytes).create(dir.join("rows.redb"))?;
        let write = database.begin_write()?;
        write.open_table(ROWS)?;
        write.commit()?;
        Ok(Self { database })
    }

    fn write(&self, rows: &mut dyn Iterator<Item = Row>) -> Outcome<()> {
        let write = self.database.begin_write()?;
        {
            let mut table = write.open_table(ROWS)?;
            for row in rows {
                table.insert(row.id, row.encode().as_slice())?;
            }
        }
        Ok(write.commit()?)
    }
}

impl Engine for Redb {
    fn load(&self, rows: &mut dyn Iterator<Item = Row>) -> Outcome<()> {
        self.write(rows)
    }

    /// `compact` wants the database for itself and moves pages only; reads gain nothing by it.
    fn settle(&self) -> Outcome<()> {
        Ok(())
    }

    fn client(&self) -> Outcome<Box<dyn Client + '_>> {
        Ok(Box::new(Handle(self)))
    }

    fn sums(&self) -> Outcome<(i64, i64)> {
        let mut sums = (0, 0);
        for entry in self.database.begin_read()?.open_table(ROWS)?.iter()? {
            let (price, quantity) = Row::scanned(entry?.1.value());
            sums = (sums.0 + price, sums.1 + quantity);
        }
        Ok(sums)
    }
}

struct Handle<'a>(&'a Redb);

impl Client for Handle<'_> {
    fn get(&mut self, id: i64) -> Outcome<Option<Row>> {
        let table = self.0.database.begin_read()?.open_table(ROWS)?;
        Ok(table.get(id)?.map(|bytes| Row::decode(id, bytes.value())))
    }

    fn range(&mut self, from: i64, count: usize) -> Outcome<(i64, usize)> {
        let table = self.0.database.begin_read()?.open_table(ROWS)?;
        let (mut sum, mut found) = (0, 0);
        for entry in table.range(from..)?.take(count) {
            sum += Row::scanned(entry?.1.value()).0;
            found += 1;
        }
        Ok((sum, found))
    }

    fn insert(&mut self, rows: &[Row]) -> Outcome<()> {
        self.0.write(&mut rows.iter().cloned())
    }

    fn update(&mut self, rows: &[Row]) -> Outcome<()> {
        self.insert(rows)
    }
}
