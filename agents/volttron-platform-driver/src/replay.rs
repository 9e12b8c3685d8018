//! The CSV replay driver (driver types `csv` and `csv_replay`): plays a table of timed values as if it were a device.
//!
//! The time that has passed since the driver was configured, times `speed`, selects the row; a step function, without
//! interpolation. Written points hold what was written until they are reverted, then the replay shows again.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use volttron_client::driver::{
    DeviceContext, Driver, DriverError, DriverFactory, Kwargs, OwnRevert, Point, PointId, PointKind,
    PointType, Reading, Row, Rows,
};
use volttron_client::utils::time::parse_timestamp;

use crate::fake::cast;

/// Largest file that is read.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The `driver_config` of a replay.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// File to replay.
    csv_path: Option<String>,
    /// The table itself (a `config://` link to a CSV entry) instead of a file.
    data: Option<Value>,
    /// Column with the time of each row; the first column by default.
    timestamp_column: Option<String>,
    /// Begin again after the last row; otherwise the last row stays.
    #[serde(default = "yes", rename = "loop")]
    repeat: bool,
    /// How many seconds of data pass in one second.
    #[serde(default = "one")]
    speed: f64,
}

fn yes() -> bool {
    true
}

fn one() -> f64 {
    1.0
}

/// Makes replays.
pub struct ReplayFactory;

