//! What can go wrong between a caller and a device, with the names callers of the original driver compare.

/// A failure of a device, its configuration or one of its points.
///
/// The variant decides the exception type that crosses the bus ([`DriverError::exc_type`]); the text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The device entry or its registry is wrong; nothing but an edit helps.
    #[error("{0}")]
    Config(String),
    /// The device has no such point.
    #[error("Point not configured on device: {0}")]
    UnknownPoint(String),
    /// A write to a point that its registry row does not mark writable.
    #[error("Trying to write to a point configured read only: {0}")]
    ReadOnly(String),
    /// The value does not fit the point (type, range).
    #[error("{0}")]
    Value(String),
    /// The device did not answer at all: refused, timed out, connection lost.
    #[error("{0}")]
    Unreachable(String),
    /// The device answered, with an error for this point or request.
    #[error("{0}")]
    Device(String),
}

impl DriverError {
    /// Exception type as `<module>.<class>`, as the Python driver would have raised it (drivers.md section 7).
    pub fn exc_type(&self) -> &'static str {
        match self {
            Self::Config(_) => "platform_driver.driver_exceptions.DriverConfigError",
            Self::UnknownPoint(_) => "platform_driver.interfaces.DriverInterfaceError",
            Self::Value(_) => "builtins.ValueError",
            Self::ReadOnly(_) | Self::Unreachable(_) | Self::Device(_) => "builtins.OSError",
        }
    }

    /// `TypeName('message')`: the form of an error inside the results of the `*_multiple_points` methods.
    pub fn repr(&self) -> String {
        let class = self.exc_type().rsplit('.').next().unwrap_or("Exception");
        format!("{class}({})", volttron_utils::json::python::repr_str(&self.to_string()))
    }

    /// True when the whole device is affected, so trying its other points now is pointless.
    pub fn is_device_wide(&self) -> bool {
        matches!(self, Self::Config(_) | Self::Unreachable(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_forms_are_those_of_the_original() {
        let table = [
            (
                DriverError::ReadOnly("t".into()),
                "OSError('Trying to write to a point configured read only: t')",
            ),
            (
                DriverError::UnknownPoint("x".into()),
                "DriverInterfaceError('Point not configured on device: x')",
            ),
            (DriverError::Config("bad".into()), "DriverConfigError('bad')"),
            (DriverError::Value("it's".into()), "ValueError(\"it's\")"),
        ];
        for (error, repr) in table {
            assert_eq!(error.repr(), repr);
        }
    }
}
