//! COPY TO.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::sql::sqlparser::ast::{CopySource, Statement as Ast};
use futures::StreamExt;
use futures::stream::BoxStream;
use strata_core::catalog::Relation;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::options::{CopyOptions, Format};
use crate::error::{SqlError, SqlResult};
use crate::io::encode::{Encoder, OutColumn};
use crate::io::file::NewFile;
use crate::io::parquet::ParquetEncoder;
use crate::postgres::types::PgType;
use crate::postgres::zone::Zone;
use crate::session::Session;
use crate::session::prepared::result_fields;
use crate::session::run::{self, Limits};
use crate::session::types::{CopyFormat, CopyOut, Outcome, ResultField};
use crate::sql::ddl::find_relation;
use crate::sql::dml::plan::{parse_one, quote};
use crate::sql::names;

/// About how many bytes go out at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks on their way.
const CHANNEL_CHUNKS: usize = 4;

/// Runs a COPY TO; one to a file is done when this returns.
pub(super) async fn copy(
    session: &mut Session,
    source: &CopySource,
    file: Option<&str>,
    options: &CopyOptions,
    limits: Limits,
) -> SqlResult<Outcome> {
    let (planner, _) = session.start_statement()?;
    let query = match source {
        CopySource::Query(query) => Ast::Query(query.clone()),
        CopySource::Table { .. } => table_query(session, planner.relations().catalog(), source)?,
    };
    let plan = planner.plan_ast(query, &[])?;
    let fields = result_fields(plan.schema());
    let writer = writer(session, options, &fields)?;
    let columns = fields.len();
    let (schema, batches) = run::run(session.engine(), Arc::new(planner), plan, limits.clone()).await?;
    let runtime = session.engine().analytical()?.clone();
    if let Some(path) = file {
        let path = path.to_owned();
        let (sender, written) = oneshot::channel();
        let task = runtime.spawn(async move {
            // Nobody waits any more if this fails.
            let _ = sender.send(to_file(&path, writer, &schema, batches).await);
        });
        let _running = Running(task.abort_handle());
        let rows = limits.race(written).await?.map_err(|_| ended())??;
        return Ok(Outcome::Command(format!("COPY {rows}")));
    }
    let (sender, chunks) = mpsc::channel(CHANNEL_CHUNKS);
    let rows = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&rows);
    let format = if matches!(writer, Writer::Text(_)) { CopyFormat::Text } else { CopyFormat::Binary };
    let task = runtime.spawn(async move {
        let last = to_client(&sender, writer, &schema, batches, &counted).await;
        // Nobody reads any more if this fails.
        let _ = sender.send(last.map(|()| None)).await;
    });
    let running = (Running(task.abort_handle()), chunks, limits);
    let data = futures::stream::unfold(Some(running), |state| async move {
        let (running, mut chunks, limits) = state?;
        let next = limits.race(chunks.recv()).await;
        match next.and_then(|next| next.ok_or_else(ended)?) {
            Ok(Some(chunk)) => Some((Ok(chunk), Some((running, chunks, limits)))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(Outcome::CopyOut(CopyOut { format, columns, data: data.boxed(), rows }))
}

/// Ends the task when it is dropped.
struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn ended() -> SqlError {
    SqlError::internal("the task that writes the data ended early")
}

/// `SELECT columns FROM table`.
fn table_query(
    session: &Session,
    catalog: &strata_core::catalog::Catalog,
    source: &CopySource,
) -> SqlResult<Ast> {
    let CopySource::Table { table_name, columns } = source else {
        return Err(SqlError::internal("COPY of a query has no table"));
    };
    if let Some((schema, relation)) = find_relation(&session.search_path(), catalog, table_name)?
        && let Some(Relation::View(_)) = catalog.relation(&schema, &relation)
    {
        return Err(SqlError::new("42809", format!("cannot copy from view \"{relation}\""))
            .with_hint("Try the COPY (SELECT ...) TO variant."));
    }
    let columns: Vec<String> = columns.iter().map(|column| quote(&names::fold(column))).collect();
    let columns = if columns.is_empty() { "*".to_owned() } else { columns.join(", ") };
    parse_one(&format!("SELECT {columns} FROM {table_name}"))
}

/// What turns batches into bytes.
enum Writer {
    Text(Encoder),
    Parquet(Arc<[ResultField]>),
}

fn writer(session: &Session, options: &CopyOptions, fields: &Arc<[ResultField]>) -> SqlResult<Writer> {
    let names: Vec<String> = fields.iter().map(|field| field.name.clone()).collect();
    options.force_quote.check("FORCE_QUOTE", &names)?;
    let Format::Text(format) = &options.format else { return Ok(Writer::Parquet(Arc::clone(fields))) };
    let columns = fields.iter().map(|field| OutColumn {
        name: field.name.clone(),
        pg_type: PgType { oid: field.type_oid, modifier: field.type_modifier },
        force_quote: options.force_quote.has(&field.name),
    });
    let zone = Zone::parse(&session.time_zone()).unwrap_or(Zone::Utc);
    Ok(Writer::Text(Encoder::new(format.clone(), columns.collect(), zone)))
}

type Batches = BoxStream<'static, SqlResult<RecordBatch>>;

/// Where the bytes go.
enum Destination<'a> {
    Client(&'a mpsc::Sender<SqlResult<Option<Bytes>>>),
    File(NewFile),
}

impl Destination<'_> {
    async fn give(&mut self, chunk: Vec<u8>) -> SqlResult<()> {
        match self {
            Self::Client(sender) => {
                let sent = sender.send(Ok(Some(Bytes::from(chunk)))).await;
                sent.map_err(|_| SqlError::new("57014", "nobody reads the data any more"))
            }
            Self::File(file) => file.write(&chunk),
        }
    }
}

async fn to_client(
    sender: &mpsc::Sender<SqlResult<Option<Bytes>>>,
    writer: Writer,
    schema: &SchemaRef,
    batches: Batches,
    counted: &AtomicU64,
) -> SqlResult<()> {
    let rows = encode(writer, schema, batches, &mut Destination::Client(sender)).await?;
    counted.store(rows, Ordering::Release);
    Ok(())
}

async fn to_file(path: &str, writer: Writer, schema: &SchemaRef, batches: Batches) -> SqlResult<u64> {
    let mut destination = Destination::File(NewFile::create(path)?);
    let rows = encode(writer, schema, batches, &mut destination).await?;
    if let Destination::File(file) = destination {
        let finished = tokio::task::spawn_blocking(move || file.finish()).await;
        finished.map_err(|_| ended())??;
    }
    Ok(rows)
}

/// Hands the bytes of all batches on, a chunk at a time; gives the number of rows.
async fn encode(
    writer: Writer,
    schema: &SchemaRef,
    mut batches: Batches,
    destination: &mut Destination<'_>,
) -> SqlResult<u64> {
    let mut rows = 0u64;
    match writer {
        Writer::Text(encoder) => {
            let mut out = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4);
            encoder.header(&mut out);
            while let Some(batch) = batches.next().await {
                let batch = batch?;
                let values = encoder.prepare(&batch)?;
                let mut next = 0;
                while next < batch.num_rows() {
                    next = encoder.rows(&values, next..batch.num_rows(), CHUNK_BYTES, &mut out);
                    if out.len() >= CHUNK_BYTES {
                        let full =
                            std::mem::replace(&mut out, Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4));
                        destination.give(full).await?;
                    }
                }
                rows += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
            }
            if !out.is_empty() {
                destination.give(out).await?;
            }
        }
        Writer::Parquet(fields) => {
            let mut encoder = ParquetEncoder::new(&fields, schema)?;
            while let Some(batch) = batches.next().await {
                let batch = batch?;
                encoder.write(&batch)?;
                rows += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
                if encoder.ready() >= CHUNK_BYTES {
                    destination.give(encoder.take()).await?;
                }
            }
            destination.give(encoder.finish()?).await?;
        }
    }
    Ok(rows)
}
