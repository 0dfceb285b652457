//! Lists as OpenAI's clients page through them: `after` is the id of the last item of the page before.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::FieldError;
use crate::http::ApiError;

/// Which part of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct CursorQuery {
    /// The id of the last item of the page before; the list from its beginning where it is left out.
    after: Option<String>,
    /// Items on a page.
    #[param(minimum = 1)]
    limit: Option<u32>,
}

impl CursorQuery {
    /// The item to go on after, and the number of items.
    ///
    /// # Errors
    /// 400 where `after` is not an id of this list's kind, or `limit` is out of range.
    pub(in crate::http) fn read<Id: FromStr<Err: Display>>(
        &self,
        default: u32,
        most: u32,
    ) -> Result<(Option<Id>, u32), ApiError> {
        let mut errors = Vec::new();
        let after = self.after.as_ref().and_then(|after| {
            after.parse().inspect_err(|error: &Id::Err| errors.push(FieldError::new("after", error.to_string()))).ok()
        });
        let limit = self.limit.unwrap_or(default);
        if !(1..=most).contains(&limit) {
            errors.push(FieldError::new("limit", format!("{limit} is not from 1 to {most}")));
        }
        if errors.is_empty() { Ok((after, limit)) } else { Err(ApiError::invalid(errors)) }
    }
}

/// What is said of an `after` that names nothing, or nothing of this list.
pub(in crate::http) fn unknown_cursor(after: impl Display) -> ApiError {
    ApiError::invalid_field("after", format!("there is no `{after}` in this list; it may have been deleted"))
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ListBody<T> {
    /// Always `list`.
    #[schema(example = "list")]
    object: &'static str,
    /// The items.
    data: Vec<T>,
    /// True where there are items after these.
    has_more: bool,
    /// The first item's id; none where there is no item.
    first_id: Option<String>,
    /// The last item's id, to be sent as `after` for the next page; none where there is no item.
    last_id: Option<String>,
}

impl<T> ListBody<T> {
    /// A page of these items.
    pub(in crate::http) fn new(data: Vec<T>, has_more: bool, id: impl Fn(&T) -> String) -> Self {
        let (first_id, last_id) = (data.first().map(&id), data.last().map(&id));
        Self { object: "list", data, has_more, first_id, last_id }
    }
}
