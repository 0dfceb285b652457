//! The pulls under way: a task for each model, and its progress for whoever listens.
//!
//! It stands in `http` because it joins what may not see each other below: the Hub, the model folder and the store.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use utoipa::ToSchema;

use crate::domain::{DataDir, Model, ModelId, ModelSource, ModelSummary};
use crate::hub::{HubSettings, PullProgress, PullRequest, pull};
use crate::model::{ModelError, SentenceEncoder};
use crate::store::{Store, StoreError};

use super::{ApiError, AppState};

/// Pulls that download at once; the others wait.
const MAX_DOWNLOADS: usize = 2;
/// Pulls that wait or download.
const MAX_PULLS: usize = 32;

/// What a pull tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum PullEvent {
    /// The pull waits for others, or for the Hub's first answer.
    Waiting,
    /// Bytes have come.
    Progress {
        /// The file under way.
        file: String,
        /// Bytes of the whole model on disk by now.
        done_bytes: u64,
        /// Bytes of the whole model.
        total_bytes: u64,
    },
    /// The model can be trained and embedded with; the last event.
    Ready {
        /// Bytes of the whole model.
        size_bytes: u64,
    },
    /// The model could not be pulled or is not supported; the last event.
    Failed {
        /// Why not.
        error: String,
    },
}

impl PullEvent {
    /// The event's `type` in JSON.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Progress { .. } => "progress",
            Self::Ready { .. } => "ready",
            Self::Failed { .. } => "failed",
        }
    }

    /// True where nothing follows.
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Self::Ready { .. } | Self::Failed { .. })
    }
}

/// The pulls under way; clones share them.
#[derive(Debug, Clone)]
pub struct ModelPulls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    running: Mutex<HashMap<ModelId, Running>>,
    downloads: Semaphore,
}

#[derive(Debug)]
struct Running {
    events: watch::Receiver<PullEvent>,
    task: AbortHandle,
}

impl Default for ModelPulls {
    fn default() -> Self {
        let downloads = Semaphore::new(MAX_DOWNLOADS);
        Self(Arc::new(Inner { running: Mutex::default(), downloads }))
    }
}

/// What a pull works with.
#[derive(Debug)]
struct Context {
    store: Store,
    data_dir: DataDir,
    hub: HubSettings,
}

