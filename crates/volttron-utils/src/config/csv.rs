//! CSV as the configuration store reads it: a header row and text values (subsystems.md section 11.4, drivers.md
//! section 2).

use serde_json::{Map, Value};

/// A CSV text that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad CSV: {0}")]
pub struct BadCsv(String);

/// Most cells of a table, those counted that rows leave out.
const CELLS_MAX: usize = 16_000_000;

/// Most bytes that the names of the columns may take, which are repeated in each row.
const NAMES_MAX_BYTES: usize = 512 << 20;

/// Rows as objects, keyed by the header row, every value text. Missing trailing cells are null; surplus cells are
/// collected in a list under the key `null` (what Python's `None` key becomes in JSON). Blank rows are skipped.
pub fn csv_to_json(text: &str) -> Result<Vec<Map<String, Value>>, BadCsv> {
    // Spreadsheets put a byte order mark in front, which would become part of the first column's name.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    refuse_large(text)?;
    let mut reader = reader(text);
    let mut records = reader.records();
    let Some(header) = records.next().transpose().map_err(|e| BadCsv(e.to_string()))? else {
        return Ok(Vec::new());
    };
    let mut rows = Vec::new();
    for record in records {
        let record = record.map_err(|e| BadCsv(e.to_string()))?;
        let mut row = Map::new();
        for (at, name) in header.iter().enumerate() {
            row.insert(name.to_owned(), record.get(at).map_or(Value::Null, Value::from));
        }
        if record.len() > header.len() {
            row.insert("null".to_owned(), record.iter().skip(header.len()).collect());
        }
        rows.push(row);
    }
    Ok(rows)
}

fn reader(text: &str) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes())
}

/// A long header and many short rows are a small text, but their product is not: looked at before anything is built.
fn refuse_large(text: &str) -> Result<(), BadCsv> {
    let mut reader = reader(text);
    let mut record = csv::ByteRecord::new();
    // What cannot be read is reported by the reader that follows.
    if !matches!(reader.read_byte_record(&mut record), Ok(true)) {
        return Ok(());
    }
    let (columns, names_bytes) = (record.len(), record.as_slice().len());
    let rows_max = (CELLS_MAX / columns.max(1)).min(NAMES_MAX_BYTES / names_bytes.max(1));
    let mut rows = 0;
    while matches!(reader.read_byte_record(&mut record), Ok(true)) {
        rows += 1;
        if rows > rows_max {
            return Err(BadCsv(format!("more than {rows_max} rows of {columns} columns are too large")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_small_text_is_not_a_large_table() {
        let header: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
        let wide = format!("{}\n{}", header.join(","), "1\n".repeat(20_000));
        assert!(csv_to_json(&wide).unwrap_err().to_string().contains("more than 800 rows of 20000 columns"));
        let long = format!("{}\n{}", "x".repeat(1 << 20), "1\n".repeat(1000));
        assert!(csv_to_json(&long).unwrap_err().to_string().contains("more than 512 rows of 1 columns"));
    }

    #[test]
    fn rows_as_python_reads_them() {
        // Expected values taken from Python's csv.DictReader and json.dumps.
        for (text, expected) in [
            ("", "[]"),
            ("A,B\n", "[]"),
            ("Point,Unit\nA,F\nB,\n", r#"[{"Point":"A","Unit":"F"},{"Point":"B","Unit":""}]"#),
            ("A,B\r\n1,2\r\n\r\n3\r\n", r#"[{"A":"1","B":"2"},{"A":"3","B":null}]"#),
            ("A,B\n1,2,3,4\n", r#"[{"A":"1","B":"2","null":["3","4"]}]"#),
            ("A,B\n\"x, \"\"y\"\"\n z\",2\n", r#"[{"A":"x, \"y\"\n z","B":"2"}]"#),
            ("A,A\n1,2\n", r#"[{"A":"2"}]"#),
            ("\u{feff}A\n1\n", r#"[{"A":"1"}]"#),
            (" A , B\n 1 ,é", r#"[{" A ":" 1 "," B":"é"}]"#),
            ("A,B\n ,\n", r#"[{"A":" ","B":""}]"#),
            ("A\nx\"y\"\n", r#"[{"A":"x\"y\""}]"#),
        ] {
            let rows = csv_to_json(text).unwrap();
            assert_eq!(serde_json::to_string(&rows).unwrap(), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[a,\"\n\ré]{0,60}") {
            let _ = csv_to_json(&text);
        }
    }
}
