//! The training run: loss, optimizer, schedule, loop, checkpoints. Synchronous; its only outputs are the sink and the
//! checkpoints' folder.

mod checkpointer;
pub mod engine;
mod error;
mod gradients;
pub mod losses;
pub mod micro_batch;
mod model_card;
pub mod optimizer;
pub mod profile;
mod retention;
mod run;
mod scheduler;
mod setup;
mod sink;
mod step_meter;
mod texts;
mod trainer;
mod trainer_state;
mod windows;

pub use error::TrainError;
pub use run::{StepLog, TrainReport, TrainRequest, run};
pub use scheduler::LrSchedule;
pub use sink::{RunStart, TrainSink};
