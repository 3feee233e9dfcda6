//! The servers for comparison: a handler that writes one row and responds when it is on disk, and one
//! that does nothing.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::Outcome;

const ANSWER: &str = "{\"phase\":\"accepted\"}";

type Row = (String, oneshot::Sender<()>);
type Rows = mpsc::Sender<Row>;

/// Commits all queued rows together with a synced log, like the store.
pub(crate) fn router(file: &Path) -> Outcome<Router> {
    let connection = Connection::open(file)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch("CREATE TABLE rows (id INTEGER PRIMARY KEY, body TEXT) STRICT")?;
    let (rows, queue) = mpsc::channel(1024);
    std::thread::spawn(move || write(&connection, queue).expect("rows are written"));
    Ok(Router::new()
        .route("/v1/deployments", post(handle))
        .with_state(Arc::new(rows)))
}

/// Returns the same response without a write.
pub(crate) fn idle() -> Router {
    Router::new().route("/v1/deployments", post(answer))
}

async fn answer(_: String) -> (StatusCode, &'static str) {
    (StatusCode::ACCEPTED, ANSWER)
}

async fn handle(State(rows): State<Arc<Rows>>, body: String) -> (StatusCode, &'static str) {
    let (written, answer) = oneshot::channel();
    rows.send((body, written))
        .await
        .expect("the thread goes on");
    answer.await.expect("the row is written");
    (StatusCode::ACCEPTED, ANSWER)
}

fn write(connection: &Connection, mut queue: mpsc::Receiver<Row>) -> rusqlite::Result<()> {
    let mut group = Vec::new();
    while queue.blocking_recv_many(&mut group, 256) > 0 {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for (body, _) in &group {
            connection
                .prepare_cached("INSERT INTO rows (body) VALUES (?1)")?
                .execute([body])?;
        }
        connection.execute_batch("COMMIT")?;
        for (_, written) in group.drain(..) {
            let _ = written.send(());
        }
    }
    Ok(())
}
