//! A Modbus device: reads its registers in merged blocks, isolates bad addresses, writes and reads back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::time::Instant;
use tokio_modbus::prelude::ExceptionCode;
use volttron_client::driver::{
    DeviceContext, Driver, DriverError, DriverFactory, Kwargs, Point, PointId, Reading, Rows,
};

use super::codec::Raw;
use super::line::{Data, Failure, Line, Lines, Session};
use super::number::Number;
use super::plan::{Block, bisect, plan};
use super::registry::{self, Register, RegisterMap, Table};
use super::settings::Settings;

/// How long an address that the device refused is left out of scrapes.
const BAD_FOR: Duration = Duration::from_mins(10);

/// Extra requests one operation may spend on finding bad addresses.
const MAX_BISECTIONS: usize = 64;

/// Makes Modbus TCP devices that share one pool of connections.
pub struct ModbusFactory {
    lines: Arc<Lines>,
}

impl ModbusFactory {
    /// `max_open_sockets` as in the main configuration; `None` means no cap.
    pub fn new(max_open_sockets: Option<usize>) -> Self {
        Self { lines: Lines::new(max_open_sockets) }
    }
}

impl DriverFactory for ModbusFactory {
    fn configure(
        &self,
        device: &DeviceContext<'_>,
        config: &Value,
        rows: Option<Rows>,
    ) -> Result<Box<dyn Driver>, DriverError> {
        let settings = Settings::parse(device.driver_type, config)?;
        let map = registry::parse(&settings, rows)?;
        let line = self.lines.line(&settings.host, settings.port);
        Ok(Box::new(ModbusDevice { settings, map, line, bad: Mutex::default() }))
    }
}

struct ModbusDevice {
    settings: Settings,
    map: RegisterMap,
    line: Arc<Line>,
    bad: Mutex<HashMap<usize, Bad>>,
}

/// A register that the device refuses to read.
#[derive(Clone)]
struct Bad {
    error: DriverError,
    retry_at: Instant,
}

/// Raw values or errors by register.
type Found = BTreeMap<usize, Result<Raw, DriverError>>;

impl ModbusDevice {
    fn bad(&self) -> MutexGuard<'_, HashMap<usize, Bad>> {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn session(&self) -> Session<'_> {
        self.line.session(self.settings.unit, self.settings.timeout, !self.settings.connect_per_request).await
    }

    async fn read_points(&self, ids: &[PointId]) -> Result<Vec<Reading>, DriverError> {
        let registers = &self.map.registers;
        let wanted: BTreeSet<usize> =
            ids.iter().flat_map(|id| [Some(*id), registers[*id].scaling]).flatten().collect();
        let mut session = self.session().await;
        let found = self.read_registers(&mut session, &wanted, ids.len() == 1).await?;
        Ok(ids.iter().map(|id| (*id, self.finish(*id, &found))).collect())
    }

    /// Reads registers. Those known as bad are left out until their time is up, unless `insist`.
    async fn read_registers(
        &self,
        session: &mut Session<'_>,
        wanted: &BTreeSet<usize>,
        insist: bool,
    ) -> Result<Found, DriverError> {
        let registers = &self.map.registers;
        let limit = self.settings.max_per_read;
        let now = Instant::now();
        let mut found = Found::new();
        let (mut good, mut retried) = (Vec::new(), Vec::new());
        {
            let bad = self.bad();
            for id in wanted {
                match bad.get(id) {
                    None => good.push(*id),
                    Some(bad) if insist || bad.retry_at <= now => retried.push(*id),
                    Some(bad) => drop(found.insert(*id, Err(bad.error.clone()))),
                }
            }
        }
        let mut blocks = plan(registers, good, limit);
        // A register under suspicion is tried alone, so that it cannot spoil its neighbours again.
        blocks.extend(retried.into_iter().flat_map(|id| plan(registers, [id], limit)));
        blocks.reverse();
        let mut bisections = 0;
        while let Some(block) = blocks.pop() {
            let code = match session.read(block.table, block.start, block.count).await {
                Ok(data) => {
                    self.decode(&block, &data, &mut found);
                    continue;
                }
                Err(Failure::Lost(what)) => return Err(DriverError::Unreachable(what)),
                Err(Failure::Exception(code)) => code,
            };
            let error = exception(code, &block);
            if is_gateway(code) {
                return Err(DriverError::Unreachable(error.to_string()));
            }
            let halves = if is_about_address(code) { bisect(registers, &block, limit) } else { None };
            match halves {
                Some((low, high)) if bisections < MAX_BISECTIONS => {
                    bisections += 1;
                    blocks.extend(high.into_iter().rev());
                    blocks.extend(low.into_iter().rev());
                }
                None if is_about_address(code) => self.remember_bad(&block, &error, &mut found),
                _ => found.extend(block.members.iter().map(|id| (*id, Err(error.clone())))),
            }
        }
        Ok(found)
    }

    fn decode(&self, block: &Block, data: &Data, found: &mut Found) {
        let mut bad = self.bad();
        for id in &block.members {
            let register = &self.map.registers[*id];
            let at = usize::from(register.address - block.start);
            let raw = match data {
                Data::Bits(bits) => {
                    bits.get(at).map(|on| Raw::Bool(*on)).ok_or_else(|| "no such bit".to_owned())
                }
                Data::Words(words) => words
                    .get(at..at + usize::from(register.width))
                    .ok_or_else(|| "no such words".to_owned())
                    .and_then(|words| register.codec.decode(words, register.mixed)),
            };
            bad.remove(id);
            found.insert(*id, raw.map_err(DriverError::Device));
        }
    }

