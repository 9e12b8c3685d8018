//! The protocol: here a directory whose files hold one number each, as Linux shows its sensors. To be replaced by that of
//! your device; everything else of this crate may stay.

use std::path::PathBuf;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;
use volttron_client::driver::{
    Driver, DriverError, Kwargs, Point, PointId, PointKind, PointType, Reading, Rows,
};

/// One device.
pub struct Files {
    points: Vec<Point>,
    paths: Vec<PathBuf>,
}

impl Files {
    /// The registers of a device. Does no IO: the device need not be up yet.
    ///
    /// Columns: `Point Name` (required), `File` (required, relative to `directory`), `Units`, `Writable`, `Notes`.
    pub fn configure(directory: &str, rows: &Rows) -> Result<Self, DriverError> {
        let mut device = Self { points: Vec::new(), paths: Vec::new() };
        for row in &rows.0 {
            let (name, file) = (row.text("Point Name"), row.text("File"));
            if name.is_empty() {
                return Err(row.error("Point Name", "is missing"));
            }
            if file.is_empty() {
                return Err(row.error("File", "is missing"));
            }
            device.paths.push(PathBuf::from(directory).join(file.as_ref()));
            device.points.push(Point {
                name: name.into_owned(),
                units: row.units(),
                kind: PointKind::Byte,
                value_type: PointType::Float,
                read_only: !row.is_true("Writable"),
                description: row.text("Notes").into_owned(),
                row: row.number,
            });
        }
        Ok(device)
    }

    async fn read_one(&self, id: PointId) -> Result<Value, DriverError> {
        let path = &self.paths[id];
        let text = tokio::fs::read_to_string(path)
            .await
            .map_err(|e| DriverError::Device(format!("{}: {e}", path.display())))?;
        let number: f64 = text
            .trim()
            .parse()
            .map_err(|_| DriverError::Device(format!("{} holds no number", path.display())))?;
        Ok(Value::from(number))
    }
}

impl Driver for Files {
    fn points(&self) -> &[Point] {
        &self.points
    }

    fn read<'a>(
        &'a self,
        ids: &'a [PointId],
        _: &'a Kwargs,
    ) -> BoxFuture<'a, Result<Vec<Reading>, DriverError>> {
        async move {
            let mut readings = Vec::with_capacity(ids.len());
            for id in ids {
                readings.push((*id, self.read_one(*id).await));
            }
            Ok(readings)
        }
        .boxed()
    }

    fn write<'a>(
        &'a self,
        id: PointId,
        value: &'a Value,
        _: &'a Kwargs,
    ) -> BoxFuture<'a, Result<Value, DriverError>> {
        async move {
            let number =
                value.as_f64().ok_or_else(|| DriverError::Value(format!("{value} is not a number")))?;
            let path = &self.paths[id];
            tokio::fs::write(path, number.to_string())
                .await
                .map_err(|e| DriverError::Device(format!("{}: {e}", path.display())))?;
            self.read_one(id).await
        }
        .boxed()
    }
}
