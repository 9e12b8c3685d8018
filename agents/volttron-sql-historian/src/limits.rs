//! Size limits of the database: by age and by size, oldest rows first, in slices so that writing gets its turn.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};
use volttron_client::historian::Limits;
use volttron_client::historian::text::{parse_stamp, stamp};

use crate::schema::quoted;

/// Rows removed per statement.
const SLICE_ROWS: i64 = 1000;

/// Removes what exceeds the limits, for about `budget`. True: there is more.
pub fn apply(db: &mut Connection, table: &str, limits: &Limits, budget: Duration) -> rusqlite::Result<bool> {
    let until = Instant::now() + budget;
    let mut more = false;
    if let Some(days) = limits.history_limit_days
        && let Some(cutoff) = cutoff(db, table, days)?
    {
        more |= by_age(db, table, &cutoff, until)?;
    }
    if let Some(gb) = limits.storage_limit_gb {
        more |= by_size(db, table, gb, until)?;
    }
    Ok(more)
}

/// Newest row minus `days`. A row from the future (a device with a wrong clock) must not empty the table, so the
/// newest counts as now at most.
fn cutoff(db: &Connection, table: &str, days: f64) -> rusqlite::Result<Option<String>> {
    let sql = format!("SELECT MAX(ts) FROM {}", quoted(table));
    let newest: Option<String> = db.query_row(&sql, [], |r| r.get(0))?;
    let age = SignedDuration::try_from_secs_f64(days * 86_400.0).ok();
    Ok(newest
        .and_then(|text| parse_stamp(&text).ok())
        .map(|newest| newest.min(Timestamp::now()))
        .zip(age)
        .and_then(|(newest, age)| newest.checked_sub(age).ok())
        .map(stamp))
}

fn by_age(db: &Connection, table: &str, cutoff: &str, until: Instant) -> rusqlite::Result<bool> {
    let data = quoted(table);
    let sql = format!(
        "DELETE FROM {data} WHERE rowid IN (SELECT rowid FROM {data} WHERE ts < ? ORDER BY ts LIMIT {SLICE_ROWS})"
    );
    loop {
        let gone = db.prepare_cached(&sql)?.execute(params![cutoff])?;
        if gone == 0 {
            return Ok(false);
        }
        if Instant::now() >= until {
            return Ok(true);
        }
    }
}

fn by_size(db: &mut Connection, table: &str, limit_gb: f64, until: Instant) -> rusqlite::Result<bool> {
    let page_size: i64 = db.pragma_query_value(None, "page_size", |r| r.get(0))?;
    let max_pages = (limit_gb * 1024f64.powi(3) / page_size as f64).ceil().max(1.0);
    let data = quoted(table);
    let sql = format!(
        "DELETE FROM {data} WHERE rowid IN (SELECT rowid FROM {data} ORDER BY ts LIMIT {SLICE_ROWS})"
    );
    let transaction = db.transaction()?;
    let mut more = false;
    while used_pages(&transaction)? >= max_pages {
        let gone = transaction.prepare_cached(&sql)?.execute([])?;
        if gone == 0 {
            break;
        }
        if Instant::now() >= until {
            more = true;
            break;
        }
    }
    transaction.commit()?;
    Ok(more)
}

/// Pages holding something. Databases without auto-vacuum do not shrink, but reuse their free pages.
fn used_pages(db: &Connection) -> rusqlite::Result<f64> {
    let pages: i64 = db.pragma_query_value(None, "page_count", |r| r.get(0))?;
    let free: i64 = db.pragma_query_value(None, "freelist_count", |r| r.get(0))?;
    Ok((pages - free) as f64)
}