    fn remember_bad(&self, block: &Block, error: &DriverError, found: &mut Found) {
        let mut bad = self.bad();
        for id in &block.members {
            tracing::debug!(register = *id, %error, "the device refuses this address; leaving it out for a while");
            bad.insert(*id, Bad { error: error.clone(), retry_at: Instant::now() + BAD_FOR });
            found.insert(*id, Err(error.clone()));
        }
    }

    /// Applies the transform of a register that was read.
    fn finish(&self, id: usize, found: &Found) -> Result<Value, DriverError> {
        let raw =
            found.get(&id).cloned().unwrap_or_else(|| Err(DriverError::Device("was not read".into())))?;
        let register = &self.map.registers[id];
        match (raw, &register.transform) {
            (Raw::Number(n), Some(transform)) => {
                Ok(transform.apply(n, self.scaling(register, found))?.to_value())
            }
            (raw, _) => Ok(raw.into_value()),
        }
    }

    /// Value of the register that scales this one, itself transformed if it says so.
    fn scaling(&self, register: &Register, found: &Found) -> Option<Number> {
        let id = register.scaling?;
        Number::from_value(&self.finish(id, found).ok()?)
    }

    async fn write_point(&self, id: PointId, value: &Value) -> Result<Value, DriverError> {
        let register = &self.map.registers[id];
        let raw = register.codec.accept(value)?;
        let mut session = self.session().await;
        let raw = self.untransformed(&mut session, register, raw).await?;
        let written = if register.table == Table::Coil {
            session.write_coil(register.address, raw == Raw::Bool(true)).await
        } else {
            let words = register.codec.encode(&raw, register.mixed)?;
            if words.len() > 1 && !self.settings.write_multiple {
                return Err(DriverError::Value(
                    "a register of several words cannot be written with write_multiple_registers off".into(),
                ));
            }
            session.write_words(register.address, &words, self.settings.write_multiple).await
        };
        match written {
            Ok(()) => {}
            Err(Failure::Lost(what)) => return Err(DriverError::Unreachable(what)),
            Err(Failure::Exception(code)) => {
                return Err(exception(code, &plan(&self.map.registers, [id], 1)[0]));
            }
        }
        // The write is done; a device that will not let us read it back does not undo that.
        let wanted = [Some(id), register.scaling].into_iter().flatten().collect();
        match self.read_registers(&mut session, &wanted, true).await {
            Ok(found) => Ok(self.finish(id, &found).unwrap_or_else(|_| value.clone())),
            Err(error) => {
                tracing::warn!(%error, "written, but could not be read back");
                Ok(value.clone())
            }
        }
    }

    /// The raw form of a value to write: transform undone, whole numbers for integer registers.
    async fn untransformed(
        &self,
        session: &mut Session<'_>,
        register: &Register,
        raw: Raw,
    ) -> Result<Raw, DriverError> {
        let Raw::Number(mut number) = raw else { return Ok(raw) };
        if let Some(transform) = &register.transform {
            let wanted: BTreeSet<usize> = register.scaling.into_iter().collect();
            let found = self.read_registers(session, &wanted, true).await?;
            number = transform.invert(number, self.scaling(register, &found))?;
            if register.codec.is_integer() {
                number = Number::Float(number.as_f64().round());
            }
        }
        if register.codec.is_integer() {
            let whole = number.exact_int();
            let whole = whole.ok_or_else(|| DriverError::Value("a whole number is needed".into()))?;
            number = Number::Int(whole);
        }
        Ok(Raw::Number(number))
    }
}

impl Driver for ModbusDevice {
    fn points(&self) -> &[Point] {
        &self.map.points
    }

    fn read<'a>(
        &'a self,
        ids: &'a [PointId],
        _: &'a Kwargs,
    ) -> BoxFuture<'a, Result<Vec<Reading>, DriverError>> {
        self.read_points(ids).boxed()
    }

    fn write<'a>(
        &'a self,
        id: PointId,
        value: &'a Value,
        _: &'a Kwargs,
    ) -> BoxFuture<'a, Result<Value, DriverError>> {
        self.write_point(id, value).boxed()
    }

    fn defaults(&self) -> Vec<(PointId, Value)> {
        self.map.defaults.clone()
    }
}

fn exception(code: ExceptionCode, block: &Block) -> DriverError {
    DriverError::Device(format!(
        "the device answered '{code}' to {} addresses of table {:?} from {}",
        block.count, block.table, block.start
    ))
}

/// The gateway lives, the device behind it does not.
fn is_gateway(code: ExceptionCode) -> bool {
    matches!(code, ExceptionCode::GatewayPathUnavailable | ExceptionCode::GatewayTargetDevice)
}

/// Exceptions that devices give for addresses they do not have; others (busy) pass by themselves.
fn is_about_address(code: ExceptionCode) -> bool {
    use ExceptionCode::{IllegalDataAddress, IllegalDataValue, IllegalFunction, ServerDeviceFailure};
    matches!(code, IllegalDataAddress | IllegalDataValue | IllegalFunction | ServerDeviceFailure)
}
