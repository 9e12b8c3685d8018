//! From registry rows to Modbus registers: the union of the `modbus` and `modbus_tk` columns (drivers.md 9.2, 9.3). Pure.

use std::collections::HashMap;

use serde_json::Value;
use volttron_client::driver::{DriverError, Point, PointKind, PointType, Row, Rows};

use super::codec::Codec;
use super::number::{Number, truth};
use super::settings::{Addressing, Settings};
use super::transform::Transform;

/// One of the four address spaces of a Modbus device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Bits to read and write: FC 1, 5.
    Coil,
    /// Bits to read: FC 2.
    Discrete,
    /// Words to read: FC 4.
    Input,
    /// Words to read and write: FC 3, 16 (or 6).
    Holding,
}

impl Table {
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "coil" | "coils" | "discrete_output_coils" => Some(Self::Coil),
            "discrete" | "discrete_input_contacts" => Some(Self::Discrete),
            "input" | "analog_input_registers" => Some(Self::Input),
            "holding" | "analog_output_holding_registers" => Some(Self::Holding),
            _ => None,
        }
    }

    /// The table that the original implies from the `Writable` column.
    fn implied(bool_type: bool, writable: bool) -> Self {
        match (bool_type, writable) {
            (true, true) => Self::Coil,
            (true, false) => Self::Discrete,
            (false, true) => Self::Holding,
            (false, false) => Self::Input,
        }
    }

    /// True for tables of single bits.
    pub fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }

    fn is_writable(self) -> bool {
        matches!(self, Self::Coil | Self::Holding)
    }

    /// First number of the table in the five-digit notation of device manuals.
    fn base(self) -> i64 {
        match self {
            Self::Coil => 1,
            Self::Discrete => 10_001,
            Self::Input => 30_001,
            Self::Holding => 40_001,
        }
    }
}

/// Where and how one value lies in the device.
#[derive(Clone, Debug, PartialEq)]
pub struct Register {
    /// Address space.
    pub table: Table,
    /// Zero-based protocol address.
    pub address: u16,
    /// Bits or words it spans.
    pub width: u16,
    /// Layout.
    pub codec: Codec,
    /// Word order is reversed.
    pub mixed: bool,
    /// From raw to engineering values.
    pub transform: Option<Transform>,
    /// Index of the register that the transform needs.
    pub scaling: Option<usize>,
}

/// A parsed registry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegisterMap {
    /// Registers of the points, in order, then those that are only read because a transform needs them.
    pub registers: Vec<Register>,
    /// The points; `points[i]` is `registers[i]`.
    pub points: Vec<Point>,
    /// Registry defaults of writable points.
    pub defaults: Vec<(usize, Value)>,
}

/// Builds the registers of a device.
pub fn parse(settings: &Settings, registry: Option<Rows>) -> Result<RegisterMap, DriverError> {
    let rows = merged(settings, registry)?;
    let mut map = RegisterMap::default();
    for row in &rows {
        let Some(name) = point_name(row) else { continue };
        let parsed = parse_row(settings, row, name)?;
        if let Some(default) = parsed.default {
            map.defaults.push((map.points.len(), default));
        }
        map.points.push(parsed.point);
        map.registers.push(parsed.register);
    }
    Rows::refuse_duplicates(map.points.iter().map(|p| (p.row, p.name.as_str())))?;
    link_scaling(settings, &rows, &mut map)?;
    Ok(map)
}

/// Rows of the registry, each laid over the map row of its `Register Name` when there is a map.
fn merged(settings: &Settings, registry: Option<Rows>) -> Result<Vec<Row>, DriverError> {
    let Some(map) = &settings.register_map else {
        let rows =
            registry.ok_or_else(|| DriverError::Config("a Modbus device needs a registry_config".into()))?;
        return Ok(rows.0);
    };
    let Some(registry) = registry else { return Ok(map.0.clone()) };
    let by_name: HashMap<String, &Row> =
        map.0.iter().map(|row| (row.text("Register Name").into_owned(), row)).collect();
    registry
        .0
        .iter()
        .filter(|row| point_name(row).is_some())
        .map(|row| {
            let name = row.text("Register Name");
            let name = if name.is_empty() { row.text("Volttron Point Name") } else { name };
            match by_name.get(&*name) {
                Some(base) => Ok(base.overlaid(row)),
                None if row.first_of(ADDRESS).is_some() => Ok(row.clone()),
                None => Err(row.error("Register Name", format!("'{name}' is not in the register map"))),
            }
        })
        .collect()
}

