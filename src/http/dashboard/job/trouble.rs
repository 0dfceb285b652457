//! Why a job failed and what to do about it; what its owner should know besides.

use maud::{Markup, html};

use super::super::parts::{Tone, notice, sentence};
use crate::domain::Job;

/// What is wrong, where something is.
pub(super) fn section(job: &Job) -> Markup {
    html! {
        @if let Some(error) = &job.error {
            (notice(Tone::Bad, &html! {
                p { strong { "The job failed: " } (sentence(&error.message)) " " span class="muted" { "(" code { (error.code) } ")" } }
                p { (advice(&error.code)) }
            }))
        }
        @for warning in &job.warnings {
            (notice(Tone::Warning, &html! { p { (sentence(warning)) } }))
        }
    }
}

/// What to do about an error of this code.
fn advice(code: &str) -> &'static str {
    match code {
        "non_finite_loss" | "non_finite_gradient" => {
            "Training ran away. Clone the job and lower learning_rate (a tenth is a good try), or set precision to float32."
        }
        "dead_gradient" => {
            "A part of the model cannot be trained as it is. Clone the job with another base model, and please report this one."
        }
        "invalid_arguments" => {
            "A setting does not fit the model or the data. Clone the job and change what the message names."
        }
        "invalid_data" => {
            "Training needs at least one whole batch, and evaluating needs evaluation rows. Upload more rows, or clone the \
             job with a smaller per_device_train_batch_size."
        }
        "missing_input" => {
            "The dataset or the model that the job needs is gone. Upload or pull it again, and clone the job with it."
        }
        "model" => {
            "The model's files cannot be read or written. Delete the model and pull it again, then resume the job."
        }
        "checkpoint" => {
            "Check that the data directory can be written and has room, then resume the job: it goes on from its last \
             checkpoint."
        }
        "disk_full" => "Free some space, then resume the job: it goes on from its last checkpoint.",
        "crashed" => {
            "The server was probably short of memory. Clone the job with a smaller per_device_train_batch_size or \
             max_seq_length, or give the server more memory and resume it."
        }
        "out_of_memory" => {
            "The GPU has too little free memory. Stop what else uses it and resume the job, clone it with a smaller \
             max_seq_length, or start the server with --device cpu."
        }
        "device" => {
            "The GPU failed, and this server may not be able to use it any more. See its log and nvidia-smi, restart the \
             server, then resume the job: it goes on from its last checkpoint."
        }
        "database" => "The server's log tells more. Check the disk of the data directory, then resume the job.",
        _ => "This is a fault of the program. The server's log tells more; resuming the job tries again.",
    }
}
