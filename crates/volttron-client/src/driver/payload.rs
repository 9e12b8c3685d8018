//! Topics, messages and headers of device publications (drivers.md section 6), byte for byte.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use volttron_utils::headers::{self, Headers};
use volttron_utils::json;

use super::{Point, Scrape};

/// Which of the four forms a device publishes.
#[expect(clippy::struct_excessive_bools, reason = "four independent switches of the configuration")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishFlags {
    /// `devices/<path>/<point>`, one message per point.
    pub depth_first: bool,
    /// `devices/<point>/<reversed path>`, one message per point.
    pub breadth_first: bool,
    /// `devices/<path>/all`; the only form that historians capture.
    pub depth_first_all: bool,
    /// `devices/all/<reversed path>`
    pub breadth_first_all: bool,
}

impl Default for PublishFlags {
    fn default() -> Self {
        Self { depth_first: false, breadth_first: false, depth_first_all: true, breadth_first_all: false }
    }
}

/// What stays the same from one publication of a device to the next, prepared once.
#[derive(Clone, Debug)]
pub struct Publisher {
    depth_all: Arc<str>,
    breadth_all: Arc<str>,
    path: Arc<str>,
    reversed: Arc<str>,
    /// Per point: its name as JSON text and its metadata as JSON text.
    points: Vec<(String, String)>,
    /// The metadata map of all points as JSON text.
    meta: String,
}

/// One message ready for the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Full topic.
    pub topic: Arc<str>,
    /// The message as JSON text in Python's form (`", "` and `": "`, ASCII only).
    pub message: Arc<str>,
}

impl Publisher {
    /// Prepares a device. `path` is without `devices/`; `tz` is the label from the device entry.
    pub fn new(path: &str, points: &[Point], tz: &str) -> Self {
        let path = path.trim_matches('/');
        let reversed: Vec<&str> = path.rsplit('/').collect();
        let reversed = reversed.join("/");
        let texts: Vec<(String, String)> =
            points.iter().map(|point| (python_json(&point.name), python_json(&point.meta(tz)))).collect();
        let meta: Vec<String> = texts.iter().map(|(name, meta)| format!("{name}: {meta}")).collect();
        Self {
            depth_all: format!("devices/{path}/all").into(),
            breadth_all: format!("devices/all/{reversed}").into(),
            path: path.into(),
            reversed: reversed.into(),
            points: texts,
            meta: format!("{{{}}}", meta.join(", ")),
        }
    }

    /// The messages of one scrape in the order of drivers.md 5.3: per point depth then breadth, all depth, all
    /// breadth. Values are partial when points failed; the metadata always covers every configured point. Without any
    /// value there is nothing to publish.
    pub fn messages(&self, points: &[Point], scrape: &Scrape, flags: PublishFlags) -> Vec<Outgoing> {
        let mut out = Vec::new();
        if scrape.values.is_empty() {
            return out;
        }
        let values: Vec<(usize, String)> =
            scrape.values.iter().map(|(id, v)| (*id, python_json(v))).collect();
        if flags.depth_first || flags.breadth_first {
            for (id, value) in &values {
                let (name, meta) = (&points[*id].name, &self.points[*id].1);
                let message: Arc<str> = format!("[{value}, {meta}]").into();
                if flags.depth_first {
                    let topic = format!("devices/{}/{name}", self.path).into();
                    out.push(Outgoing { topic, message: message.clone() });
                }
                if flags.breadth_first {
                    let topic = format!("devices/{name}/{}", self.reversed).into();
                    out.push(Outgoing { topic, message });
                }
            }
        }
        if flags.depth_first_all || flags.breadth_first_all {
            let pairs: Vec<String> =
                values.iter().map(|(id, value)| format!("{}: {value}", self.points[*id].0)).collect();
            let message: Arc<str> = format!("[{{{}}}, {}]", pairs.join(", "), self.meta).into();
            if flags.depth_first_all {
                out.push(Outgoing { topic: self.depth_all.clone(), message: message.clone() });
            }
            if flags.breadth_first_all {
                out.push(Outgoing { topic: self.breadth_all.clone(), message });
            }
        }
        out
    }
}

