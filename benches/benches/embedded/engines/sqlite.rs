//! SQLite through rusqlite: WAL, `synchronous = FULL`, prepared statements, a connection for each thread.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{Client, Engine, Outcome};
use crate::row::Row;

pub struct Sqlite {
    path: PathBuf,
    memory_bytes: usize,
    main: Mutex<Connection>,
}

const INSERT: &str = "INSERT INTO rows VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
const UPDATE: &str = "UPDATE rows SET customer = ?2, product = ?3, price = ?4, discount = ?5, quantity = ?6, day = ?7, \
                      state = ?8, city = ?9, note = ?10 WHERE id = ?1";

impl Sqlite {
    pub fn open(dir: &Path, memory_bytes: usize) -> Outcome<Self> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join("rows.sqlite");
        let main = connect(&path, memory_bytes)?;
        main.execute_batch(
            "CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, customer INTEGER, product INTEGER, price INTEGER, \
             discount INTEGER, quantity INTEGER, day INTEGER, state TEXT, city TEXT, note TEXT)",
        )?;
        Ok(Self { path, memory_bytes, main: Mutex::new(main) })
    }
}

fn connect(path: &Path, memory_bytes: usize) -> Outcome<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(60))?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    connection.execute_batch("PRAGMA synchronous = FULL")?;
    connection.execute_batch(&format!("PRAGMA cache_size = -{}", memory_bytes >> 10))?;
    let level: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    if mode != "wal" || level != 2 {
        return Err(format!("SQLite gave journal mode {mode}, synchronous {level}").into());
    }
    Ok(connection)
}

fn write(connection: &mut Connection, sql: &str, rows: &mut dyn Iterator<Item = Row>) -> Outcome<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut statement = transaction.prepare_cached(sql)?;
        for row in rows {
            let changed = statement.execute(params![
                row.id,
                row.customer,
                row.product,
                row.price,
                row.discount,
                row.quantity,
                row.day,
                row.state,
                row.city,
                row.note
            ])?;
            if changed != 1 {
                return Err(format!("{changed} rows for key {}", row.id).into());
            }
        }
    }
    Ok(transaction.commit()?)
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        id: row.get(0)?,
        customer: row.get(1)?,
        product: row.get(2)?,
        price: row.get(3)?,
        discount: row.get(4)?,
        quantity: row.get(5)?,
        day: row.get(6)?,
        state: row.get(7)?,
        city: row.get(8)?,
        note: row.get(9)?,
    })
}

impl Engine for Sqlite {
    fn load(&self, rows: &mut dyn Iterator<Item = Row>) -> Outcome<()> {
        write(&mut self.main.lock().expect("not poisoned"), INSERT, rows)
    }

    fn settle(&self) -> Outcome<()> {
        let main = self.main.lock().expect("not poisoned");
        main.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(main.execute_batch("ANALYZE")?)
    }

    fn client(&self) -> Outcome<Box<dyn Client + '_>> {
        Ok(Box::new(Handle(connect(&self.path, self.memory_bytes)?)))
    }

    fn sums(&self) -> Outcome<(i64, i64)> {
        let main = self.main.lock().expect("not poisoned");
        Ok(main.query_row("SELECT sum(price), sum(quantity) FROM rows", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?)
    }
}

struct Handle(Connection);

impl Client for Handle {
    fn get(&mut self, id: i64) -> Outcome<Option<Row>> {
        let mut statement = self.0.prepare_cached("SELECT * FROM rows WHERE id = ?1")?;
        Ok(statement.query_row([id], read).optional()?)
    }

    fn range(&mut self, from: i64, count: usize) -> Outcome<(i64, usize)> {
        let mut statement =
            self.0.prepare_cached("SELECT price FROM rows WHERE id >= ?1 ORDER BY id LIMIT ?2")?;
        let (mut sum, mut found) = (0, 0);
        let mut rows = statement.query(params![from, count as i64])?;
        while let Some(row) = rows.next()? {
            sum += row.get::<_, i64>(0)?;
            found += 1;
        }
        Ok((sum, found))
    }

    fn insert(&mut self, rows: &[Row]) -> Outcome<()> {
        write(&mut self.0, INSERT, &mut rows.iter().cloned())
    }

    fn update(&mut self, rows: &[Row]) -> Outcome<()> {
        write(&mut self.0, UPDATE, &mut rows.iter().cloned())
    }
}
