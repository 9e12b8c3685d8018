//! Registry tables: rows of named cells, with errors that say which row and column is wrong.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::DriverError;

/// Most rows a registry may have; a device with more points is a mistake in a file, not a device.
pub const MAX_ROWS: usize = 100_000;

/// One row of a registry: cells by column name.
///
/// Cells of a CSV are text; a registry given as JSON may hold numbers and booleans. A missing cell, null and the
/// empty text are the same thing to a reader.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Row number as a spreadsheet shows it: the header is row 1, the first data row is row 2.
    pub number: usize,
    cells: Map<String, Value>,
}

impl Row {
    /// A row from its cells.
    pub fn new(number: usize, cells: Map<String, Value>) -> Self {
        Self { number, cells }
    }

    /// The cell as stored. Exact column name first, then ignoring case and surrounding blanks, because headers typed
    /// into spreadsheets often carry both.
    pub fn cell(&self, column: &str) -> Option<&Value> {
        self.cells.get(column).or_else(|| {
            self.cells.iter().find(|(k, _)| k.trim().eq_ignore_ascii_case(column)).map(|(_, v)| v)
        })
    }

    /// Column names, in the order of the table.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.cells.keys().map(String::as_str)
    }

    /// The cells themselves.
    pub fn into_cells(self) -> Map<String, Value> {
        self.cells
    }

    /// True when the table has this column, whatever the cell holds.
    pub fn has(&self, column: &str) -> bool {
        self.cell(column).is_some()
    }

    /// The cell as trimmed text; empty when missing or null.
    pub fn text(&self, column: &str) -> Cow<'_, str> {
        match self.cell(column) {
            None | Some(Value::Null) => Cow::Borrowed(""),
            Some(Value::String(s)) => Cow::Borrowed(s.trim()),
            Some(other) => Cow::Owned(other.to_string()),
        }
    }

    /// First non-empty cell of several columns with its column name: the way to accept two names for one thing.
    pub fn first_of<'c>(&self, columns: &[&'c str]) -> Option<(&'c str, Cow<'_, str>)> {
        columns.iter().map(|c| (*c, self.text(c))).find(|(_, text)| !text.is_empty())
    }

    /// True only for the text `true` in any case (drivers.md section 9: anything else is read-only).
    pub fn is_true(&self, column: &str) -> bool {
        self.text(column).eq_ignore_ascii_case("true")
    }

    /// Units of the point: null when the table has no such cell, else its text.
    pub fn units(&self) -> Option<String> {
        match self.cell("Units") {
            None | Some(Value::Null) => None,
            Some(_) => Some(self.text("Units").into_owned()),
        }
    }

    /// An error about this row.
    pub fn error(&self, column: &str, what: impl std::fmt::Display) -> DriverError {
        DriverError::Config(format!("registry row {}, column '{column}': {what}", self.number))
    }

    /// This row with the non-empty cells of `over` laid on top; the number is that of `over`.
    #[must_use]
    pub fn overlaid(&self, over: &Row) -> Row {
        let mut cells = self.cells.clone();
        for (column, value) in &over.cells {
            let empty = value.is_null() || value.as_str().is_some_and(|s| s.trim().is_empty());
            if !empty || !cells.contains_key(column) {
                cells.insert(column.clone(), value.clone());
            }
        }
        Row { number: over.number, cells }
    }
}

/// A registry table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows(pub Vec<Row>);

impl Rows {
    /// Rows from a configuration-store value: a list of objects (what a CSV entry becomes), or null for none.
    pub fn from_value(value: &Value) -> Result<Option<Self>, DriverError> {
        let list = match value {
            Value::Null => return Ok(None),
            Value::Array(list) => list,
            Value::String(text) => {
                return Err(DriverError::Config(format!(
                    "the registry is a text ({:.40}...) and not a table: was it stored as raw instead of csv?",
                    text.escape_debug().to_string()
                )));
            }
            _ => return Err(DriverError::Config("the registry must be a list of rows".into())),
        };
        if list.len() > MAX_ROWS {
            return Err(DriverError::Config(format!(
                "the registry has {} rows, more than {MAX_ROWS}",
                list.len()
            )));
        }
        let mut rows = Vec::with_capacity(list.len());
        for (index, item) in list.iter().enumerate() {
            let number = index + 2;
            let Value::Object(cells) = item else {
                return Err(DriverError::Config(format!(
                    "registry row {number} is not an object of named cells"
                )));
            };
            rows.push(Row::new(number, cells.clone()));
        }
        Ok(Some(Self(rows)))
    }

    /// Rows from CSV text, by the rules of the configuration store (subsystems.md 11.4). Bytes that are not UTF-8
    /// are replaced, not refused: the bad cell then names itself in its row's error.
    pub fn from_csv(bytes: &[u8]) -> Result<Self, DriverError> {
        let text = String::from_utf8_lossy(bytes);
        let cells = volttron_utils::config::csv_to_json(&text)
            .map_err(|error| DriverError::Config(error.to_string()))?;
        let value = Value::Array(cells.into_iter().map(Value::Object).collect());
        Ok(Self::from_value(&value)?.unwrap_or_default())
    }

    /// Fails when a name occurs twice, naming both rows. (The original let the last row win without a word.)
    pub fn refuse_duplicates<'a>(
        names: impl IntoIterator<Item = (usize, &'a str)>,
    ) -> Result<(), DriverError> {
        let mut seen = std::collections::HashMap::new();
        for (row, name) in names {
            if let Some(first) = seen.insert(name, row) {
                return Err(DriverError::Config(format!(
                    "registry row {row}: point '{name}' is already defined in row {first}"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(cells: &Value) -> Row {
        Row::new(7, cells.as_object().expect("object").clone())
    }

    #[test]
    fn cells_are_read_leniently_and_errors_name_the_row() {
        let row =
            row(&json!({"Point Address": " 12 ", " writable": "TRUE", "Units": null, "n": 5, "e": "  "}));
        assert_eq!(row.text("Point Address"), "12");
        assert!(row.is_true("Writable"));
        assert_eq!(row.units(), None);
        assert_eq!(row.text("n"), "5");
        assert_eq!(row.text("missing"), "");
        assert_eq!(row.first_of(&["e", "n"]), Some(("n", "5".into())));
        assert_eq!(row.error("n", "bad").to_string(), "registry row 7, column 'n': bad");
    }

    #[test]
    fn an_overlay_keeps_what_the_upper_row_leaves_empty() {
        let base = row(&json!({"Address": "1", "Units": "F"}));
        let over = Row::new(
            3,
            json!({"Address": "", "Units": "C", "Extra": ""}).as_object().expect("object").clone(),
        );
        let merged = base.overlaid(&over);
        assert_eq!((merged.number, &*merged.text("Address"), &*merged.text("Units")), (3, "1", "C"));
        assert!(merged.has("Extra"));
    }

    #[test]
    fn a_value_that_is_no_table_says_so() {
        for (value, text) in [
            (json!("a,b\n1,2"), "stored as raw"),
            (json!({"a": 1}), "list of rows"),
            (json!([{"a": 1}, 5]), "registry row 3 is not an object"),
        ] {
            let error = Rows::from_value(&value).expect_err("not a table").to_string();
            assert!(error.contains(text), "{error}");
        }
        assert_eq!(Rows::from_value(&Value::Null), Ok(None));
    }

    #[test]
    fn duplicates_name_both_rows() {
        let error = Rows::refuse_duplicates([(2, "a"), (3, "b"), (9, "a")]).expect_err("a twice").to_string();
        assert_eq!(error, "registry row 9: point 'a' is already defined in row 2");
    }
}
