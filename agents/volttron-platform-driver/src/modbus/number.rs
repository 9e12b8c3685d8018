//! Numbers that keep integers and floats apart, as JSON and Python do. Pure.

use serde_json::Value;

/// A register's number. `i128` holds every 64-bit integer, signed or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number.
    Int(i128),
    /// A float.
    Float(f64),
}

impl Number {
    /// From a JSON number, a boolean (0/1) or a text that is a number.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(on) => Some(Self::Int(i128::from(*on))),
            Value::Number(n) => n
                .as_i64()
                .map(i128::from)
                .or_else(|| n.as_u64().map(i128::from))
                .map(Self::Int)
                .or_else(|| n.as_f64().map(Self::Float)),
            Value::String(text) => Self::parse(text),
            _ => None,
        }
    }

    /// From text: an integer if it is one, else a finite float.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(n) = text.parse::<i64>() {
            return Some(Self::Int(n.into()));
        }
        if let Ok(n) = text.parse::<u64>() {
            return Some(Self::Int(n.into()));
        }
        text.parse::<f64>().ok().filter(|n| n.is_finite()).map(Self::Float)
    }

    /// As a float.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(n) => n as f64,
            Self::Float(n) => n,
        }
    }

    /// As an integer when nothing is lost.
    pub fn exact_int(self) -> Option<i128> {
        match self {
            Self::Int(n) => Some(n),
            Self::Float(n) if n.fract() == 0.0 && n.abs() < 1e30 => Some(n as i128),
            Self::Float(_) => None,
        }
    }

    /// The product, an integer when both are.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        if let (Self::Int(a), Self::Int(b)) = (self, other) {
            return a.checked_mul(b).map_or(Self::Float(a as f64 * b as f64), Self::Int);
        }
        let digits = self.decimals() + other.decimals();
        Self::Float(round_to(self.as_f64() * other.as_f64(), digits))
    }

    /// Digits after the decimal point in the shortest text of the number.
    fn decimals(self) -> usize {
        match self {
            Self::Int(_) => 0,
            Self::Float(n) => format!("{n}").split_once('.').map_or(0, |(_, digits)| digits.len()),
        }
    }

    /// The JSON value. A float that is not finite has none and becomes null.
    pub fn to_value(self) -> Value {
        match self {
            Self::Int(n) => i64::try_from(n)
                .map(Value::from)
                .or_else(|_| u64::try_from(n).map(Value::from))
                .unwrap_or_else(|_| Value::from(n as f64)),
            Self::Float(n) => Value::from(n),
        }
    }
}

/// Rounds to so many decimals, as Python's `round` does: correctly, from the exact value. Removes the noise of a
/// product such as 553 * 0.1.
pub fn round_to(n: f64, digits: usize) -> f64 {
    if !n.is_finite() || digits > 30 {
        return n;
    }
    format!("{n:.digits$}").parse().unwrap_or(n)
}

/// A boolean from JSON: true/false, a number (not zero), or the usual words.
pub fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(on) => Some(*on),
        Value::Number(n) => n.as_f64().map(|n| n != 0.0),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "on" | "yes" | "y" | "1" => Some(true),
            "false" | "f" | "off" | "no" | "n" | "0" => Some(false),
            other => other.parse::<f64>().ok().map(|n| n != 0.0),
        },
        _ => None,
    }
}

/// IEEE 754 half precision to double, exactly.
pub fn half_to_f64(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from((bits >> 10) & 0x1F);
    let fraction = f64::from(bits & 0x3FF);
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}

/// Double to half precision, to nearest even; `None` when a finite number is too large.
pub fn half_from_f64(n: f64) -> Option<u16> {
    let sign = if n.is_sign_negative() { 0x8000 } else { 0 };
    if n.is_nan() {
        return Some(0x7E00);
    }
    let size = n.abs();
    if size.is_infinite() {
        return Some(sign | 0x7C00);
    }
    if size >= 65520.0 {
        return None;
    }
    // The spacing of halves near `size`; counting in it gives the bit pattern because exponents are contiguous.
    let exponent = (size.log2().floor() as i32).clamp(-14, 15);
    let exponent = if size < 2f64.powi(exponent) { exponent - 1 } else { exponent }.max(-14);
    let steps = (size / 2f64.powi(exponent - 10)).round_ties_even() as u16;
    let base = if exponent == -14 { 0 } else { ((exponent + 14) as u16) << 10 };
    Some(sign | (base + steps))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn integers_stay_integers() {
        assert_eq!(Number::from_value(&json!(1)), Some(Number::Int(1)));
        assert_eq!(Number::from_value(&json!(1.0)), Some(Number::Float(1.0)));
        assert_eq!(Number::from_value(&json!(u64::MAX)).map(Number::to_value), Some(json!(u64::MAX)));
        assert_eq!(Number::from_value(&json!(" 12 ")), Some(Number::Int(12)));
        assert_eq!(Number::from_value(&json!("1e2")), Some(Number::Float(100.0)));
        assert_eq!(Number::from_value(&json!("inf")), None);
        assert_eq!(Number::Int(3).times(Number::Int(4)), Number::Int(12));
        assert_eq!(Number::Float(f64::NAN).to_value(), json!(null));
    }

    #[test]
    fn products_have_no_binary_noise() {
        assert_eq!(Number::Int(553).times(Number::Float(0.1)), Number::Float(55.3));
        assert_eq!(Number::Int(3).times(Number::Float(0.00001)), Number::Float(0.00003));
        assert_eq!(Number::Float(1.1).times(Number::Float(1.1)), Number::Float(1.21));
    }

    #[test]
    fn every_half_float_survives_a_round_trip() {
        for bits in 0..=u16::MAX {
            let n = half_to_f64(bits);
            if !n.is_nan() {
                assert_eq!(half_from_f64(n), Some(bits), "{bits:#x} = {n}");
            }
        }
        assert_eq!(half_from_f64(65520.0), None);
        assert_eq!(half_from_f64(1.0 + 1.0 / 4096.0), Some(0x3C00));
    }
}