impl DriverFactory for ReplayFactory {
    fn configure(
        &self,
        _: &DeviceContext<'_>,
        config: &Value,
        rows: Option<Rows>,
    ) -> Result<Box<dyn Driver>, DriverError> {
        let settings = Settings::deserialize(config)
            .map_err(|error| DriverError::Config(format!("driver_config: {error}")))?;
        if !(settings.speed.is_finite() && settings.speed > 0.0) {
            return Err(DriverError::Config("driver_config 'speed': a number above 0 is needed".into()));
        }
        let data = match (&settings.data, &settings.csv_path) {
            (Some(data), _) => Rows::from_value(data)?.unwrap_or_default(),
            (None, Some(path)) => Rows::from_csv(&read_file(Path::new(path))?)?,
            (None, None) => return Err(DriverError::Config("driver_config needs csv_path or data".into())),
        };
        let track = Track::new(&data, settings.timestamp_column.as_deref())?;
        let columns = match rows {
            Some(rows) => columns_of_registry(&rows, &track)?,
            None => track.columns.iter().map(|name| Column::bare(name)).collect(),
        };
        Ok(Box::new(Replay::new(&settings, &data, track, columns)?))
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, DriverError> {
    let failed =
        |error: std::io::Error| DriverError::Config(format!("cannot read {}: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(DriverError::Config(format!("{} is larger than {MAX_BYTES} bytes", path.display())));
    }
    Ok(bytes)
}

/// The times of the table.
struct Track {
    /// Since the first row; never decreasing.
    at: Vec<Duration>,
    /// After this a repeated replay begins again: one step beyond the last row.
    length: Duration,
    /// Names of the value columns.
    columns: Vec<String>,
}

impl Track {
    fn new(data: &Rows, timestamp_column: Option<&str>) -> Result<Self, DriverError> {
        let first =
            data.0.first().ok_or_else(|| DriverError::Config("the replayed table has no rows".into()))?;
        let names: Vec<&str> = first.columns().collect();
        let time = match timestamp_column {
            Some(name) if first.has(name) => name,
            Some(name) => {
                return Err(DriverError::Config(format!("the replayed table has no column '{name}'")));
            }
            None => names.first().copied().unwrap_or(""),
        };
        let mut stamps = Vec::with_capacity(data.0.len());
        for row in &data.0 {
            let text = row.text(time);
            let stamp = parse_timestamp(&text).map_err(|error| row.error(time, error))?.or_utc();
            if stamps.last().is_some_and(|last| *last > stamp) {
                return Err(row.error(time, "earlier than the row before"));
            }
            stamps.push(stamp);
        }
        let at: Vec<Duration> =
            stamps.iter().map(|stamp| stamp.duration_since(stamps[0]).unsigned_abs()).collect();
        let last = at.last().copied().unwrap_or_default();
        let step = at.len().checked_sub(2).map_or(Duration::from_secs(1), |i| last.saturating_sub(at[i]));
        let length = last + step.max(Duration::from_millis(1));
        let columns =
            names.iter().filter(|name| **name != time && **name != "null").map(|n| (*n).to_owned()).collect();
        Ok(Self { at, length, columns })
    }

    /// Row in force after `elapsed` of data time.
    fn row(&self, elapsed: Duration, repeat: bool) -> usize {
        let elapsed = if repeat {
            let nanos = elapsed.as_nanos() % self.length.as_nanos().max(1);
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        } else {
            elapsed
        };
        self.at.partition_point(|at| *at <= elapsed).saturating_sub(1)
    }
}

/// A column that becomes a point.
struct Column {
    source: String,
    name: String,
    units: Option<String>,
    writable: bool,
    value_type: Option<PointType>,
    description: String,
    row: usize,
}

impl Column {
    fn bare(name: &str) -> Self {
        let name = name.to_owned();
        Self {
            source: name.clone(),
            name,
            units: None,
            writable: false,
            value_type: None,
            description: String::new(),
            row: 1,
        }
    }
}

fn columns_of_registry(rows: &Rows, track: &Track) -> Result<Vec<Column>, DriverError> {
    let mut columns = Vec::new();
    for row in &rows.0 {
        let Some((_, name)) = row.first_of(&["Volttron Point Name"]) else { continue };
        let source = row
            .first_of(&["Point Name", "Volttron Point Name"])
            .map_or_else(String::new, |(_, s)| s.into_owned());
        if !track.columns.contains(&source) {
            return Err(row.error("Point Name", format!("the replayed table has no column '{source}'")));
        }
        columns.push(Column {
            source,
            name: name.into_owned(),
            units: row.units(),
            writable: row.is_true("Writable"),
            value_type: declared_type(row)?,
            description: row.text("Notes").into_owned(),
            row: row.number,
        });
    }
    Ok(columns)
}

fn declared_type(row: &Row) -> Result<Option<PointType>, DriverError> {
    Ok(Some(match row.text("Type").to_ascii_lowercase().as_str() {
        "" => return Ok(None),
        "string" => PointType::String,
        "int" | "integer" => PointType::Integer,
        "float" => PointType::Float,
        "bool" | "boolean" => PointType::Boolean,
        other => {
            return Err(row.error("Type", format!("'{other}' is none of string, integer, float, boolean")));
        }
    }))
}

/// The narrowest type that every cell of a column has; an empty cell has any.
fn inferred_type<'a>(cells: impl Iterator<Item = std::borrow::Cow<'a, str>> + Clone) -> PointType {
    let mut filled = cells.filter(|cell| !cell.is_empty()).peekable();
    if filled.peek().is_none() {
        return PointType::String;
    }
    if filled.clone().all(|cell| cell.eq_ignore_ascii_case("true") || cell.eq_ignore_ascii_case("false")) {
        PointType::Boolean
    } else if filled.clone().all(|cell| cell.parse::<i64>().is_ok()) {
        PointType::Integer
    } else if filled.all(|cell| cell.parse::<f64>().is_ok_and(f64::is_finite)) {
        PointType::Float
    } else {
        PointType::String
    }
}

struct Replay {
    points: Vec<Point>,
    /// By row, then by point; null for an empty cell.
    values: Vec<Vec<Value>>,
    track: Track,
    repeat: bool,
    speed: f64,
    started: Instant,
    written: Mutex<HashMap<PointId, Value>>,
}

impl Replay {
    fn new(
        settings: &Settings,
        data: &Rows,
        track: Track,
        columns: Vec<Column>,
    ) -> Result<Self, DriverError> {
        let mut points = Vec::with_capacity(columns.len());
        let mut sources = Vec::with_capacity(columns.len());
        for column in columns {
            let cells = data.0.iter().map(|row| row.text(&column.source));
            let value_type = column.value_type.unwrap_or_else(|| inferred_type(cells));
            points.push(Point {
                name: column.name,
                units: column.units,
                kind: if value_type == PointType::Boolean { PointKind::Bit } else { PointKind::Byte },
                value_type,
                read_only: !column.writable,
                description: column.description,
                row: column.row,
            });
            sources.push(column.source);
        }
        let mut values = Vec::with_capacity(data.0.len());
        for row in &data.0 {
            let mut cells = Vec::with_capacity(points.len());
            for (point, source) in points.iter().zip(&sources) {
                let text = row.text(source);
                let value = if text.is_empty() {
                    Some(Value::Null)
                } else {
                    cast(&Value::from(&*text), point.value_type)
                };
                let value = value.ok_or_else(|| {
                    row.error(source, format!("'{text}' is no {}", point.value_type.as_str()))
                })?;
                cells.push(value);
            }
            values.push(cells);
        }
        Ok(Self {
            points,
            values,
            track,
            repeat: settings.repeat,
            speed: settings.speed,
            started: Instant::now(),
            written: Mutex::default(),
        })
    }

    fn written(&self) -> MutexGuard<'_, HashMap<PointId, Value>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn row(&self) -> &[Value] {
        let elapsed = self.started.elapsed().as_secs_f64() * self.speed;
        let elapsed = Duration::try_from_secs_f64(elapsed).unwrap_or(Duration::MAX);
        &self.values[self.track.row(elapsed, self.repeat)]
    }
}

impl Driver for Replay {
    fn points(&self) -> &[Point] {
        &self.points
    }

