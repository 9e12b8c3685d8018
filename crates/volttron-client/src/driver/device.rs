//! A device as callers see it: points by name over a [`Driver`], with the revert rules applied.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};

use super::{Driver, DriverError, Kwargs, Point, PointId, Reading, RevertTracker, Rows};

/// One configured device.
pub struct Device {
    driver: Box<dyn Driver>,
    by_name: HashMap<String, PointId>,
    all: Vec<PointId>,
    revert: Mutex<RevertTracker>,
}

/// What a scrape brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    /// Values in the order of the registry.
    pub values: Vec<(PointId, Value)>,
    /// Configured points without a value, and why.
    pub missing: Vec<(PointId, DriverError)>,
}

impl Device {
    /// Wraps a configured driver; refuses two points of one name.
    pub fn new(driver: Box<dyn Driver>) -> Result<Self, DriverError> {
        let points = driver.points();
        Rows::refuse_duplicates(points.iter().map(|p| (p.row, p.name.as_str())))?;
        let by_name = points.iter().enumerate().map(|(id, p)| (p.name.clone(), id)).collect();
        let all = (0..points.len()).collect();
        let revert = Mutex::new(RevertTracker::new(driver.defaults()));
        Ok(Self { driver, by_name, all, revert })
    }

    /// All points, in registry order.
    pub fn points(&self) -> &[Point] {
        self.driver.points()
    }

    fn id(&self, name: &str) -> Result<PointId, DriverError> {
        self.by_name.get(name).copied().ok_or_else(|| DriverError::UnknownPoint(name.to_owned()))
    }

    fn tracker(&self) -> MutexGuard<'_, RevertTracker> {
        // The tracker stays consistent between its calls, so a panic elsewhere does not spoil it.
        self.revert.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads one point.
    pub async fn get_point(&self, name: &str, kw: &Kwargs) -> Result<Value, DriverError> {
        let id = self.id(name)?;
        let readings = self.driver.read(&[id], kw).await?;
        readings.into_iter().find(|(got, _)| *got == id).map_or_else(
            || Err(DriverError::Device(format!("the device gave no value for {name}"))),
            |(_, result)| result,
        )
    }

    /// Writes one point; gives the value now in force.
    pub async fn set_point(&self, name: &str, value: &Value, kw: &Kwargs) -> Result<Value, DriverError> {
        let id = self.id(name)?;
        if self.points()[id].read_only {
            return Err(DriverError::ReadOnly(name.to_owned()));
        }
        let made_dirty = self.tracker().writing(id);
        let written = self.driver.write(id, value, kw).await;
        if written.is_err() {
            self.tracker().write_failed(id, made_dirty);
        }
        written
    }

    /// Reads every point, best effort. An error when nothing could be read.
    pub async fn scrape(&self) -> Result<Scrape, DriverError> {
        let readings = self.driver.read(&self.all, &Kwargs::new()).await?;
        let mut by_id: Vec<Option<Result<Value, DriverError>>> = vec![None; self.all.len()];
        for (id, result) in readings {
            if let Some(place) = by_id.get_mut(id) {
                *place = Some(result);
            }
        }
        let mut scrape = Scrape::default();
        for (id, result) in by_id.into_iter().enumerate() {
            match result {
                Some(Ok(value)) => scrape.values.push((id, value)),
                Some(Err(error)) => scrape.missing.push((id, error)),
                None => scrape.missing.push((id, DriverError::Device("no value".into()))),
            }
        }
        self.tracker().scraped(scrape.values.iter().map(|(id, value)| (*id, value)));
        match (scrape.values.is_empty(), scrape.missing.first()) {
            (true, Some((_, first))) => {
                Err(DriverError::Device(format!("no point could be read; the first failed with: {first}")))
            }
            _ => Ok(scrape),
        }
    }

    /// Puts one point back: to its default, else to its last value before an agent wrote it, else nowhere.
    pub async fn revert_point(&self, name: &str, kw: &Kwargs) -> Result<(), DriverError> {
        self.revert_id(self.id(name)?, kw).await
    }

    async fn revert_id(&self, id: PointId, kw: &Kwargs) -> Result<(), DriverError> {
        if self.points()[id].read_only {
            return Err(DriverError::ReadOnly(self.points()[id].name.clone()));
        }
        if let Some(own) = self.driver.own_revert() {
            return own.revert(id, kw).await;
        }
        let value = self.tracker().value_for(id);
        if let Some(value) = value {
            self.driver.write(id, &value, kw).await?;
            self.tracker().reverted(id);
        }
        Ok(())
    }

    /// Puts the whole device back and goes on past failures, which it returns by point name.
    pub async fn revert_all(&self, kw: &Kwargs) -> Vec<(String, DriverError)> {
        let ids = match self.driver.own_revert() {
            Some(_) => self.all.iter().copied().filter(|id| !self.points()[*id].read_only).collect(),
            None => self.tracker().all(),
        };
        let mut failures = Vec::new();
        for id in ids {
            if let Err(error) = self.revert_id(id, kw).await {
                failures.push((self.points()[id].name.clone(), error));
            }
        }
        failures
    }

