//! The contract between the framework and a device protocol.

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::{DriverError, Kwargs, Point, PointId, Rows};

/// The outcome for one point of a [`Driver::read`].
pub type Reading = (PointId, Result<Value, DriverError>);

/// One configured device.
///
/// Methods may run concurrently; a driver serialises what its line needs serialised. Dropping the driver closes
/// what it opened.
pub trait Driver: Send + Sync + 'static {
    /// All points, in registry order. Never changes.
    fn points(&self) -> &[Point];

    /// Reads live values. Answers for every id asked, in any order; `Err` only when the device as a whole cannot be
    /// read.
    fn read<'a>(
        &'a self,
        ids: &'a [PointId],
        kw: &'a Kwargs,
    ) -> BoxFuture<'a, Result<Vec<Reading>, DriverError>>;

    /// Writes one point and returns the value now in force: read back when the protocol makes that cheap, else the
    /// value as written. Read-only points never get here.
    fn write<'a>(
        &'a self,
        id: PointId,
        value: &'a Value,
        kw: &'a Kwargs,
    ) -> BoxFuture<'a, Result<Value, DriverError>>;

    /// Values the registry names as the way back for [`super::RevertTracker`].
    fn defaults(&self) -> Vec<(PointId, Value)> {
        Vec::new()
    }

    /// `Some` when the protocol has its own way back (a priority array, a replay that resumes), which then replaces
    /// the revert tracker for every point.
    fn own_revert(&self) -> Option<&dyn OwnRevert> {
        None
    }
}

/// A protocol's own way of undoing writes.
pub trait OwnRevert: Send + Sync {
    /// Undoes what agents wrote to this point; does nothing when there is nothing to undo.
    fn revert<'a>(&'a self, id: PointId, kw: &'a Kwargs) -> BoxFuture<'a, Result<(), DriverError>>;
}

/// Makes drivers of one kind; owns what its devices share (connection pools, caches).
pub trait DriverFactory: Send + Sync + 'static {
    /// Builds the registers of a device. Must not need the device to be up, so it does no IO to it.
    fn configure(
        &self,
        device: &DeviceContext<'_>,
        config: &Value,
        rows: Option<Rows>,
    ) -> Result<Box<dyn Driver>, DriverError>;
}

/// What a factory may know about the device it configures.
#[derive(Clone, Copy, Debug)]
pub struct DeviceContext<'a> {
    /// Device path without `devices/`.
    pub path: &'a str,
    /// The `driver_type` as written in the entry: one factory may serve several.
    pub driver_type: &'a str,
}
