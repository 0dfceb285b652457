//! Model folders and tokenizers.

mod gradients;
mod oracle;
mod token_ids;
