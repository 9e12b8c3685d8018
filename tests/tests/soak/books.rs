//! Comparing what was acknowledged with what the database holds.

use std::path::Path;

use rusqlite::Connection;

use crate::load::{Journal, POINTS, time_of, topic};

/// The comparison.
#[derive(Clone, Copy, Debug, Default)]
pub struct Books {
    /// Points that the historian said are safe.
    pub acknowledged: u64,
    /// Points of the load in the database, unanswered ones that arrived nevertheless included.
    pub stored: u64,
    /// Points acknowledged and not in the database.
    pub lost: u64,
    /// Pairs of topic and time that are there more than once, of whatever topic.
    pub doubled: u64,
    /// Points of the load with a time or value that nobody sent.
    pub wrong: u64,
}

impl Books {
    /// Compares.
    pub fn compare(database: &Path, journal: &Journal) -> Self {
        let db = Connection::open(database).expect("open the database");
        let healthy: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("check");
        assert_eq!(healthy, "ok", "{}", database.display());
        let doubled = "SELECT COUNT(*) FROM (SELECT 1 FROM data JOIN topics USING (topic_id) GROUP BY topic_name, ts \
                       HAVING COUNT(*) > 1)";
        let mut books = Self {
            acknowledged: journal.acknowledged.len() as u64 * u64::from(POINTS),
            doubled: db.query_row(doubled, [], |row| row.get::<_, i64>(0)).expect("count").unsigned_abs(),
            ..Self::default()
        };
        for point in 0..POINTS {
            books.compare_topic(&db, journal, point);
        }
        books
    }

    fn compare_topic(&mut self, db: &Connection, journal: &Journal, point: u32) {
        let sql = "SELECT ts, value_string FROM data JOIN topics USING (topic_id) WHERE topic_name = ?";
        let mut query = db.prepare(sql).expect("prepare");
        let mut rows = query.query([topic(point)]).expect("query");
        let mut there = vec![false; journal.end as usize];
        while let Some(row) = rows.next().expect("a row") {
            let (time, value): (String, String) = (row.get(0).expect("ts"), row.get(1).expect("value"));
            match value.parse::<u32>() {
                Ok(n) if n < journal.end && time == time_of(n) => there[n as usize] = true,
                _ => self.wrong += 1,
            }
            self.stored += 1;
        }
        self.lost += journal.acknowledged.iter().filter(|&&n| !there[n as usize]).count() as u64;
    }

    /// Whether every acknowledged point is there exactly once, and nothing that nobody sent.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.wrong == 0 && self.stored >= self.acknowledged
    }
}