    fn read<'a>(
        &'a self,
        ids: &'a [PointId],
        _: &'a Kwargs,
    ) -> BoxFuture<'a, Result<Vec<Reading>, DriverError>> {
        let (row, written) = (self.row(), self.written());
        let value = |id: &PointId| match written.get(id).unwrap_or(&row[*id]) {
            Value::Null => Err(DriverError::Device("the replayed row has no value".into())),
            value => Ok(value.clone()),
        };
        let readings = ids.iter().map(|id| (*id, value(id))).collect();
        ready(Ok(readings)).boxed()
    }

    fn write<'a>(
        &'a self,
        id: PointId,
        value: &'a Value,
        _: &'a Kwargs,
    ) -> BoxFuture<'a, Result<Value, DriverError>> {
        let value_type = self.points[id].value_type;
        let written = cast(value, value_type)
            .ok_or_else(|| DriverError::Value(format!("{value} is no {}", value_type.as_str())))
            .inspect(|value| drop(self.written().insert(id, value.clone())));
        ready(written).boxed()
    }

    fn own_revert(&self) -> Option<&dyn OwnRevert> {
        Some(self)
    }
}

impl OwnRevert for Replay {
    fn revert<'a>(&'a self, id: PointId, _: &'a Kwargs) -> BoxFuture<'a, Result<(), DriverError>> {
        self.written().remove(&id);
        ready(Ok(())).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use volttron_client::driver::Device;

    const DATA: &str = "timestamp,SupplyTemp,Fan,Mode,Steps\n\
        2026-01-05T00:00:00+00:00,55.5,true,heat,1\n\
        2026-01-05T00:05:00+00:00,56,false,cool,2\n\
        2026-01-05T00:10:00+00:00,,true,off,3\n";

    fn device(extra: &Value, registry: Option<&str>) -> Result<Device, DriverError> {
        let data = Rows::from_csv(DATA.as_bytes()).expect("csv");
        let data: Vec<Value> = data.0.into_iter().map(|row| Value::Object(row.into_cells())).collect();
        let mut config = json!({ "data": data });
        config.as_object_mut().expect("object").extend(extra.as_object().expect("object").clone());
        let context = DeviceContext { path: "a/b", driver_type: "csv" };
        let registry = registry.map(|csv| Rows::from_csv(csv.as_bytes()).expect("csv"));
        Device::new(ReplayFactory.configure(&context, &config, registry)?)
    }

    async fn scrape(device: &Device) -> Value {
        Value::Object(device.named(&device.scrape().await.expect("scrape")))
    }

    #[tokio::test(start_paused = true)]
    async fn rows_follow_the_time_and_begin_again() {
        let device = device(&json!({"speed": 60}), None).expect("device");
        let types: Vec<&str> = device.points().iter().map(|p| p.value_type.as_str()).collect();
        assert_eq!(types, ["float", "boolean", "string", "integer"]);
        assert_eq!(
            scrape(&device).await,
            json!({"SupplyTemp": 55.5, "Fan": true, "Mode": "heat", "Steps": 1})
        );
        tokio::time::advance(Duration::from_millis(4900)).await;
        assert_eq!(scrape(&device).await["Steps"], 1);
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!(
            scrape(&device).await,
            json!({"SupplyTemp": 56.0, "Fan": false, "Mode": "cool", "Steps": 2})
        );
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(scrape(&device).await, json!({"Fan": true, "Mode": "off", "Steps": 3}));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(scrape(&device).await["Steps"], 1);
    }

    #[tokio::test(start_paused = true)]
    async fn without_repeating_the_last_row_stays() {
        let device = device(&json!({"loop": false}), None).expect("device");
        tokio::time::advance(Duration::from_hours(24)).await;
        assert_eq!(scrape(&device).await["Steps"], 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_written_point_holds_until_reverted() {
        let registry =
            "Volttron Point Name,Point Name,Units,Writable,Type\nSetpoint,SupplyTemp,F,TRUE,float\n";
        let device = device(&json!({}), Some(registry)).expect("device");
        let kw = Kwargs::new();
        assert_eq!(device.set_point("Setpoint", &json!("60"), &kw).await, Ok(json!(60.0)));
        assert_eq!(scrape(&device).await, json!({"Setpoint": 60.0}));
        assert_eq!(device.revert_all(&kw).await, []);
        assert_eq!(scrape(&device).await, json!({"Setpoint": 55.5}));
    }

    #[tokio::test]
    async fn wrong_configurations_are_named() {
        for (config, registry, text) in [
            (json!({"speed": 0}), None, "speed"),
            (json!({"speeed": 1}), None, "unknown field"),
            (json!({"timestamp_column": "when"}), None, "no column 'when'"),
            (json!({"timestamp_column": "Mode"}), None, "registry row 2, column 'Mode'"),
            (json!({}), Some("Volttron Point Name\nX\n"), "no column 'X'"),
            (json!({}), Some("Volttron Point Name,Type\nMode,integer\n"), "'heat' is no integer"),
            (json!({"data": null}), None, "csv_path or data"),
            (json!({"data": null, "csv_path": "/nonexistent/file"}), None, "cannot read /nonexistent/file"),
        ] {
            let error = device(&config, registry).err().expect("error").to_string();
            assert!(error.contains(text), "{config}: {error}");
        }
    }
}
