//! The training run: loss, optimizer, schedule, loop, checkpoints. Synchronous; its only outputs are the sink and the
//! checkpoints' folder.

mod error;
pub mod losses;
pub mod optimizer;
mod run;
mod scheduler;
mod sink;

pub use error::TrainError;
pub use run::{StepLog, TrainReport, TrainRequest, run};
pub use scheduler::LrSchedule;
pub use sink::TrainSink;
