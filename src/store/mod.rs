//! Facts in SQLite: the only module that writes SQL.
//!
//! Queries are checked when they run, and every function is tested on a freshly migrated file. A status change and the
//! event that tells of it are one transaction, as are a training event and the facts that it brings (metrics rows,
//! checkpoint rows, progress), so that replaying events and reading tables never disagree. No transaction outlives the
//! function that began it.

mod aliases;
mod checkpoints;
mod datasets;
mod error;
mod events;
mod figures;
mod jobs;
mod metrics;
mod models;
mod queue;
mod recovery;
mod rows;
mod token_lengths;
mod webhooks;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlitePool};

pub use aliases::MoveAlias;
pub use checkpoints::ServableCheckpoint;
pub use error::StoreError;
pub use jobs::{JobFilter, MetadataFilter, StatusChange};
pub use queue::{JobOutcome, PeakBytes};
pub use recovery::MAX_CRASHES;
pub use webhooks::{DeliveryAttempt, DueDelivery};

/// The database; clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
    /// Whether a delivery to the server's own webhook is made of each job's end.
    tells_server: bool,
}

/// How a database is opened.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    /// The database's largest size; writes beyond it fail with [`StoreError::Full`]. None leaves it to the disk.
    pub max_size_bytes: Option<u64>,
    /// Whether the server has a webhook of its own, which hears of each job's end.
    pub server_webhook: bool,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The id to ask for the next page after, where there is one.
    pub next_cursor: Option<String>,
}

/// The order of a list, by the time at which its items were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListOrder {
    /// The newest first.
    #[default]
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

/// SQLite's page size, set before the first table is made.
const PAGE_SIZE: u32 = 4096;
/// How long a writer waits for another one. Writes take milliseconds, so this long means that something is wrong.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Readers run beside the one writer; more connections than this only take memory.
const MAX_CONNECTIONS: u32 = 8;

impl Store {
    /// Opens the file, makes it where there is none, and runs the migrations that it lacks.
    ///
    /// # Errors
    /// Where the file cannot be opened or is not a database of ours.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, &StoreOptions::default()).await
    }

    /// Opens the file under the given options.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let mut connect = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .page_size(PAGE_SIZE)
            .journal_mode(SqliteJournalMode::Wal)
            // In WAL mode this loses no consistency in a power cut, at worst the last commits; files carry the weights.
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        if let Some(bytes) = options.max_size_bytes {
            connect = connect.pragma("max_page_count", (bytes / u64::from(PAGE_SIZE)).max(1).to_string());
        }
        let pool = SqlitePoolOptions::new().max_connections(MAX_CONNECTIONS).after_release(|connection, _| {
            Box::pin(async move {
                // Where the disk is full, SQLite rolls back by itself; sqlx's own roll-back then fails, and sqlx believes
                // for ever that a transaction is open. The ping makes sure that the roll-back has been tried.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        });
        migrate(&connect).await?;
        Ok(Self { pool: pool.connect_with(connect).await?, tells_server: options.server_webhook })
    }

    /// Asks the database something trivial.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("select 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Closes all connections, after which the write-ahead log is folded into the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Runs the migrations that the file lacks, each in a transaction, on a connection that does not heed foreign keys: a table
/// that is made anew must be dropped, which would otherwise delete all rows that refer to it, and within a transaction
/// nothing can switch that off.
async fn migrate(connect: &SqliteConnectOptions) -> Result<(), StoreError> {
    let mut connection = connect.clone().foreign_keys(false).connect().await?;
    sqlx::migrate!().run(&mut connection).await.map_err(sqlx::Error::from)?;
    connection.close().await?;
    Ok(())
}
