//! Points: what a device offers under a name, and the metadata that travels with every reading.

use serde_json::{Map, Value};

/// Index of a point in [`super::Driver::points`]; stable for the life of a driver instance.
pub type PointId = usize;

/// Extra keyword arguments of an RPC call, passed through to the driver (BACnet priorities and the like).
pub type Kwargs = Map<String, Value>;

/// Native type of a point, as its metadata names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointType {
    /// `boolean`: bit registers and flags.
    Boolean,
    /// `integer`
    Integer,
    /// `float`
    Float,
    /// `string`
    String,
}

impl PointType {
    /// The text in the metadata.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::String => "string",
        }
    }
}

/// Register class: one bit or whole words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointKind {
    /// A single bit (coil, binary input).
    Bit,
    /// One or more words.
    Byte,
}

/// One named point of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Name in topics and RPC calls (`Volttron Point Name`); may hold blanks and `/`.
    pub name: String,
    /// Engineering units as written in the registry; `None` becomes null in the metadata.
    pub units: Option<String>,
    /// Register class.
    pub kind: PointKind,
    /// Native type.
    pub value_type: PointType,
    /// Writes are refused.
    pub read_only: bool,
    /// Free text from the registry.
    pub description: String,
    /// Registry row the point comes from, for messages.
    pub row: usize,
}

impl Point {
    /// The point's metadata (drivers.md section 6). `tz` is a label from the device entry, nothing more.
    pub fn meta(&self, tz: &str) -> Value {
        serde_json::json!({ "units": self.units, "type": self.value_type.as_str(), "tz": tz })
    }
}