const ADDRESS: &[&str] = &["Point Address", "Address"];
const TYPE: &[&str] = &["Modbus Register", "Type"];

/// Rows without a name are "not mapped yet" and skipped without a word.
fn point_name(row: &Row) -> Option<String> {
    row.first_of(&["Volttron Point Name", "Register Name"]).map(|(_, name)| name.into_owned())
}

struct Parsed {
    register: Register,
    point: Point,
    default: Option<Value>,
}

fn parse_row(settings: &Settings, row: &Row, name: String) -> Result<Parsed, DriverError> {
    let register = parse_register(settings, row)?;
    let read_only = !row.is_true("Writable");
    if !read_only && !register.table.is_writable() {
        return Err(row.error("Table", "this table cannot be written, but Writable is true"));
    }
    if !read_only && register.transform.as_ref().is_some_and(|t| !t.is_writable()) {
        return Err(
            row.error("Transform", "this transform cannot be undone, so the point cannot be writable")
        );
    }
    let (mut value_type, mut kind) = register.codec.point_type();
    if register.table.is_bits() {
        (value_type, kind) = (PointType::Boolean, PointKind::Bit);
    } else if let Some(transform) = &register.transform {
        value_type = if transform.gives_float()
            || value_type == PointType::Float && transform_keeps_float(transform)
        {
            PointType::Float
        } else {
            PointType::Integer
        };
    }
    let default = if read_only { None } else { parse_default(row, register.codec)? };
    let description =
        row.first_of(&["Notes", "Description"]).map(|(_, text)| text.into_owned()).unwrap_or_default();
    let point = Point { name, units: row.units(), kind, value_type, read_only, description, row: row.number };
    Ok(Parsed { register, point, default })
}

fn transform_keeps_float(transform: &Transform) -> bool {
    matches!(transform, Transform::Scale(_) | Transform::ScaleSigned(_))
}

fn parse_register(settings: &Settings, row: &Row) -> Result<Register, DriverError> {
    let (column, text) = row
        .first_of(TYPE)
        .ok_or_else(|| row.error("Modbus Register", "the type of the register is missing"))?;
    let codec = Codec::parse(&text, settings.order).map_err(|what| row.error(column, what))?;
    let table = match row.text("Table") {
        empty if empty.is_empty() => Table::implied(codec.is_bool(), row.is_true("Writable")),
        text => Table::parse(&text).ok_or_else(|| {
            row.error("Table", format!("'{text}' is none of coil, discrete, input, holding"))
        })?,
    };
    if table.is_bits() && !codec.is_bool() {
        return Err(row.error("Table", "a table of bits holds only BOOL"));
    }
    let width = if table.is_bits() { 1 } else { codec.words() };
    let address = parse_address(settings, row, table, width)?;
    let transform = Transform::parse(&row.text("Transform")).map_err(|what| row.error("Transform", what))?;
    if transform.is_some() && !codec.is_number() {
        return Err(row.error("Transform", "only numbers can be transformed"));
    }
    Ok(Register {
        table,
        address,
        width,
        codec,
        mixed: row.is_true("Mixed Endian"),
        transform,
        scaling: None,
    })
}

fn parse_address(settings: &Settings, row: &Row, table: Table, width: u16) -> Result<u16, DriverError> {
    let (column, text) = row
        .first_of(ADDRESS)
        .ok_or_else(|| row.error("Point Address", "the address of the register is missing"))?;
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let number = hex.map_or_else(|| text.parse::<i64>(), |digits| i64::from_str_radix(digits, 16));
    let number = number.map_err(|_| row.error(column, format!("'{text}' is not a whole number")))?;
    // `Point Address` is the old column and always the protocol address.
    let offset = match settings.addressing {
        Addressing::OffsetPlus if column == "Address" => 1,
        Addressing::Address if column == "Address" => table.base(),
        _ => 0,
    };
    // Saturating: what is out of range stays so.
    let number = number.saturating_sub(offset);
    let address = u16::try_from(number).ok().filter(|first| first.checked_add(width - 1).is_some());
    address.ok_or_else(|| {
        row.error(column, format!("{text} is outside of the table (protocol address {number})"))
    })
}

