//! Rows of named fields (JSON, JSON Lines), whose columns show only as rows come in.

use std::collections::HashSet;

use crate::data::columns::ColumnIndices;
use crate::data::error::DatasetError;
use crate::domain::ColumnMapping;

use super::json_value::{JsonCell, JsonRow, kind};
use super::rows::{Cell, Rows};
use super::{ReadContext, Table, too_many_columns};

/// The columns are decided by the fields of the first rows, as many as fit these two bounds: one row alone may lack a
/// field by mistake, and the mistake is to be reported as that row's.
const DECIDING_ROWS: usize = 100;
const DECIDING_BYTES: usize = 8 << 20;

/// A row held back until the columns are decided.
enum Pending {
    Fields(u64, Vec<(String, JsonCell)>),
    Bad(u64, String),
}

/// Collects objects as rows.
pub(super) struct ObjectRows<'c> {
    context: &'c ReadContext<'c>,
    rows: Rows<'c>,
    header: Vec<String>,
    known: HashSet<String>,
    columns: Option<Names>,
    pending: Vec<Pending>,
    pending_bytes: usize,
    /// True once there was an object, be it without fields: the columns can then be decided.
    any_object: bool,
}

/// The columns' names; ids may have none.
struct Names {
    anchor: String,
    positive: String,
    id: Option<String>,
}

impl<'c> ObjectRows<'c> {
    pub(super) fn new(context: &'c ReadContext<'c>) -> Self {
        Self {
            context,
            rows: Rows::new(context.limits, context.row_id_prefix),
            header: Vec::new(),
            known: HashSet::new(),
            columns: None,
            pending: Vec::new(),
            pending_bytes: 0,
            any_object: false,
        }
    }

    /// Adds what stands at `line`.
    pub(super) fn push(&mut self, line: u64, row: JsonRow) -> Result<(), DatasetError> {
        let fields = match row {
            JsonRow::Fields(fields) => fields,
            JsonRow::Other(cell) => return self.reject(line, format!("{}; an object is expected", kind(&cell))),
        };
        self.any_object = true;
        for (name, _) in &fields {
            if !self.known.contains(name) {
                if self.header.len() == self.context.limits.max_columns {
                    return Err(too_many_columns(self.context.limits));
                }
                self.known.insert(name.clone());
                self.header.push(name.clone());
            }
        }
        if self.columns.is_some() {
            return self.judge(line, fields);
        }
        self.pending_bytes += fields.iter().map(|(name, cell)| name.len() + cell_bytes(cell)).sum::<usize>();
        self.pending.push(Pending::Fields(line, fields));
        if self.pending.len() >= DECIDING_ROWS || self.pending_bytes >= DECIDING_BYTES {
            self.decide()?;
        }
        Ok(())
    }

    /// Adds a row that could not be read.
    pub(super) fn reject(&mut self, line: u64, message: String) -> Result<(), DatasetError> {
        if self.columns.is_some() {
            return self.rows.reject(line, message);
        }
        self.pending.push(Pending::Bad(line, message));
        match self.pending.len() >= DECIDING_ROWS {
            true if self.any_object => self.decide(),
            // No object yet, so that there are no columns to wait for.
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// All rows, checked.
    pub(super) fn finish(mut self) -> Result<Table, DatasetError> {
        if self.columns.is_none() && self.any_object {
            self.decide()?;
        }
        self.flush()?;
        let pairs = self.rows.finish()?;
        let names = self.columns.ok_or(DatasetError::Empty)?;
        let used = [Some(&names.anchor), Some(&names.positive), names.id.as_ref()];
        let ignored_columns = self.header.iter().filter(|name| !used.contains(&Some(name))).cloned().collect();
        let mapping =
            ColumnMapping { anchor: Some(names.anchor.clone()), positive: Some(names.positive.clone()), id: names.id };
        Ok(Table { pairs, mapping, ignored_columns })
    }

    fn decide(&mut self) -> Result<(), DatasetError> {
        let columns = ColumnIndices::find(self.context.mapping, &self.header)?;
        self.rows.set_columns(columns.mapping(&self.header));
        self.columns = Some(Names {
            anchor: self.header[columns.anchor].clone(),
            positive: self.header[columns.positive].clone(),
            id: columns.id.map(|index| self.header[index].clone()),
        });
        self.flush()
    }

    fn flush(&mut self) -> Result<(), DatasetError> {
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Fields(line, fields) => self.judge(line, fields)?,
                Pending::Bad(line, message) => self.rows.reject(line, message)?,
            }
        }
        Ok(())
    }

    fn judge(&mut self, line: u64, mut fields: Vec<(String, JsonCell)>) -> Result<(), DatasetError> {
        let names = self.columns.as_ref().expect("rows are judged once the columns are decided");
        let wanted = [Some(&names.anchor), Some(&names.positive), names.id.as_ref()];
        for name in wanted.into_iter().flatten() {
            if fields.iter().filter(|(field, _)| field == name).count() > 1 {
                return self.rows.reject(line, format!("the field `{name}` occurs twice"));
            }
        }
        let mut take = |name: &String| {
            let found = fields.iter_mut().find(|(field, _)| field == name);
            found.map_or(Cell::Missing, |(_, cell)| std::mem::replace(cell, Cell::Missing))
        };
        let (anchor, positive, id) = (take(&names.anchor), take(&names.positive), names.id.as_ref().map(take));
        self.rows.push(line, anchor, positive, id)
    }
}

fn cell_bytes(cell: &JsonCell) -> usize {
    match cell {
        Cell::Text(text) => text.len(),
        _ => 0,
    }
}
