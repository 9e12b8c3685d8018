//! The query API (historians.md 4): arguments in, the exact result shapes out. Pure.

use jiff::Timestamp;
use serde_json::Value;
use volttron_utils::time::{has_canonical_form, parse_expression};

use super::store::{Found, Query};
use super::text::{dumps, stamp};

/// An argument that makes no sense, with the Python exception type callers of the original see.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct BadArgument {
    /// `TypeError` or `ValueError`.
    pub exception: &'static str,
    /// What is wrong.
    pub text: String,
}

impl BadArgument {
    fn type_error(text: impl Into<String>) -> Self {
        Self { exception: "TypeError", text: text.into() }
    }
    fn value_error(text: impl Into<String>) -> Self {
        Self { exception: "ValueError", text: text.into() }
    }
}

/// Arguments of `query` as received; absent and null are the same.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    /// Text or list of texts.
    pub topic: Value,
    /// First time, inclusive.
    pub start: Value,
    /// Last time, exclusive.
    pub end: Value,
    /// Aggregation type; only together with `agg_period`.
    pub agg_type: Value,
    /// Aggregation period.
    pub agg_period: Value,
    /// Rows left out per topic.
    pub skip: Value,
    /// Most rows per topic.
    pub count: Value,
    /// `FIRST_TO_LAST` or `LAST_TO_FIRST`.
    pub order: Value,
    /// Ours: every topic matching this regular expression, as if listed.
    pub topic_pattern: Value,
}

/// A checked query and how its result is shaped.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// What to read; topics of `pattern` still to be added.
    pub query: Query,
    /// Regular expression whose matches are asked for besides the listed topics.
    pub pattern: Option<String>,
    /// One topic was asked for by name: the short result shape.
    pub single: bool,
}

impl Arguments {
    /// Checks the arguments.
    pub fn check(&self, now: Timestamp, max_rows: u64) -> Result<Asked, BadArgument> {
        let pattern = match &self.topic_pattern {
            Value::Null => None,
            Value::String(p) => Some(p.clone()),
            _ => return Err(BadArgument::type_error("\"topic_pattern\" must be text")),
        };
        let topics = match &self.topic {
            Value::Null if pattern.is_some() => Vec::new(),
            Value::Null => return Err(BadArgument::type_error("\"Topic\" required")),
            other => texts(other)
                .ok_or_else(|| BadArgument::type_error("\"topic\" must be text or a list of texts"))?,
        };
        let single = pattern.is_none() && topics.len() <= 1;
        let optional = |v: &Value| match v {
            Value::Null => Ok(None),
            v => time(v, now).map(|t| Some(stamp(t))),
        };
        Ok(Asked {
            query: Query {
                topics,
                start: optional(&self.start)?,
                end: optional(&self.end)?,
                aggregate: aggregate(&self.agg_type, &self.agg_period)?,
                skip: number("skip", &self.skip)?.unwrap_or(0).max(0) as u64,
                // A negative count means no limit, as LIMIT -1 does in the original's database.
                count: number("count", &self.count)?.and_then(|n| u64::try_from(n).ok()),
                last_to_first: order(&self.order),
                max_rows,
            },
            pattern,
            single,
        })
    }
}

/// A time argument: text, or epoch milliseconds as a number.
fn time(v: &Value, now: Timestamp) -> Result<Timestamp, BadArgument> {
    match v {
        Value::String(text) => {
            parse_expression(text, now).map_err(|e| BadArgument::value_error(e.to_string()))
        }
        Value::Number(n) => n
            .as_f64()
            .and_then(|ms| Timestamp::from_microsecond((ms * 1000.0).round() as i64).ok())
            .filter(|at| has_canonical_form(*at))
            .ok_or_else(|| BadArgument::value_error(format!("{n} milliseconds are no time"))),
        other => Err(BadArgument::value_error(format!("{other} is no time"))),
    }
}

