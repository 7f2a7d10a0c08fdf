//! Running a plan on the analytical runtime.
//!
//! DataFusion is planned, executed and polled there; its batches cross a channel of [`CHANNEL_BATCHES`] to whoever
//! sends the rows, which is the backpressure. Dropping the stream, cancelling the statement, or its timeout aborts
//! the task.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::Session as _;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::abandon::{Abandoned, stoppable};
use super::cancel::CancelHandle;
use super::engine::Engine;
use crate::error::{SqlError, SqlResult};
use crate::sql::plan::Planner;

/// Batches on their way from the analytical runtime.
const CHANNEL_BATCHES: usize = 2;

/// What a statement may not outlive.
#[derive(Clone)]
pub(crate) struct Limits {
    pub(crate) cancel: CancelHandle,
    pub(crate) deadline: Option<Instant>,
}

impl Limits {
    /// Limits of a statement that starts now; a zero timeout is none.
    pub(crate) fn starting_now(cancel: CancelHandle, timeout: Duration) -> Self {
        Self { cancel, deadline: (!timeout.is_zero()).then(|| Instant::now() + timeout) }
    }

    /// Waits for `future`, but no longer than the limits allow.
    pub(crate) async fn race<T>(&self, future: impl Future<Output = T>) -> SqlResult<T> {
        let timeout = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(CancelHandle::error()),
            () = timeout => Err(SqlError::new("57014", "canceling statement due to statement timeout")),
            value = future => Ok(value),
        }
    }
}

/// What crosses the channel. One that closes without [`End`](Self::End) or [`Failed`](Self::Failed) belonged to a
/// task that panicked: its rows are not all there.
enum Message {
    Batch(RecordBatch),
    Failed(SqlError),
    End,
}

/// Ends the task with the stream.
struct Running {
    task: AbortHandle,
    abandoned: Abandoned,
    batches: mpsc::Receiver<Message>,
    limits: Limits,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.abandoned.set();
        self.task.abort();
    }
}

/// Plans and starts; the answer is there once the plan runs.
pub(crate) async fn run(
    engine: &Engine,
    planner: Arc<Planner>,
    plan: LogicalPlan,
    limits: Limits,
) -> SqlResult<(SchemaRef, BoxStream<'static, SqlResult<RecordBatch>>)> {
    let (started, start) = oneshot::channel();
    let (sender, batches) = mpsc::channel(CHANNEL_BATCHES);
    let stop = Abandoned::default();
    let abandoned = stop.clone();
    let task = engine.analytical()?.spawn(async move {
        let stream = async {
            let physical = stoppable(planner.create_physical_plan(&plan).await?, &abandoned)?;
            let schema = physical.schema();
            Ok::<_, SqlError>((schema, execute_stream(physical, planner.task_ctx())?))
        };
        let mut stream = match stream.await {
            Ok((schema, stream)) => {
                if started.send(Ok(schema)).is_err() {
                    return;
                }
                stream
            }
            Err(error) => {
                // Nobody waits any more if this fails.
                let _ = started.send(Err(error));
                return;
            }
        };
        loop {
            let (message, last) = match stream.next().await {
                Some(Ok(batch)) => (Message::Batch(batch), false),
                Some(Err(error)) => (Message::Failed(error.into()), true),
                None => (Message::End, true),
            };
            // Nobody reads any more if this fails.
            if sender.send(message).await.is_err() || last {
                return;
            }
        }
    });
    let running = Running { task: task.abort_handle(), abandoned: stop, batches, limits: limits.clone() };
    let schema = limits
        .race(start)
        .await?
        .map_err(|_| SqlError::internal("the query's task ended without an answer"))??;
    let stream = futures::stream::unfold(Some(running), |running| async move {
        let mut running = running?;
        let limits = running.limits.clone();
        match limits.race(running.batches.recv()).await {
            Ok(Some(Message::Batch(batch))) => Some((Ok(batch), Some(running))),
            Ok(Some(Message::Failed(error))) | Err(error) => Some((Err(error), None)),
            Ok(Some(Message::End)) => None,
            Ok(None) => Some((Err(SqlError::internal("the query's task ended early")), None)),
        }
    });
    Ok((schema, stream.fuse().boxed()))
}
