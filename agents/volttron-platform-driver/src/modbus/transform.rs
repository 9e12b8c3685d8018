//! The `Transform` column: from raw register values to engineering values and back. Pure.

use volttron_client::driver::DriverError;

use super::number::Number;

/// Sign bit of the sign-and-magnitude words that `scale_decimal_int_signed` reads (PM800 power factors).
const SIGN: i128 = 32_768;

/// A parsed `Transform` cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Transform {
    /// `scale(k)`: times k, rounded to the decimals of both.
    Scale(Number),
    /// `scale_int(k)`: times k, cut to an integer.
    ScaleInt(Number),
    /// `scale_decimal_int_signed(k)`: a sign bit with a magnitude instead of two's complement, times k.
    ScaleSigned(Number),
    /// `scale_reg(name)`: divided by that register's value.
    ScaleReg(String),
    /// `scale_reg_pow_10(name)`: times ten to the power of that register's value.
    ScaleRegPow10(String),
    /// `mod10k(rev)`: two words of four decimal digits each; `groups` names the words, most significant first.
    Mod10k(&'static [u8]),
}

impl Transform {
    /// Parses a cell; empty means none. The error text fits behind a column name.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let text = text.trim();
        if text.is_empty() || text == "no_op" || text == "no_op()" {
            return Ok(None);
        }
        let bad =
            || format!("'{text}' is no known transform; write for example scale(0.1) or scale_reg(name)");
        let (name, rest) = text.split_once('(').unwrap_or((text, ")"));
        let arg = rest.trim_end().strip_suffix(')').ok_or_else(bad)?.trim();
        let factor = || match Number::parse(arg) {
            Some(k) if k.as_f64() != 0.0 => Ok(k),
            _ => Err(format!("'{text}': the factor must be a number other than 0")),
        };
        let register = || {
            let name = arg.trim_matches(['\'', '"']).trim();
            if name.is_empty() { Err(format!("'{text}' names no register")) } else { Ok(name.to_owned()) }
        };
        let reversed = || match arg.to_ascii_lowercase().as_str() {
            "t" | "y" | "true" | "yes" | "1" => Ok(true),
            "f" | "n" | "false" | "no" | "0" | "" => Ok(false),
            _ => Err(format!("'{text}': write true or false")),
        };
        // Words are numbered from the least significant of the raw integer.
        let groups = |forward: &'static [u8], backward: &'static [u8]| {
            reversed().map(|rev| Self::Mod10k(if rev { backward } else { forward }))
        };
        Ok(Some(match name.trim() {
            "scale" => Self::Scale(factor()?),
            "scale_int" => Self::ScaleInt(factor()?),
            "scale_decimal_int_signed" => Self::ScaleSigned(factor()?),
            "scale_reg" => Self::ScaleReg(register()?),
            // The second spelling is the one of the original's documents.
            "scale_reg_pow_10" | "scale_reg_power10" => Self::ScaleRegPow10(register()?),
            "mod10k" => groups(&[1, 0], &[0, 1])?,
            "mod10k48" => groups(&[1, 2, 3], &[0, 1, 2])?,
            "mod10k64" => groups(&[0, 1, 2, 3], &[3, 2, 1, 0])?,
            _ => return Err(bad()),
        }))
    }

    /// The register whose value the transform needs, if any.
    pub fn scaling_register(&self) -> Option<&str> {
        match self {
            Self::ScaleReg(name) | Self::ScaleRegPow10(name) => Some(name),
            _ => None,
        }
    }

    /// True when results are floats even for integer registers.
    pub fn gives_float(&self) -> bool {
        match self {
            Self::Scale(k) | Self::ScaleSigned(k) => matches!(k, Number::Float(_)),
            Self::ScaleReg(_) | Self::ScaleRegPow10(_) => true,
            Self::ScaleInt(_) | Self::Mod10k(_) => false,
        }
    }

    /// True when a value can be turned back for a write.
    pub fn is_writable(&self) -> bool {
        !matches!(self, Self::Mod10k(_))
    }

    /// Raw to engineering value. `scaling` is the value of [`Self::scaling_register`].
    pub fn apply(&self, raw: Number, scaling: Option<Number>) -> Result<Number, DriverError> {
        match self {
            Self::Scale(k) => Ok(raw.times(*k)),
            Self::ScaleInt(k) => Ok(Number::Int(raw.times(*k).as_f64().trunc() as i128)),
            Self::ScaleSigned(k) => match raw {
                Number::Int(n) if n < 0 => Ok(Number::Int(-(n + SIGN)).times(*k)),
                other => Ok(other.times(*k)),
            },
            Self::ScaleReg(name) => {
                let by = needed(name, scaling)?.as_f64();
                if by == 0.0 {
                    return Err(DriverError::Device(format!("scaling register {name} is 0")));
                }
                Ok(Number::Float(raw.as_f64() / by))
            }
            Self::ScaleRegPow10(name) => Ok(match power(name, scaling)? {
                power if power >= 0 => Number::Float(raw.as_f64() * 10f64.powi(power)),
                // Dividing by the exact power is correctly rounded; multiplying by an inexact 0.1 is not.
                power => Number::Float(raw.as_f64() / 10f64.powi(-power)),
            }),
            Self::Mod10k(groups) => {
                let raw = raw.exact_int().unwrap_or(0);
                let word = |w: u8| (raw >> (16 * u32::from(w))) & 0xFFFF;
                Ok(Number::Int(groups.iter().fold(0, |sum, w| sum * 10_000 + word(*w))))
            }
        }
    }

    /// Engineering to raw value, for writing.
    pub fn invert(&self, value: Number, scaling: Option<Number>) -> Result<Number, DriverError> {
        let v = value.as_f64();
        Ok(Number::Float(match self {
            Self::ScaleInt(k) => (v / k.as_f64()).round(),
            Self::ScaleSigned(k) if v / k.as_f64() < 0.0 => (-v / k.as_f64()).round() - SIGN as f64,
            Self::Scale(k) | Self::ScaleSigned(k) => v / k.as_f64(),
            Self::ScaleReg(name) => v * needed(name, scaling)?.as_f64(),
            Self::ScaleRegPow10(name) => v / 10f64.powi(power(name, scaling)?),
            Self::Mod10k(_) => return Err(DriverError::Value("a mod10k register cannot be written".into())),
        }))
    }
}