/// The three time headers: `Date` and `TimeStamp` are the time after the scrape, `SynchronizedTimeStamp` the interval
/// boundary that all devices of a round share. `None` for publications outside a round (COV).
pub fn time_headers(after: Timestamp, boundary: Option<Timestamp>) -> Headers {
    let mut headers = Headers::new();
    headers.set_time(headers::DATE, after);
    headers.set_time(headers::TIMESTAMP, after);
    if let Some(boundary) = boundary {
        headers.set_time(headers::SYNC_TIMESTAMP, boundary);
    }
    headers
}

/// Values and texts always serialise; the fallback only keeps the signature plain.
fn python_json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    json::to_string(value).unwrap_or_else(|_| Value::Null.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{PointKind, PointType};
    use serde_json::json;

    fn points() -> Vec<Point> {
        let point = |name: &str, units: Option<&str>, value_type| Point {
            name: name.into(),
            units: units.map(Into::into),
            kind: PointKind::Byte,
            value_type,
            read_only: true,
            description: String::new(),
            row: 0,
        };
        vec![
            point("SupplyTemp", Some("degreesFahrenheit"), PointType::Float),
            point("FanOn", None, PointType::Boolean),
            point("a/b \u{e9}", Some(""), PointType::String),
        ]
    }

    fn all_flags() -> PublishFlags {
        PublishFlags {
            depth_first: true,
            breadth_first: true,
            depth_first_all: true,
            breadth_first_all: true,
        }
    }

    #[test]
    fn messages_are_byte_exact_and_in_order() {
        let points = points();
        let publisher = Publisher::new("nrel/rsf/ahu3/", &points, "US/Pacific");
        let scrape = Scrape { values: vec![(0, json!(55.4)), (1, json!(1))], missing: Vec::new() };
        let got: Vec<(String, String)> = publisher
            .messages(&points, &scrape, all_flags())
            .into_iter()
            .map(|m| (m.topic.to_string(), m.message.to_string()))
            .collect();
        let supply = r#"{"units": "degreesFahrenheit", "type": "float", "tz": "US/Pacific"}"#;
        let fan = r#"{"units": null, "type": "boolean", "tz": "US/Pacific"}"#;
        let text = r#"{"units": "", "type": "string", "tz": "US/Pacific"}"#;
        let all = format!(
            r#"[{{"SupplyTemp": 55.4, "FanOn": 1}}, {{"SupplyTemp": {supply}, "FanOn": {fan}, "a/b \u00e9": {text}}}]"#
        );
        let want = [
            ("devices/nrel/rsf/ahu3/SupplyTemp", format!("[55.4, {supply}]")),
            ("devices/SupplyTemp/ahu3/rsf/nrel", format!("[55.4, {supply}]")),
            ("devices/nrel/rsf/ahu3/FanOn", format!("[1, {fan}]")),
            ("devices/FanOn/ahu3/rsf/nrel", format!("[1, {fan}]")),
            ("devices/nrel/rsf/ahu3/all", all.clone()),
            ("devices/all/ahu3/rsf/nrel", all),
        ];
        assert_eq!(got, want.map(|(topic, message)| (topic.to_owned(), message)));
    }

    #[test]
    fn the_default_is_depth_first_all_alone() {
        let points = points();
        let publisher = Publisher::new("x", &points, "");
        let scrape = Scrape { values: vec![(1, json!(true))], missing: Vec::new() };
        let got = publisher.messages(&points, &scrape, PublishFlags::default());
        assert_eq!(got.len(), 1);
        assert_eq!(&*got[0].topic, "devices/x/all");
        assert!(got[0].message.starts_with(r#"[{"FanOn": true}, {"SupplyTemp": {"#), "{}", got[0].message);
    }

    #[test]
    fn without_values_nothing_is_published() {
        let points = points();
        let publisher = Publisher::new("x", &points, "");
        assert_eq!(publisher.messages(&points, &Scrape::default(), all_flags()), []);
    }

    #[test]
    fn headers_carry_six_digits_and_an_offset() {
        let after = "2026-03-04T17:05:00.412331Z".parse().expect("time");
        let boundary = "2026-03-04T17:05:00Z".parse().expect("time");
        assert_eq!(
            json::to_string(&time_headers(after, Some(boundary))).expect("headers"),
            concat!(
                r#"{"Date": "2026-03-04T17:05:00.412331+00:00", "TimeStamp": "2026-03-04T17:05:00.412331+00:00", "#,
                r#""SynchronizedTimeStamp": "2026-03-04T17:05:00.000000+00:00"}"#
            )
        );
        assert_eq!(time_headers(after, None).len(), 2);
    }
}
