//! COPY FROM.

use std::io::Read;
use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::sql::sqlparser::ast::CopySource;
use strata_core::row::Column;
use strata_core::table::{BulkWriter, MIN_BULK_ROWS, SealedLoad};
use strata_core::txn::TableLockMode;
use tokio::sync::{mpsc, oneshot};

use super::options::{CopyOptions, Format};
use super::target;
use crate::error::{SqlError, SqlResult};
use crate::io::file::file_error;
use crate::io::load::{LoadError, LoadPlan};
use crate::io::reader::TextReader;
use crate::io::rows::FieldColumn;
use crate::session::Session;
use crate::session::run::Limits;
use crate::session::types::{CopyFormat, Outcome};

/// Bytes that are gathered before they go to the loading thread.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;
/// Chunks on their way to it.
const CHANNEL_CHUNKS: usize = 4;

/// What the loading thread comes to.
type Loaded = Result<SealedLoad, LoadError>;

/// What goes to the loading thread. A channel that closes without [`End`](Self::End) belonged to a COPY that was given
/// up.
enum Chunk {
    Data(Vec<u8>),
    End,
}

/// A COPY FROM STDIN in progress.
pub(crate) struct CopyIn {
    plan: Arc<LoadPlan>,
    limits: Limits,
    buffer: Vec<u8>,
    state: State,
}

enum State {
    /// All data so far is in the buffer.
    Gathering(Box<TextReader>),
    Loading(Worker),
}

/// The loading thread.
struct Worker {
    chunks: mpsc::Sender<Chunk>,
    loaded: oneshot::Receiver<Loaded>,
}

/// Begins a COPY FROM; one from a file is done when this returns.
pub(super) async fn copy(
    session: &mut Session,
    source: &CopySource,
    file: Option<&str>,
    options: CopyOptions,
    limits: Limits,
) -> SqlResult<Outcome> {
    let CopySource::Table { table_name, columns } = source else {
        return Err(SqlError::syntax("COPY FROM needs a table"));
    };
    let table = target::lock(session, table_name, &limits).await?;
    let columns = target::columns(&table, columns)?;
    let plan = Arc::new(target::plan(session, &table, &columns)?);
    let fields = field_columns(&options, &columns)?;
    let count = columns.len();
    let format = match options.format {
        Format::Text(format) => format,
        Format::Parquet => {
            let Some(file) = file else {
                return Err(SqlError::unsupported("COPY FROM STDIN in PARQUET format is not supported")
                    .with_hint("Copy from a file that the server can read."));
            };
            let path = file.to_owned();
            let reader_plan = Arc::clone(&plan);
            return load_file(session, &plan, limits, move |sink| {
                crate::io::parquet::read(&path, &columns, &reader_plan, sink)
            })
            .await;
        }
    };
    let mut reader = TextReader::new(format, fields, Arc::clone(&plan));
    let Some(file) = file else {
        let state = State::Gathering(Box::new(reader));
        session.begin_copy(CopyIn { plan, limits, buffer: Vec::new(), state });
        return Ok(Outcome::CopyIn { format: CopyFormat::Text, columns: count });
    };
    let path = file.to_owned();
    load_file(session, &plan, limits, move |sink| read_file(&path, &mut reader, sink)).await
}

fn field_columns(options: &CopyOptions, columns: &[Column]) -> SqlResult<Vec<FieldColumn>> {
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    options.force_null.check("FORCE_NULL", &names)?;
    options.force_not_null.check("FORCE_NOT_NULL", &names)?;
    let column = |name: String| FieldColumn {
        force_null: options.force_null.has(&name),
        force_not_null: options.force_not_null.has(&name),
        name,
    };
    Ok(names.into_iter().map(column).collect())
}

/// Where batches go.
type Sink<'a> = &'a mut dyn FnMut(RecordBatch) -> Result<(), LoadError>;

fn read_file(path: &str, reader: &mut TextReader, sink: Sink<'_>) -> Result<(), LoadError> {
    let failed = |doing: &str, error: &std::io::Error| file_error(doing, path, error);
    let mut file = std::fs::File::open(path).map_err(|error| failed("open", &error))?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk).map_err(|error| failed("read", &error))? {
            0 => return reader.finish(&mut |batch| sink(batch)),
            length => reader.push(chunk.get(..length).unwrap_or_default(), &mut |batch| sink(batch))?,
        }
    }
}