fn needed(name: &str, scaling: Option<Number>) -> Result<Number, DriverError> {
    scaling.ok_or_else(|| DriverError::Device(format!("scaling register {name} could not be read")))
}

fn power(name: &str, scaling: Option<Number>) -> Result<i32, DriverError> {
    let power = needed(name, scaling)?.as_f64();
    if power.fract() == 0.0 && power.abs() <= 300.0 {
        Ok(power as i32)
    } else {
        Err(DriverError::Device(format!(
            "scaling register {name} holds {power}, which is no usable power of ten"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Number::{Float, Int};

    fn parse(text: &str) -> Transform {
        Transform::parse(text).expect(text).expect(text)
    }

    #[test]
    fn values_are_those_of_the_original() {
        for (text, raw, scaling, want) in [
            ("scale(0.1)", Int(553), None, Float(55.3)),
            ("scale(10)", Int(-5), None, Int(-50)),
            ("scale(0.001)", Int(0), None, Float(0.0)),
            ("scale_int(0.1)", Int(559), None, Int(55)),
            ("scale_int(0.1)", Int(530), None, Int(53)),
            ("scale_decimal_int_signed(0.001)", Int(950), None, Float(0.95)),
            ("scale_decimal_int_signed(0.001)", Int(-32768 + 950), None, Float(-0.95)),
            ("scale_reg(div)", Int(500), Some(Int(10)), Float(50.0)),
            ("scale_reg_pow_10(p)", Int(123), Some(Int(-1)), Float(12.3)),
            ("scale_reg_power10(p)", Int(123), Some(Int(2)), Float(12300.0)),
            ("mod10k", Int(12 * 0x1_0000 + 3456), None, Int(123_456)),
            ("mod10k(true)", Int(3456 * 0x1_0000 + 12), None, Int(123_456)),
            ("mod10k64(False)", Int(0x0004_0003_0002_0001), None, Int(1_000_200_030_004)),
            ("mod10k64(True)", Int(0x0004_0003_0002_0001), None, Int(4_000_300_020_001)),
            ("mod10k48()", Int(0x0004_0003_0002_0001), None, Int(200_030_004)),
            ("mod10k48(1)", Int(0x0004_0003_0002_0001), None, Int(100_020_003)),
        ] {
            assert_eq!(parse(text).apply(raw, scaling), Ok(want), "{text} of {raw:?}");
        }
    }

    #[test]
    fn writing_undoes_reading() {
        for (text, raw, scaling) in [
            ("scale(0.1)", 553, None),
            ("scale(4)", -9, None),
            ("scale_int(10)", 55, None),
            ("scale_decimal_int_signed(0.001)", -32768 + 950, None),
            ("scale_decimal_int_signed(0.001)", 950, None),
            ("scale_reg(r)", 500, Some(Int(8))),
            ("scale_reg_pow_10(r)", 500, Some(Int(-2))),
        ] {
            let transform = parse(text);
            let value = transform.apply(Int(raw), scaling).expect(text);
            let back = transform.invert(value, scaling).expect(text).as_f64();
            assert!((back - raw as f64).abs() < 1e-6, "{text}: {raw} became {back}");
        }
    }

    #[test]
    fn scaling_registers_can_fail_alone() {
        assert_eq!(parse("scale_reg('a b')").scaling_register(), Some("a b"));
        assert!(parse("scale_reg(r)").apply(Int(1), None).is_err());
        assert!(parse("scale_reg(r)").apply(Int(1), Some(Int(0))).is_err());
        assert!(parse("scale_reg_pow_10(r)").apply(Int(1), Some(Float(0.5))).is_err());
        assert!(parse("mod10k").invert(Int(1), None).is_err());
    }

    #[test]
    fn wrong_cells_are_refused() {
        assert_eq!(Transform::parse("  "), Ok(None));
        assert_eq!(Transform::parse("no_op"), Ok(None));
        for text in
            ["scale", "scale(0)", "scale(x)", "scale(1", "scale_reg()", "mod10k(maybe)", "sqrt(2)", ")("]
        {
            assert!(Transform::parse(text).is_err(), "{text}");
        }
    }
}
