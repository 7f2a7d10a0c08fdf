//! What the server shows, held against what clients were told.

use tokio_postgres::{Client, Config};

use super::model::{ClientModel, Pair, client_of};
use super::operation::PAIR_IDS;
use super::{CrashResult, connect};

const TABLES: [&str; 9] = [
    "CREATE TABLE counter (id int PRIMARY KEY, value bigint NOT NULL)",
    "INSERT INTO counter VALUES (1, 0)",
    "CREATE TABLE steps (client int, step bigint, PRIMARY KEY (client, step))",
    "CREATE TABLE left_pairs (id bigint PRIMARY KEY, tag bigint NOT NULL, version bigint NOT NULL, payload text)",
    "CREATE INDEX left_pairs_tag ON left_pairs (tag)",
    "CREATE TABLE right_pairs (id bigint PRIMARY KEY, tag bigint NOT NULL, version bigint NOT NULL, amount numeric(12,2))",
    "CREATE TABLE bulk (id bigint PRIMARY KEY, tag bigint NOT NULL, kind text)",
    "CREATE TABLE bulk_tags (tag bigint PRIMARY KEY, size bigint NOT NULL)",
    "CREATE INDEX bulk_tag ON bulk (tag)",
];

/// Makes the tables.
pub(super) async fn prepare(config: &Config) -> CrashResult<()> {
    let client = connect(config).await?;
    for sql in TABLES {
        client.batch_execute(sql).await.map_err(|error| failed(sql, &error))?;
    }
    Ok(())
}

/// Compares, and settles what was in doubt. Gives the number of such commits that are there.
pub(super) async fn verify(config: &Config, models: &mut [ClientModel]) -> CrashResult<u64> {
    let client = connect(config).await?;
    let stored = read(&client, models.len()).await?;
    let mut kept = 0;
    for (model, stored) in models.iter_mut().zip(&stored) {
        let (without, with) = model.possible();
        if without.same_rows(stored) {
            *model = without;
        } else if let Some(with) = with.filter(|with| with.same_rows(stored)) {
            *model = with;
            kept += 1;
        } else {
            let doubt =
                model.in_doubt.map_or(String::new(), |operation| format!(" ({operation:?} in doubt)"));
            return Err(format!("{}{doubt}", without.difference(stored)));
        }
    }
    check_counter(&client, models).await?;
    check_indexes(&client, models).await?;
    Ok(kept)
}

/// The models that what is stored amounts to.
async fn read(client: &Client, clients: usize) -> CrashResult<Vec<ClientModel>> {
    let mut stored: Vec<ClientModel> = (0..clients).map(|client| ClientModel::new(client as u64)).collect();
    let mut right = Vec::new();
    for table in ["left_pairs", "right_pairs"] {
        let sql = format!(
            "SELECT tag, count(*), min(version), max(version) FROM {table} GROUP BY tag ORDER BY tag"
        );
        let mut pairs = Vec::new();
        for [tag, rows, least, greatest] in numbers(client, &sql).await? {
            if least != greatest {
                return Err(format!("{table}: tag {tag} has rows of versions {least} and {greatest}"));
            }
            pairs.push((tag, Pair { rows, version: least }));
        }
        if table == "left_pairs" {
            right = pairs;
        } else if let Some((one, other)) = right.iter().zip(&pairs).find(|(one, other)| one != other) {
            return Err(format!("a transaction is there in part: left {one:?}, right {other:?}"));
        } else if right.len() != pairs.len() {
            return Err(format!(
                "a transaction is there in part: {} tags left, {} right",
                right.len(),
                pairs.len()
            ));
        }
    }
    for (tag, pair) in right {
        owner(&mut stored, tag)?.pairs.insert(tag, pair);
    }
    let told = numbers(client, "SELECT tag, size FROM bulk_tags ORDER BY tag").await?;
    let found = numbers(client, "SELECT tag, count(*) FROM bulk GROUP BY tag ORDER BY tag").await?;
    if told != found {
        let different = told.iter().chain(&found).find(|tag| !(told.contains(tag) && found.contains(tag)));
        return Err(format!("a bulk load is there in part: tag and rows {different:?}"));
    }
    for [tag, rows] in found {
        owner(&mut stored, tag)?.bulk.insert(tag, rows);
    }
    for [number, count, last] in
        numbers(client, "SELECT client::bigint, count(*), max(step) FROM steps GROUP BY client").await?
    {
        if count != last {
            return Err(format!("client {number}: {count} steps, the last numbered {last}"));
        }
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        stored.get_mut(index).ok_or_else(|| format!("steps of client {number}, who does not exist"))?.steps =
            count;
    }
    Ok(stored)
}

fn owner(stored: &mut [ClientModel], tag: u64) -> CrashResult<&mut ClientModel> {
    client_of(tag).and_then(|client| stored.get_mut(client)).ok_or_else(|| format!("tag {tag} is nobody's"))
}

async fn check_counter(client: &Client, models: &[ClientModel]) -> CrashResult<()> {
    let steps: u64 = models.iter().map(|model| model.steps).sum();
    let counter = numbers(client, "SELECT value FROM counter WHERE id = 1").await?;
    if counter != [[steps]] {
        return Err(format!("the counter is {counter:?} after {steps} steps"));
    }
    Ok(())
}

/// Looks some of each client's rows up through the primary key and through the secondary index.
async fn check_indexes(client: &Client, models: &[ClientModel]) -> CrashResult<()> {
    for model in models {
        let newest = model.pairs.iter().rev().take(3);
        for (tag, pair) in newest.chain(model.pairs.iter().take(3)) {
            let by_tag = format!("SELECT count(*) FROM left_pairs WHERE tag = {tag}");
            let by_key =
                format!("SELECT count(*) FROM right_pairs WHERE id = {}", tag * PAIR_IDS + pair.rows);
            let past =
                format!("SELECT count(*) FROM right_pairs WHERE id = {}", tag * PAIR_IDS + pair.rows + 1);
            for (sql, expected) in [(by_tag, pair.rows), (by_key, 1), (past, 0)] {
                let found = numbers(client, &sql).await?;
                if found != [[expected]] {
                    return Err(format!("{sql}: {found:?}, not {expected}"));
                }
            }
        }
    }
    Ok(())
}

/// The rows of a query whose columns are all bigint and not negative.
async fn numbers<const COLUMNS: usize>(client: &Client, sql: &str) -> CrashResult<Vec<[u64; COLUMNS]>> {
    let rows = client.query(sql, &[]).await.map_err(|error| failed(sql, &error))?;
    let number = |row: &tokio_postgres::Row, column: usize| {
        let value: i64 = row.try_get(column).map_err(|error| failed(sql, &error))?;
        u64::try_from(value).map_err(|_| format!("{sql}: {value}"))
    };
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut cells = [0; COLUMNS];
        for (column, cell) in cells.iter_mut().enumerate() {
            *cell = number(row, column)?;
        }
        found.push(cells);
    }
    Ok(found)
}

fn failed(sql: &str, error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(answer) => format!("{sql}: {} {}", answer.code().code(), answer.message()),
        None => format!("{sql}: {error}"),
    }
}