/// Loads what `read` gives, on a thread that may wait.
async fn load_file(
    session: &mut Session,
    plan: &Arc<LoadPlan>,
    limits: Limits,
    read: impl FnOnce(Sink<'_>) -> Result<(), LoadError> + Send + 'static,
) -> SqlResult<Outcome> {
    let mut writer = begin_load(session, plan, &limits).await?;
    let (sender, loaded) = oneshot::channel();
    session.engine().analytical()?.spawn_blocking(move || {
        let mut sink = |batch: RecordBatch| {
            if sender.is_closed() {
                return Err(given_up().into());
            }
            Ok(writer.append(&batch)?)
        };
        let result = read(&mut sink).and_then(|()| Ok(writer.seal()?));
        // Nobody waits any more if this fails.
        let _ = sender.send(result);
    });
    let rows = adopt(session, loaded, &limits).await?;
    Ok(Outcome::Command(format!("COPY {rows}")))
}

fn given_up() -> SqlError {
    SqlError::new("57014", "COPY was given up")
}

/// Locks the table as an INSERT does.
async fn begin_load(session: &mut Session, plan: &LoadPlan, limits: &Limits) -> SqlResult<BulkWriter> {
    let txn = session.write_transaction("COPY FROM")?;
    Ok(limits.race(txn.bulk_writer(plan.table.id)).await??)
}

/// Waits for the loading thread and makes its rows part of the transaction.
async fn adopt(session: &mut Session, loaded: oneshot::Receiver<Loaded>, limits: &Limits) -> SqlResult<u64> {
    let loaded = limits
        .race(loaded)
        .await?
        .map_err(|_| SqlError::internal("the loading thread ended without an answer"))?;
    let txn = session.write_transaction("COPY FROM")?;
    let adopted = match loaded {
        Ok(load) => limits.race(load.adopt(txn)).await?.map_err(LoadError::from),
        Err(error) => Err(error),
    };
    adopted.map_err(|error| named(session, error))
}

/// An error with the names that the catalog knows.
fn named(session: &mut Session, error: LoadError) -> SqlError {
    match error {
        LoadError::Sql(error) => error,
        LoadError::Engine(error) => {
            let catalog = strata_core::catalog::Catalog::default();
            session.engine_error(error, &catalog)
        }
    }
}

impl CopyIn {
    /// Takes a chunk of data, cut anywhere.
    pub(crate) async fn push(&mut self, session: &mut Session, data: &[u8]) -> SqlResult<()> {
        self.buffer.extend_from_slice(data);
        if self.buffer.len() < CHUNK_BYTES {
            return Ok(());
        }
        if matches!(self.state, State::Gathering(_)) {
            self.start(session).await?;
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES));
        self.send(session, Chunk::Data(chunk)).await
    }

    /// The data is complete; gives the number of rows.
    pub(crate) async fn finish(mut self, session: &mut Session) -> SqlResult<u64> {
        if let State::Gathering(reader) = self.state {
            return insert(session, &self.plan, *reader, &self.buffer, &self.limits).await;
        }
        let chunk = std::mem::take(&mut self.buffer);
        self.send(session, Chunk::Data(chunk)).await?;
        self.send(session, Chunk::End).await?;
        match self.state {
            State::Loading(worker) => adopt(session, worker.loaded, &self.limits).await,
            State::Gathering(_) => Err(SqlError::internal("the loading thread was not started")),
        }
    }

    /// Starts the loading thread.
    async fn start(&mut self, session: &mut Session) -> SqlResult<()> {
        let writer = begin_load(session, &self.plan, &self.limits).await?;
        let (chunks, received) = mpsc::channel(CHANNEL_CHUNKS);
        let (sender, loaded) = oneshot::channel();
        let worker = State::Loading(Worker { chunks, loaded });
        if let State::Gathering(reader) = std::mem::replace(&mut self.state, worker) {
            session.engine().analytical()?.spawn_blocking(move || {
                // Nobody waits any more if this fails.
                let _ = sender.send(load(*reader, writer, received));
            });
        }
        Ok(())
    }

    async fn send(&mut self, session: &mut Session, chunk: Chunk) -> SqlResult<()> {
        let State::Loading(worker) = &mut self.state else {
            return Err(SqlError::internal("the loading thread was not started"));
        };
        if self.limits.race(worker.chunks.send(chunk)).await?.is_ok() {
            return Ok(());
        }
        // The thread has ended early: it says why.
        match self.limits.race(&mut worker.loaded).await? {
            Ok(Err(error)) => Err(named(session, error)),
            Ok(Ok(_)) | Err(_) => Err(SqlError::internal("the loading thread ended without an answer")),
        }
    }
}

/// The loading thread.
fn load(mut reader: TextReader, mut writer: BulkWriter, mut chunks: mpsc::Receiver<Chunk>) -> Loaded {
    let mut sink = |batch: RecordBatch| Ok::<_, LoadError>(writer.append(&batch)?);
    loop {
        match chunks.blocking_recv() {
            Some(Chunk::Data(chunk)) => reader.push(&chunk, &mut sink)?,
            Some(Chunk::End) => break,
            None => return Err(given_up().into()),
        }
    }
    reader.finish(&mut sink)?;
    Ok(writer.seal()?)
}

/// Reads and inserts a COPY that is no longer than a chunk.
async fn insert(
    session: &mut Session,
    plan: &Arc<LoadPlan>,
    mut reader: TextReader,
    data: &[u8],
    limits: &Limits,
) -> SqlResult<u64> {
    let mut batches = Vec::new();
    let mut sink = |batch: RecordBatch| {
        batches.push(batch);
        Ok::<_, SqlError>(())
    };
    reader.push(data, &mut sink)?;
    reader.finish(&mut sink)?;
    let rows = reader.total();
    if usize::try_from(rows).unwrap_or(usize::MAX) >= MIN_BULK_ROWS {
        let mut writer = begin_load(session, plan, limits).await?;
        let (sender, loaded) = oneshot::channel();
        session.engine().analytical()?.spawn_blocking(move || {
            let appended = batches.iter().try_for_each(|batch| writer.append(batch));
            // Nobody waits any more if this fails.
            let _ = sender.send(appended.and_then(|()| writer.seal()).map_err(LoadError::from));
        });
        return adopt(session, loaded, limits).await;
    }
    let txn = session.write_transaction("COPY FROM")?;
    limits.race(txn.lock_table(plan.table.id, TableLockMode::RowExclusive)).await??;
    let catalog = txn.newest_catalog();
    let table = catalog.table(plan.table.id)?;
    for batch in &batches {
        let inserted = limits.race(txn.insert_batch(table, batch)).await?;
        if let Err(error) = inserted {
            return Err(named(session, error.into()));
        }
    }
    Ok(rows)
}