    /// Reads several points in as few requests as the protocol allows: values and errors by point name. Never fails as
    /// a whole.
    pub async fn get_multiple(
        &self,
        names: &[String],
        kw: &Kwargs,
    ) -> (Vec<(String, Value)>, Vec<(String, DriverError)>) {
        let (mut values, mut errors) = (Vec::new(), Vec::new());
        let mut ids = Vec::new();
        for name in names {
            match self.id(name) {
                Ok(id) => ids.push(id),
                Err(error) => errors.push((name.clone(), error)),
            }
        }
        let readings: Vec<Reading> = if ids.is_empty() {
            Vec::new()
        } else {
            match self.driver.read(&ids, kw).await {
                Ok(readings) => readings,
                Err(error) => ids.iter().map(|id| (*id, Err(error.clone()))).collect(),
            }
        };
        for (id, result) in readings {
            let name = self.points()[id].name.clone();
            match result {
                Ok(value) => values.push((name, value)),
                Err(error) => errors.push((name, error)),
            }
        }
        (values, errors)
    }

    /// Writes several points one after the other; gives the failures by point name.
    pub async fn set_multiple(&self, points: &[(String, Value)], kw: &Kwargs) -> Vec<(String, DriverError)> {
        let mut failures = Vec::new();
        for (name, value) in points {
            if let Err(error) = self.set_point(name, value, kw).await {
                failures.push((name.clone(), error));
            }
        }
        failures
    }

    /// Values by point name, in registry order: the answer of the `scrape_all` method.
    pub fn named(&self, scrape: &Scrape) -> Map<String, Value> {
        scrape.values.iter().map(|(id, value)| (self.points()[*id].name.clone(), value.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{PointKind, PointType};
    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;
    use serde_json::json;

    /// Four integer points in memory: `a` and `b` writable (`b` with default 5), `ro` read-only, `bad` never readable.
    struct Memory {
        points: Vec<Point>,
        values: Mutex<Vec<i64>>,
    }

    impl Memory {
        fn device() -> Device {
            let point = |name: &str, read_only| Point {
                name: name.into(),
                units: None,
                kind: PointKind::Byte,
                value_type: PointType::Integer,
                read_only,
                description: String::new(),
                row: 2,
            };
            let points = vec![point("a", false), point("b", false), point("ro", true), point("bad", true)];
            Device::new(Box::new(Self { points, values: Mutex::new(vec![1, 2, 3, 4]) })).expect("device")
        }
    }

    impl Driver for Memory {
        fn points(&self) -> &[Point] {
            &self.points
        }
        fn read<'a>(
            &'a self,
            ids: &'a [PointId],
            _: &'a Kwargs,
        ) -> BoxFuture<'a, Result<Vec<Reading>, DriverError>> {
            let values = self.values.lock().expect("lock").clone();
            async move {
                Ok(ids
                    .iter()
                    .map(|id| match *id {
                        3 => (3, Err(DriverError::Device("illegal address".into()))),
                        id => (id, Ok(json!(values[id]))),
                    })
                    .collect())
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
                let number = value.as_i64().ok_or_else(|| DriverError::Value("not an integer".into()))?;
                self.values.lock().expect("lock")[id] = number;
                Ok(json!(number))
            }
            .boxed()
        }
        fn defaults(&self) -> Vec<(PointId, Value)> {
            vec![(1, json!(5))]
        }
    }

    fn kw() -> Kwargs {
        Kwargs::new()
    }

    #[tokio::test]
    async fn points_are_found_by_name_and_writes_respect_read_only() {
        let device = Memory::device();
        assert_eq!(device.get_point("a", &kw()).await, Ok(json!(1)));
        assert_eq!(device.get_point("x", &kw()).await, Err(DriverError::UnknownPoint("x".into())));
        assert_eq!(device.set_point("a", &json!(9), &kw()).await, Ok(json!(9)));
        assert_eq!(device.set_point("ro", &json!(9), &kw()).await, Err(DriverError::ReadOnly("ro".into())));
    }

    #[tokio::test]
    async fn a_scrape_leaves_out_what_failed_and_keeps_the_order() {
        let device = Memory::device();
        let scrape = device.scrape().await.expect("scrape");
        assert_eq!(Value::Object(device.named(&scrape)), json!({"a": 1, "b": 2, "ro": 3}));
        assert_eq!(scrape.missing, [(3, DriverError::Device("illegal address".into()))]);
    }

    #[tokio::test]
    async fn reverting_uses_default_then_clean_value_then_nothing() {
        let device = Memory::device();
        device.set_point("a", &json!(50), &kw()).await.expect("set");
        device.revert_point("a", &kw()).await.expect("nothing known: no error");
        assert_eq!(device.get_point("a", &kw()).await, Ok(json!(50)));

        let device = Memory::device();
        device.scrape().await.expect("scrape");
        device.set_point("a", &json!(50), &kw()).await.expect("set");
        device.scrape().await.expect("scrape");
        assert_eq!(device.revert_all(&kw()).await, []);
        let (values, errors) =
            device.get_multiple(&["a".into(), "b".into(), "bad".into(), "x".into()], &kw()).await;
        assert_eq!(values, [("a".into(), json!(1)), ("b".into(), json!(5))]);
        let failed: Vec<&str> = errors.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(failed, ["x", "bad"]);
    }

    #[tokio::test]
    async fn set_multiple_reports_only_failures() {
        let device = Memory::device();
        let points = [("a".into(), json!(7)), ("b".into(), json!("x")), ("ro".into(), json!(1))];
        let failures = device.set_multiple(&points, &kw()).await;
        let names: Vec<&str> = failures.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "ro"]);
        assert_eq!(device.get_point("a", &kw()).await, Ok(json!(7)));
    }
}
