//! Model folders and tokenizers.

mod token_ids;
