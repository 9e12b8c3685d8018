//! What every device driver needs, whatever protocol it speaks (feature `driver`).
//!
//! Owns: the [`Driver`] contract, registry tables ([`Rows`]), points and their metadata, the default way back for
//! written points ([`RevertTracker`]), scrape slots and times ([`Slots`], [`Schedule`]) and the exact topics, messages
//! and headers of `devices/...` ([`Publisher`]). [`Device`] ties them together for one device.
//!
//! Never does IO, keeps time or talks to the bus: protocols live with the agent that needs them, and the agent decides
//! when to scrape. All but [`Device`] is synchronous and pure.
//!
//! Start at [`Driver`], then [`Device`].

mod device;
mod error;
mod interface;
mod payload;
mod point;
mod revert;
mod rows;
mod schedule;
mod slots;

pub use device::{Device, Scrape};
pub use error::DriverError;
pub use interface::{DeviceContext, Driver, DriverFactory, OwnRevert, Reading};
pub use payload::{Outgoing, PublishFlags, Publisher, time_headers};
pub use point::{Kwargs, Point, PointId, PointKind, PointType};
pub use revert::RevertTracker;
pub use rows::{MAX_ROWS, Row, Rows};
pub use schedule::Schedule;
pub use slots::{Offset, Slots, Stagger};
