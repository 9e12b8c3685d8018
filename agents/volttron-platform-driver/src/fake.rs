//! The `fakedriver` (drivers.md 9.1): points that live in memory, for tests, demos and measurements of scale.

use std::f64::consts::PI;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use jiff::Timestamp;
use serde_json::Value;
use volttron_client::driver::{
    DeviceContext, Driver, DriverError, DriverFactory, Kwargs, Point, PointId, PointKind, PointType, Reading,
    Row, Rows,
};

use crate::modbus::number::{Number, truth};

/// Makes fake devices.
pub struct FakeFactory;

impl DriverFactory for FakeFactory {
    fn configure(
        &self,
        device: &DeviceContext<'_>,
        _: &Value,
        rows: Option<Rows>,
    ) -> Result<Box<dyn Driver>, DriverError> {
        let rows = rows.ok_or_else(|| DriverError::Config("a fake device needs a registry_config".into()))?;
        let mut fake = Fake { points: Vec::new(), starts: Vec::new(), sources: Mutex::default() };
        let mut sources = Vec::new();
        for row in &rows.0 {
            let key = row.text("Point Name");
            let name =
                row.first_of(&["Volttron Point Name", "Point Name"]).map(|(_, name)| name.into_owned());
            let Some(name) = name.filter(|_| !key.is_empty()) else { continue };
            let value_type = parse_type(row)?;
            let start = row.has("Starting Value").then(|| row.text("Starting Value").into_owned());
            if key.starts_with("EKG") {
                sources.push(Source::Wave { function: Wave::parse(start.as_deref()), amplitude: 1.0 });
                fake.starts.push(Value::from(1.0));
            } else {
                // A table without the column gives the text `sin`, as the original does.
                let text = match start {
                    None => "sin".to_owned(),
                    Some(text) if text.is_empty() => made_up(device.path, &name),
                    Some(text) => text,
                };
                let value = cast(&Value::from(text), value_type).unwrap_or_else(|| zero(value_type));
                fake.starts.push(value.clone());
                sources.push(Source::Held(value));
            }
            let kind = if value_type == PointType::Boolean { PointKind::Bit } else { PointKind::Byte };
            fake.points.push(Point {
                name,
                units: row.units(),
                kind,
                value_type,
                read_only: !row.is_true("Writable"),
                description: row.text("Notes").into_owned(),
                row: row.number,
            });
        }
        fake.sources = Mutex::new(sources);
        Ok(Box::new(fake))
    }
}

fn parse_type(row: &Row) -> Result<PointType, DriverError> {
    match row.text("Type").to_ascii_lowercase().as_str() {
        "" | "str" | "string" => Ok(PointType::String),
        "int" | "integer" => Ok(PointType::Integer),
        "float" => Ok(PointType::Float),
        "bool" | "boolean" => Ok(PointType::Boolean),
        other => Err(row.error("Type", format!("'{other}' is none of string, integer, float, boolean"))),
    }
}

/// A starting value for an empty cell: 0 to 100, the same one each time for a point.
fn made_up(path: &str, name: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (path, name).hash(&mut hasher);
    (hasher.finish() % 101).to_string()
}

fn zero(value_type: PointType) -> Value {
    match value_type {
        PointType::Boolean => false.into(),
        PointType::Integer => 0.into(),
        PointType::Float => 0.0.into(),
        PointType::String => "".into(),
    }
}

/// A value as the point's type; `None` when it cannot be.
pub(crate) fn cast(value: &Value, value_type: PointType) -> Option<Value> {
    match value_type {
        PointType::Boolean => truth(value).map(Value::from),
        PointType::Integer => match Number::from_value(value)? {
            Number::Float(n) if n.is_finite() => Some(Number::Int(n.trunc() as i128).to_value()),
            Number::Float(_) => None,
            whole @ Number::Int(_) => Some(whole.to_value()),
        },
        PointType::Float => Number::from_value(value).map(|n| Value::from(n.as_f64())),
        PointType::String => Some(match value {
            Value::String(_) => value.clone(),
            other => other.to_string().into(),
        }),
    }
}

/// The functions an `EKG` row can name.
#[derive(Clone, Copy, Debug)]
struct Wave(fn(f64) -> f64);

impl Wave {
    fn parse(name: Option<&str>) -> Self {
        Self(match name.unwrap_or("sin") {
            "cos" => f64::cos,
            "tan" => f64::tan,
            "asin" => f64::asin,
            "acos" => f64::acos,
            "atan" => f64::atan,
            "sinh" => f64::sinh,
            "cosh" => f64::cosh,
            "tanh" => f64::tanh,
            "asinh" => f64::asinh,
            "acosh" => f64::acosh,
            "atanh" => f64::atanh,
            "sqrt" => f64::sqrt,
            _ => f64::sin,
        })
    }
}

#[derive(Clone, Debug)]
enum Source {
    /// Keeps what is written.
    Held(Value),
    /// amplitude * function(pi * second / 30); a write sets the amplitude.
    Wave { function: Wave, amplitude: f64 },
}

struct Fake {
    points: Vec<Point>,
    starts: Vec<Value>,
    sources: Mutex<Vec<Source>>,
}