impl ModelPulls {
    /// To be called at start, before requests are taken: goes on with the pulls that the last end cut off, and deletes
    /// files of models that no row knows.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn resume(&self, state: &AppState) -> Result<(), StoreError> {
        sweep(&state.store, &state.data_dir).await?;
        for model in state.store.fail_interrupted_pulls().await? {
            tracing::info!(model = model.name, "the pull was cut off when the server last ended; it goes on");
            state.store.set_model_pulling(model.id).await?;
            self.start(state, model);
        }
        Ok(())
    }

    /// Ends all pulls, and what listens to them; the next start goes on with them.
    pub fn shutdown(&self) {
        for (_, running) in self.running().drain() {
            running.task.abort();
        }
    }

    /// Refuses another pull where too many are under way.
    pub(super) fn check_room(&self) -> Result<(), ApiError> {
        if self.running().len() < MAX_PULLS {
            return Ok(());
        }
        Err(ApiError::too_many(format!("{MAX_PULLS} models are being pulled already; try again later"), 60))
    }

    /// Starts the pull of a model whose row says `pulling`.
    pub(super) fn start(&self, state: &AppState, model: Model) {
        let context = Context { store: state.store.clone(), data_dir: state.data_dir.clone(), hub: state.hub.clone() };
        let (id, pulls) = (model.id, self.clone());
        let (sender, events) = watch::channel(PullEvent::Waiting);
        // Locked until it is listed, so that a pull that ends at once is not listed after its end.
        let mut running = self.running();
        let task = tokio::spawn(async move {
            let ended = pulls.run(&context, &model, &sender).await;
            tracing::info!(model = model.name, event = ?ended, "the pull has ended");
            sender.send_replace(ended);
            pulls.running().remove(&id);
        });
        running.insert(id, Running { events, task: task.abort_handle() });
    }

    /// Hears a model's pull; none where none is under way.
    pub(super) fn listen(&self, id: ModelId) -> Option<watch::Receiver<PullEvent>> {
        self.running().get(&id).map(|running| running.events.clone())
    }

    /// Bytes that a model's pull has on disk; none where none is under way.
    pub(super) fn done_bytes(&self, id: ModelId) -> Option<u64> {
        self.running().get(&id).map(|running| done_bytes(&running.events.borrow()))
    }

    /// Pulls and records how that ended, which is the event returned.
    async fn run(&self, context: &Context, model: &Model, sender: &watch::Sender<PullEvent>) -> PullEvent {
        let ended = self.pull(context, model, sender).await;
        let recorded = match &ended {
            Ok((summary, size_bytes)) => context.store.set_model_ready(model.id, summary, *size_bytes).await,
            Err(error) => {
                let done_bytes = done_bytes(&sender.borrow());
                match context.store.set_model_size(model.id, done_bytes).await {
                    Ok(()) => context.store.set_model_failed(model.id, error).await,
                    Err(error) => Err(error),
                }
            }
        };
        match (recorded, ended) {
            (Ok(()), Ok((_, size_bytes))) => PullEvent::Ready { size_bytes },
            (Ok(()), Err(error)) => PullEvent::Failed { error },
            (Err(error), _) => {
                tracing::error!(model = model.name, error = %super::error::chain(&error), "the pull cannot be recorded");
                PullEvent::Failed { error: error.to_string() }
            }
        }
    }

    async fn pull(
        &self,
        context: &Context,
        model: &Model,
        sender: &watch::Sender<PullEvent>,
    ) -> Result<(ModelSummary, u64), String> {
        let ModelSource::Hub { repo, revision } = &model.source else {
            return Err("only a model of the Hub can be pulled".into());
        };
        let _download = self.0.downloads.acquire().await.map_err(|error| error.to_string())?;
        let target = context.data_dir.own_model(model.id);
        // A crash may have come after the last file and before the row.
        if !tokio::fs::try_exists(&target).await.map_err(|error| error.to_string())? {
            let request = PullRequest {
                repo: repo.clone(),
                revision: Some(revision.clone()),
                target: target.clone(),
                settings: context.hub.clone(),
            };
            let on_progress = |PullProgress { file, done_bytes, total_bytes }| {
                sender.send_replace(PullEvent::Progress { file, done_bytes, total_bytes });
            };
            pull(request, on_progress).await.map_err(|error| error.to_string())?;
        }
        let folder = target.clone();
        let inspected = tokio::task::spawn_blocking(move || inspect(&folder)).await;
        match inspected.map_err(|error| format!("the model could not be read: {error}"))? {
            Ok(found) => Ok(found),
            Err(error) => {
                // Of no use, and in the way of another try.
                remove_own(&context.data_dir, model.id).await;
                Err(error.to_string())
            }
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<ModelId, Running>> {
        // The map is whole whatever happened to another holder.
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn done_bytes(event: &PullEvent) -> u64 {
    match event {
        PullEvent::Progress { done_bytes, .. } => *done_bytes,
        PullEvent::Ready { size_bytes } => *size_bytes,
        PullEvent::Waiting | PullEvent::Failed { .. } => 0,
    }
}

/// What a model folder holds, and the size of its files.
///
/// # Errors
/// As [`SentenceEncoder::inspect`].
pub(super) fn inspect(folder: &Path) -> Result<(ModelSummary, u64), ModelError> {
    let summary = SentenceEncoder::inspect(folder)?;
    let size = size_bytes(folder).map_err(|source| ModelError::File { path: folder.to_owned(), source })?;
    Ok((summary, size))
}

fn size_bytes(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // Of the link itself where it is one: following links might never end.
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Deletes the files of a model that was pulled or uploaded, and what an unfinished pull left beside them.
pub(super) async fn remove_own(data_dir: &DataDir, id: ModelId) {
    for name in [id.to_string(), format!("{id}.tmp"), format!("{id}.lock")] {
        remove(&data_dir.models().join(name)).await;
    }
}

async fn remove(path: &Path) {
    let removed = match tokio::fs::symlink_metadata(path).await {
        Ok(metadata) if metadata.is_dir() => tokio::fs::remove_dir_all(path).await,
        Ok(_) => tokio::fs::remove_file(path).await,
        Err(error) => Err(error),
    };
    if let Err(error) = removed
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a deleted model's files stay until the next start");
    }
}

/// Deletes what is named after a model that no row knows; anything else is not ours to delete.
async fn sweep(store: &Store, data_dir: &DataDir) -> Result<(), StoreError> {
    let Ok(mut entries) = tokio::fs::read_dir(data_dir.models()).await else {
        return Ok(());
    };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.split('.').next()?.parse::<ModelId>().ok());
        let Some(id) = id else { continue };
        match store.get_model(id).await {
            Err(StoreError::NotFound { .. }) => remove(&entry.path()).await,
            known => drop(known?),
        }
    }
    Ok(())
}