/// A text or list of texts.
pub fn texts(v: &Value) -> Option<Vec<String>> {
    match v {
        Value::String(s) => Some(vec![s.clone()]),
        Value::Array(a) => a.iter().map(|v| v.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn number(name: &str, v: &Value) -> Result<Option<i64>, BadArgument> {
    match v {
        Value::Null => Ok(None),
        Value::Number(n) if n.is_i64() => Ok(n.as_i64()),
        Value::Number(n) if n.as_f64().is_some_and(|f| f.fract() == 0.0) => Ok(n.as_f64().map(|f| f as i64)),
        Value::String(s) if s.trim().parse::<i64>().is_ok() => Ok(s.trim().parse().ok()),
        _ => Err(BadArgument::type_error(format!("\"{name}\" must be a whole number"))),
    }
}

/// Anything but the known word for reverse means forward, as in the original.
fn order(v: &Value) -> bool {
    v.as_str().is_some_and(|s| s.eq_ignore_ascii_case("LAST_TO_FIRST"))
}

fn aggregate(kind: &Value, period: &Value) -> Result<Option<(String, String)>, BadArgument> {
    let given = |v: &Value| v.as_str().filter(|s| !s.is_empty()).map(str::to_owned);
    match (given(kind), given(period)) {
        (None, None) => Ok(None),
        (Some(kind), Some(period)) => Ok(Some((kind.to_lowercase(), normalise_period(&period)?))),
        _ => Err(BadArgument::type_error(
            "You should provide both aggregation type(agg_type) and aggregation time period(agg_period) to query \
             aggregate data",
        )),
    }
}

/// `60m` -> `1h`, `24h` -> `1d`, `7d` -> `1w`; months (`M`) stay.
pub fn normalise_period(period: &str) -> Result<String, BadArgument> {
    let bad = || {
        BadArgument::value_error(format!(
            "Invalid aggregation period {period:?}: a whole number and one of m, h, d, w, M"
        ))
    };
    let unit = period.chars().last().ok_or_else(bad)?;
    let mut n: u64 = period[..period.len() - unit.len_utf8()].trim().parse().map_err(|_| bad())?;
    if n == 0 || !matches!(unit, 'm' | 'h' | 'd' | 'w' | 'M') {
        return Err(bad());
    }
    let mut unit = unit;
    for (from, size, to) in [('m', 60, 'h'), ('h', 24, 'd'), ('d', 7, 'w')] {
        if unit == from && n.is_multiple_of(size) {
            n /= size;
            unit = to;
        }
    }
    Ok(format!("{n}{unit}"))
}

/// The result as JSON text, written without a tree: values are already JSON.
pub fn render(asked_single: bool, found: &Found) -> String {
    let mut out = String::new();
    if asked_single {
        let Some(series) = found.series.first().filter(|s| !s.rows.is_empty()) else { return "{}".into() };
        out.push_str("{\"values\": ");
        rows(&mut out, &series.rows);
        out.push_str(", \"metadata\": ");
        out.push_str(&dumps(&found.metadata));
    } else {
        if found.series.is_empty() {
            return "{}".into();
        }
        out.push_str("{\"values\": {");
        for (i, series) in found.series.iter().enumerate() {
            if i > 0 {
                out.push_str(", ");
            }
            out.push_str(&dumps(&series.topic));
            out.push_str(": ");
            rows(&mut out, &series.rows);
        }
        out.push_str("}, \"metadata\": {}");
    }
    if found.truncated {
        out.push_str(", \"truncated\": true");
    }
    out.push('}');
    out
}

fn rows(out: &mut String, rows: &[super::store::Row]) {
    out.push('[');
    for (i, (ts, value)) in rows.iter().enumerate() {
        out.push_str(if i > 0 { ", [\"" } else { "[\"" });
        // Readers give canonical stamps only, which need no escapes.
        out.push_str(ts);
        out.push_str("\", ");
        out.push_str(value);
        out.push(']');
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::super::store::Series;
    use super::*;
    use serde_json::json;

    fn check(v: &Value) -> Result<Asked, BadArgument> {
        let get = |k: &str| v.get(k).cloned().unwrap_or(Value::Null);
        let arguments = Arguments {
            topic: get("topic"),
            start: get("start"),
            end: get("end"),
            agg_type: get("agg_type"),
            agg_period: get("agg_period"),
            skip: get("skip"),
            count: get("count"),
            order: get("order"),
            topic_pattern: get("topic_pattern"),
        };
        arguments.check("2026-03-04T12:00:00Z".parse().unwrap(), 10)
    }

    #[test]
    fn good_arguments() {
        let a = check(&json!({"topic": "a/b"})).unwrap();
        assert!(a.single);
        assert_eq!((a.query.skip, a.query.count, a.query.last_to_first), (0, None, false));
        let a = check(
            &json!({"topic": ["a"], "count": 2, "skip": 1, "order": "LAST_TO_FIRST", "start": "now -2h"}),
        )
        .unwrap();
        assert!(a.single && a.query.last_to_first);
        assert_eq!((a.query.skip, a.query.count), (1, Some(2)));
        assert_eq!(a.query.start.as_deref(), Some("2026-03-04T10:00:00.000000+00:00"));
        let a = check(
            &json!({"topic": ["a", "b"], "agg_type": "AVG", "agg_period": "60m", "count": -1, "skip": -4}),
        )
        .unwrap();
        assert!(!a.single);
        assert_eq!(a.query.aggregate, Some(("avg".into(), "1h".into())));
        assert_eq!((a.query.skip, a.query.count), (0, None));
        let a = check(&json!({"topic": "a", "end": 1_772_625_600_000_i64})).unwrap();
        assert_eq!(a.query.end.as_deref(), Some("2026-03-04T12:00:00.000000+00:00"));
        let a = check(&json!({"topic_pattern": "a.*"})).unwrap();
        assert!(!a.single);
        assert_eq!(a.pattern.as_deref(), Some("a.*"));
    }

    #[test]
    fn bad_arguments_name_the_exception() {
        for (v, exception) in [
            (json!({}), "TypeError"),
            (json!({"topic": 5}), "TypeError"),
            (json!({"topic": ["a", 5]}), "TypeError"),
            (json!({"topic": "a", "agg_type": "avg"}), "TypeError"),
            (json!({"topic": "a", "agg_period": "1h"}), "TypeError"),
            (json!({"topic": "a", "agg_type": "avg", "agg_period": "1y"}), "ValueError"),
            (json!({"topic": "a", "count": 1.5}), "TypeError"),
            (json!({"topic": "a", "count": "many"}), "TypeError"),
            (json!({"topic": "a", "start": "whenever"}), "ValueError"),
            (json!({"topic": "a", "end": [1]}), "ValueError"),
            (json!({"topic": "a", "end": 1e300}), "ValueError"),
        ] {
            assert_eq!(check(&v).unwrap_err().exception, exception, "{v}");
        }
    }

    #[test]
    fn periods_are_normalised_upwards() {
        for (given, want) in [
            ("60m", Some("1h")),
            ("1440m", Some("1d")),
            ("10080m", Some("1w")),
            ("90m", Some("90m")),
            ("24h", Some("1d")),
            ("7d", Some("1w")),
            ("14d", Some("2w")),
            ("2M", Some("2M")),
            ("3w", Some("3w")),
            ("0m", None),
            ("", None),
            ("h", None),
            ("1é", None),
            ("-1h", None),
        ] {
            assert_eq!(normalise_period(given).ok().as_deref(), want, "{given}");
        }
    }

    #[test]
    fn the_four_result_shapes_and_the_mark_of_truncation() {
        let series = |topic: &str, n: usize| Series {
            topic: topic.into(),
            rows: (0..n).map(|i| (format!("t{i}"), format!("{i}.5"))).collect(),
        };
        let found = |series, truncated| Found {
            series,
            metadata: json!({"units": "F"}).as_object().cloned().unwrap(),
            truncated,
        };
        let cases = [
            (
                true,
                found(vec![series("a", 2)], false),
                r#"{"values": [["t0", 0.5], ["t1", 1.5]], "metadata": {"units": "F"}}"#,
            ),
            (true, found(vec![series("a", 0)], false), "{}"),
            (true, found(vec![], false), "{}"),
            (false, found(vec![], false), "{}"),
            (
                false,
                found(vec![series("a", 1), series("é\"", 0)], false),
                r#"{"values": {"a": [["t0", 0.5]], "\u00e9\"": []}, "metadata": {}}"#,
            ),
            (
                true,
                found(vec![series("a", 1)], true),
                r#"{"values": [["t0", 0.5]], "metadata": {"units": "F"}, "truncated": true}"#,
            ),
        ];
        for (single, found, want) in cases {
            assert_eq!(render(single, &found), want);
        }
    }
}