/// The default as a value that can be written, or none for an empty cell.
fn parse_default(row: &Row, codec: Codec) -> Result<Option<Value>, DriverError> {
    let text = row.text("Default Value");
    if text.is_empty() {
        return Ok(None);
    }
    let bad = |what: &str| row.error("Default Value", format!("'{text}' is not {what}"));
    let value = if codec.is_bool() {
        let on = text.to_ascii_lowercase().starts_with('t') || truth(&Value::from(&*text)).unwrap_or(false);
        let known = on || truth(&Value::from(&*text)).is_some() || text.to_ascii_lowercase().starts_with('f');
        if !known {
            return Err(bad("a boolean"));
        }
        Value::Bool(on)
    } else if codec.is_number() {
        Number::parse(&text).ok_or_else(|| bad("a number"))?.to_value()
    } else {
        Value::from(&*text)
    };
    Ok(Some(value))
}

/// Resolves the register names of transforms; a register that is no point itself is added behind the points.
fn link_scaling(settings: &Settings, rows: &[Row], map: &mut RegisterMap) -> Result<(), DriverError> {
    let mut known: HashMap<String, usize> = HashMap::new();
    for (id, row) in rows.iter().filter(|row| point_name(row).is_some()).enumerate() {
        known.entry(row.text("Volttron Point Name").into_owned()).or_insert(id);
        known.insert(row.text("Register Name").into_owned(), id);
    }
    for id in 0..map.points.len() {
        let Some(name) = map.registers[id].transform.as_ref().and_then(Transform::scaling_register) else {
            continue;
        };
        let name = name.to_owned();
        let target = if let Some(target) = known.get(&name) {
            *target
        } else {
            let hidden = settings.register_map.iter().flat_map(|map| &map.0);
            let row = hidden.into_iter().find(|row| row.text("Register Name") == name).ok_or_else(|| {
                let row = Row::new(map.points[id].row, serde_json::Map::new());
                row.error("Transform", format!("there is no register '{name}'"))
            })?;
            map.registers.push(parse_register(settings, row)?);
            known.insert(name.clone(), map.registers.len() - 1);
            map.registers.len() - 1
        };
        // Scaling of scaling would need an order of evaluation; no device is known that does this.
        let chained =
            map.registers[target].transform.as_ref().is_some_and(|t| t.scaling_register().is_some());
        if chained || target == id || !map.registers[target].codec.is_number() {
            let row = Row::new(map.points[id].row, serde_json::Map::new());
            return Err(row.error("Transform", format!("register '{name}' cannot scale another one")));
        }
        map.registers[id].scaling = Some(target);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn csv(text: &str) -> Rows {
        Rows::from_csv(text.as_bytes()).expect("csv")
    }

    fn modbus(text: &str) -> Result<RegisterMap, DriverError> {
        let settings = Settings::parse("modbus", &json!({"device_address": "h"})).expect("settings");
        parse(&settings, Some(csv(text)))
    }

    fn modbus_tk(config: &Value, text: Option<&str>) -> Result<RegisterMap, DriverError> {
        let settings = Settings::parse("modbus_tk", config).expect("settings");
        parse(&settings, text.map(csv))
    }

    #[test]
    fn the_old_columns_imply_the_table() {
        let map = modbus(
            "Reference Point Name,Volttron Point Name,Units,Modbus Register,Writable,Point Address,Default Value,Notes\n\
             a,CO2 Sensor,PPM,>f,FALSE,1001,,CO2 0-2000\n\
             b,CoolSupply,F,>f,TRUE,1003,55.5,\n\
             c,Fan,On/Off,BOOL,TRUE,5,on,\n\
             d,Alarm,,BOOL,no,6,,\n\
             e,,PPM,>f,FALSE,bad,,not mapped yet\n",
        )
        .expect("map");
        let tables: Vec<_> = map.registers.iter().map(|r| (r.table, r.address, r.width)).collect();
        assert_eq!(
            tables,
            [
                (Table::Input, 1001, 2),
                (Table::Holding, 1003, 2),
                (Table::Coil, 5, 1),
                (Table::Discrete, 6, 1)
            ]
        );
        assert_eq!(map.defaults, [(1, json!(55.5)), (2, json!(true))]);
        assert_eq!(map.points[0].meta("UTC"), json!({"units": "PPM", "type": "float", "tz": "UTC"}));
        assert_eq!(map.points[2].meta("")["type"], json!("boolean"));
        assert_eq!((map.points[0].description.as_str(), map.points[0].read_only), ("CO2 0-2000", true));
    }

    #[test]
    fn a_table_column_describes_read_only_holding_registers() {
        let map = modbus(
            "Volttron Point Name,Units,Modbus Register,Writable,Point Address,Table\n\
             a,F,>h,FALSE,1,holding\n\
             b,F,BOOL,FALSE,2,coil\n\
             c,F,BOOL,TRUE,3,analog_output_holding_registers\n",
        )
        .expect("map");
        assert_eq!(
            map.registers.iter().map(|r| r.table).collect::<Vec<_>>(),
            [Table::Holding, Table::Coil, Table::Holding]
        );
        assert!(map.points[0].read_only && !map.points[2].read_only);
        assert_eq!(map.points[2].kind, PointKind::Bit);
    }

    #[test]
    fn a_map_is_overlaid_by_the_registry_and_hidden_scaling_registers_are_read() {
        let config = json!({
            "Device_Address": "h", "port": 1502, "addressing": "address", "endian": "big",
            "register_map": [
                {"Register Name": "v1", "Address": "40011", "Type": "uint16", "Units": "V", "Writable": "TRUE", "Transform": "scale_reg(div)"},
                {"Register Name": "div", "Address": "40012", "Type": "uint16", "Units": "", "Writable": "TRUE"},
                {"Register Name": "pf", "Address": "0x9C52", "Type": "int16", "Writable": "TRUE", "Transform": "scale(0.1)"},
            ],
        });
        let map = modbus_tk(
            &config,
            Some("Volttron Point Name,Register Name,Units\nvolts,v1,kV\npower factor,pf,\n"),
        )
        .expect("map");
        assert_eq!(map.points.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["volts", "power factor"]);
        assert_eq!(map.points[0].units.as_deref(), Some("kV"));
        assert_eq!(map.registers.iter().map(|r| r.address).collect::<Vec<_>>(), [10, 17, 11]);
        assert_eq!(map.registers[0].scaling, Some(2));
        assert_eq!(map.points[1].value_type, PointType::Float);

        let all = modbus_tk(&config, None).expect("the map itself");
        assert_eq!(all.points.len(), 3);
        assert_eq!(all.registers[0].scaling, Some(1));
    }

    #[test]
    fn errors_name_row_and_column() {
        let head = "Volttron Point Name,Units,Modbus Register,Writable,Point Address,Table,Default Value,Transform\n";
        for (row, text) in [
            (
                "p,F,,FALSE,1,,,",
                "registry row 3, column 'Modbus Register': the type of the register is missing",
            ),
            ("p,F,>x,FALSE,1,,,", "registry row 3, column 'Modbus Register': '>x' is no known type"),
            (
                "p,F,>H,FALSE,,,,",
                "registry row 3, column 'Point Address': the address of the register is missing",
            ),
            ("p,F,>H,FALSE,4.5,,,", "column 'Point Address': '4.5' is not a whole number"),
            ("p,F,>H,FALSE,70000,,,", "outside of the table"),
            ("p,F,>L,FALSE,65535,,,", "outside of the table"),
            ("p,F,>H,FALSE,-1,,,", "outside of the table"),
            ("p,F,>H,FALSE,1,memory,,", "column 'Table': 'memory' is none of"),
            ("p,F,>H,TRUE,1,input,,", "column 'Table': this table cannot be written"),
            ("p,F,>H,FALSE,1,coil,,", "column 'Table': a table of bits holds only BOOL"),
            ("p,F,>H,TRUE,1,,x,", "column 'Default Value': 'x' is not a number"),
            ("p,F,BOOL,TRUE,1,,maybe,", "column 'Default Value': 'maybe' is not a boolean"),
            ("p,F,>H,FALSE,1,,,scale(x)", "column 'Transform': 'scale(x)': the factor must be"),
            ("p,F,>H,FALSE,1,,,scale_reg(q)", "column 'Transform': there is no register 'q'"),
            ("p,F,BOOL,FALSE,1,,,scale(2)", "column 'Transform': only numbers"),
            ("p,F,>L,TRUE,1,,,mod10k", "column 'Transform': this transform cannot be undone"),
            ("ok,F,>H,FALSE,1,,,", "registry row 3: point 'ok' is already defined in row 2"),
        ] {
            let error = modbus(&format!("{head}ok,F,>H,FALSE,0,,,\n{row}\n")).expect_err(row).to_string();
            assert!(error.contains(text), "{row}: {error}");
        }
    }

    #[test]
    fn short_and_long_rows_are_read_as_far_as_they_go() {
        let map = modbus("Volttron Point Name,Units,Modbus Register,Writable,Point Address\nshort\n\n")
            .expect_err("no type")
            .to_string();
        assert!(map.contains("row 2"), "{map}");
        let map = modbus(
            "Volttron Point Name,Units,Modbus Register,Writable,Point Address\np,F,>H,FALSE,1,surplus,cells\n",
        );
        assert_eq!(map.expect("map").points.len(), 1);
    }
}
