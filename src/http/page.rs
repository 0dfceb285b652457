//! Lists come in pages, newest first; all of them are asked for and answered in the same way.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::FieldError;
use crate::store::Page;

use super::ApiError;

const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 100;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// `next_cursor` of the page before; the first page where it is left out.
    #[param(value_type = Option<uuid::Uuid>)]
    cursor: Option<String>,
    /// Items on a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

impl PageQuery {
    /// The id to go on after, and the number of items.
    ///
    /// # Errors
    /// 422 where the cursor is not an id of this list or the limit is out of range.
    pub(super) fn read<Id: FromStr<Err: Display>>(&self) -> Result<(Option<Id>, u32), ApiError> {
        let mut errors = Vec::new();
        let after = self.cursor.as_ref().and_then(|cursor| {
            cursor.parse().inspect_err(|error: &Id::Err| errors.push(FieldError::new("cursor", error.to_string()))).ok()
        });
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            errors.push(FieldError::new("limit", format!("{limit} is not from 1 to {MAX_LIMIT}")));
        }
        if errors.is_empty() { Ok((after, limit)) } else { Err(ApiError::invalid(errors)) }
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PageBody<T> {
    /// The items, newest first.
    data: Vec<T>,
    /// Asks for the next page; none on the last.
    next_cursor: Option<String>,
}

impl<T> From<Page<T>> for PageBody<T> {
    fn from(page: Page<T>) -> Self {
        Self { data: page.items, next_cursor: page.next_cursor }
    }
}