impl Fake {
    fn sources(&self) -> MutexGuard<'_, Vec<Source>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_now(&self, id: PointId, value: &Value) -> Result<Value, DriverError> {
        let mut sources = self.sources();
        match &mut sources[id] {
            Source::Held(held) => {
                let value_type = self.points[id].value_type;
                *held = cast(value, value_type).ok_or_else(|| {
                    DriverError::Value(format!(
                        "{value} cannot be made a value of type {}",
                        value_type.as_str()
                    ))
                })?;
                Ok(held.clone())
            }
            Source::Wave { amplitude, .. } => {
                let number = Number::from_value(value);
                *amplitude =
                    number.ok_or_else(|| DriverError::Value(format!("{value} is not a number")))?.as_f64();
                Ok(Value::from(*amplitude))
            }
        }
    }
}

fn sample(source: &Source, second: f64) -> Result<Value, DriverError> {
    match source {
        Source::Held(value) => Ok(value.clone()),
        Source::Wave { function, amplitude } => {
            let value = amplitude * (function.0)(PI * second / 30.0);
            if value.is_finite() {
                Ok(value.into())
            } else {
                Err(DriverError::Value("the function has no value here".into()))
            }
        }
    }
}

impl Driver for Fake {
    fn points(&self) -> &[Point] {
        &self.points
    }

    fn read<'a>(
        &'a self,
        ids: &'a [PointId],
        _: &'a Kwargs,
    ) -> BoxFuture<'a, Result<Vec<Reading>, DriverError>> {
        let second = Timestamp::now().as_second().rem_euclid(60) as f64;
        let sources = self.sources();
        let readings = ids.iter().map(|id| (*id, sample(&sources[*id], second))).collect();
        ready(Ok(readings)).boxed()
    }

    fn write<'a>(
        &'a self,
        id: PointId,
        value: &'a Value,
        _: &'a Kwargs,
    ) -> BoxFuture<'a, Result<Value, DriverError>> {
        ready(self.write_now(id, value)).boxed()
    }

    fn defaults(&self) -> Vec<(PointId, Value)> {
        self.starts.iter().cloned().enumerate().filter(|(id, _)| !self.points[*id].read_only).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use volttron_client::driver::Device;

    fn device(csv: &str) -> Result<Device, DriverError> {
        let context = DeviceContext { path: "a/b", driver_type: "fake" };
        Device::new(FakeFactory.configure(&context, &json!({}), Some(Rows::from_csv(csv.as_bytes())?))?)
    }

    const REGISTRY: &str = "Point Name,Volttron Point Name,Units,Units Details,Writable,Starting Value,Type,Notes\n\
        Heartbeat,Heartbeat,On/Off,,TRUE,FALSE,boolean,toggled\n\
        EKG1,Pulse,mV,,TRUE,cos,float,\n\
        OAT,OutsideAirTemperature,F,-40 to 140,FALSE,50,float,\n\
        N,Count,,,TRUE,abc,int,\n\
        S,Text,,,TRUE,,,\n\
        ,Skipped,,,TRUE,1,int,\n";

    #[tokio::test]
    async fn points_start_as_the_registry_says_and_hold_what_is_written() {
        let device = device(REGISTRY).expect("device");
        let scrape = device.scrape().await.expect("scrape");
        let values = device.named(&scrape);
        assert_eq!(values["Heartbeat"], json!(false));
        assert_eq!(values["OutsideAirTemperature"], json!(50.0));
        assert_eq!(values["Count"], json!(0));
        assert!(values["Text"].as_str().is_some_and(|t| t.parse::<u32>().is_ok_and(|n| n <= 100)));
        assert!(values["Pulse"].as_f64().is_some_and(|v| v.abs() <= 1.0));
        assert!(!values.contains_key("Skipped"));
        let kw = Kwargs::new();
        for (point, value, now) in [
            ("Heartbeat", json!(1), json!(true)),
            ("Count", json!("12"), json!(12)),
            ("Count", json!(3.9), json!(3)),
            ("Text", json!(5), json!("5")),
            ("Pulse", json!(7), json!(7.0)),
        ] {
            assert_eq!(device.set_point(point, &value, &kw).await, Ok(now), "{point}");
        }
        assert!(matches!(device.set_point("Count", &json!("x"), &kw).await, Err(DriverError::Value(_))));
        assert!(matches!(
            device.set_point("OutsideAirTemperature", &json!(1), &kw).await,
            Err(DriverError::ReadOnly(_))
        ));
        assert_eq!(device.revert_all(&kw).await, []);
        assert_eq!(device.get_point("Count", &kw).await, Ok(json!(0)));
        assert_eq!(device.get_point("Heartbeat", &kw).await, Ok(json!(false)));
    }

    #[test]
    fn metadata_has_the_true_type() {
        let device = device(REGISTRY).expect("device");
        let types: Vec<&str> = device.points().iter().map(|p| p.value_type.as_str()).collect();
        assert_eq!(types, ["boolean", "float", "float", "integer", "string"]);
    }

    #[test]
    fn a_wrong_type_names_its_row() {
        let error =
            device("Point Name,Volttron Point Name,Type\na,a,complex\n").err().expect("error").to_string();
        assert!(error.starts_with("registry row 2, column 'Type': 'complex'"), "{error}");
    }

    #[test]
    fn waves_follow_the_second() {
        let wave = |name: &str, second| {
            sample(&Source::Wave { function: Wave::parse(Some(name)), amplitude: 2.0 }, second)
        };
        assert_eq!(wave("cos", 0.0), Ok(json!(2.0)));
        assert!(wave("sin", 15.0).is_ok_and(|v| (v.as_f64().unwrap_or(0.0) - 2.0).abs() < 1e-12));
        assert!(wave("acosh", 0.0).is_err());
    }
}
