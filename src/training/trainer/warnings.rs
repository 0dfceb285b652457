//! What the data makes of the arguments, where its owner should know.

use crate::data::sampler::PairSampler;
use crate::training::LrSchedule;

/// Micro-batches of one pair teach nothing.
pub(super) fn single_pairs(sampler: &PairSampler) -> Option<String> {
    let batches = sampler.epoch(1);
    let single = batches.iter().filter(|batch| batch.len() == 1).count();
    (single > 1).then(|| {
        format!(
            "{single} of {} micro-batches hold a single pair, because the same texts stand in many rows; such a pair has no \
             negatives and teaches nothing",
            batches.len()
        )
    })
}

/// A warm-up may take all steps there are.
pub(super) fn no_rate(schedule: &LrSchedule) -> Option<String> {
    (0..schedule.total_steps).all(|step| schedule.at(step) <= 0.0).then(|| {
        format!(
            "the learning rate is 0 in all of the {} optimizer steps, since the warm-up takes them all; fewer \
             gradient_accumulation_steps or more epochs make more steps",
            schedule.total_steps
        )
    })
}
