//! Plausible readings of an air handling unit, the same ones each time: what the demo replays when there is no device.
//!
//! Owns the shapes of a few summer days (weather, occupancy, control of a single-duct unit) and their noise. Knows
//! nothing of drivers beyond the columns of the registry that describes the table.

use std::fmt::Write as _;

/// Minutes between rows.
pub const STEP_MINUTES: u32 = 5;

/// Registry of the table, for the replay driver: point names, units and types.
pub const REGISTRY: &str = "\
Volttron Point Name,Units,Writable,Type,Notes
OutsideAirTemperature,degreesFahrenheit,FALSE,float,outside air
ReturnAirTemperature,degreesFahrenheit,FALSE,float,return air
MixedAirTemperature,degreesFahrenheit,FALSE,float,mixed air
SupplyAirTemperature,degreesFahrenheit,FALSE,float,supply air
SupplyAirTemperatureSetPoint,degreesFahrenheit,TRUE,float,supply air set point
SupplyFanStatus,On/Off,FALSE,boolean,supply fan proof
SupplyFanSpeed,percent,TRUE,float,supply fan speed command
OutsideAirDamper,percent,TRUE,float,outside air damper command
ChilledWaterValve,percent,TRUE,float,cooling valve command
Power,kilowatts,FALSE,float,electric power of the unit
Occupants,people,FALSE,integer,people in the zones served
";

/// A table of `days` days of five-minute rows from 6 July 2026, 00:00 UTC, with a header; times are RFC 3339.
pub fn csv(days: u32) -> String {
    let mut noise = Noise(0x005E_ED0F_A1B2_C3D4);
    let mut unit = Unit::default();
    let names: Vec<&str> = REGISTRY.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    let mut out = format!("timestamp,{}\n", names.join(","));
    for day in 0..days {
        // Each day has a weather of its own, and the weekend is quiet.
        let weather = noise.around(0.0, 4.0);
        for step in 0..(24 * 60 / STEP_MINUTES) {
            let minute = step * STEP_MINUTES;
            let row = unit.step(day, minute, weather, &mut noise);
            let (hour, minute) = (minute / 60, minute % 60);
            // Writing to a String cannot fail.
            let _ = writeln!(out, "2026-07-{:02}T{hour:02}:{minute:02}:00+00:00,{row}", 6 + day);
        }
    }
    out
}

/// State of the unit that carries over from row to row.
struct Unit {
    zone: f64,
    supply: f64,
    damper: f64,
    valve: f64,
}

impl Default for Unit {
    fn default() -> Self {
        Self { zone: 74.0, supply: 72.0, damper: 0.0, valve: 0.0 }
    }
}

impl Unit {
    fn step(&mut self, day: u32, minute: u32, weather: f64, noise: &mut Noise) -> String {
        let hour = f64::from(minute) / 60.0;
        let weekend = day % 7 >= 5;
        // Coolest at about 5, warmest at about 16 o'clock.
        let outside = 72.0 + weather - 12.0 * ((hour - 4.5) / 24.0 * std::f64::consts::TAU).cos()
            + noise.around(0.0, 0.3);
        let occupied = !weekend && (6.0..19.0).contains(&hour);
        let people = occupants(hour, weekend, noise);

        let gain = 0.012 * (outside - self.zone) + 0.006 * f64::from(people);
        let (fan_speed, set_point) = if occupied {
            let load = ((self.zone - 70.0) / 6.0).clamp(0.0, 1.0);
            ((45.0 + 50.0 * load + noise.around(0.0, 0.8)).clamp(30.0, 100.0), 55.0 + 5.0 * (1.0 - load))
        } else {
            (0.0, 60.0)
        };
        let cooling = fan_speed / 100.0 * 0.035 * (self.zone - self.supply).max(0.0);
        self.zone += gain - cooling + noise.around(0.0, 0.03);

        let returned = self.zone + 1.2 + noise.around(0.0, 0.15);
        // Free cooling while the outside air is cooler than the return air.
        let damper = match (occupied, outside < returned - 2.0) {
            (false, _) => 0.0,
            (true, true) => 85.0,
            (true, false) => 20.0,
        };
        self.damper += (damper - self.damper) * 0.5;
        let mixed = returned + (outside - returned) * self.damper / 100.0 + noise.around(0.0, 0.2);
        let valve = if occupied { ((mixed - set_point) * 5.0).clamp(0.0, 100.0) } else { 0.0 };
        self.valve += (valve - self.valve) * 0.6;
        let target = if occupied { mixed - self.valve * 0.22 } else { self.zone };
        self.supply += (target - self.supply) * 0.5 + noise.around(0.0, 0.15);

        let running = fan_speed > 0.0;
        let power = 0.4 + 11.0 * (fan_speed / 100.0).powi(3) + 0.19 * self.valve + noise.around(0.0, 0.05);
        format!(
            "{outside:.1},{returned:.1},{mixed:.1},{:.1},{set_point:.1},{running},{fan_speed:.1},{:.1},{:.1},{:.2},{people}",
            self.supply,
            self.damper,
            self.valve,
            power.max(0.2),
        )
    }
}

/// People arrive between 7 and 9, thin out over lunch, and leave after 16 o'clock.
fn occupants(hour: f64, weekend: bool, noise: &mut Noise) -> u32 {
    if weekend {
        return 0;
    }
    let share = match hour {
        h if h < 7.0 => 0.0,
        h if h < 9.0 => (h - 7.0) / 2.0,
        h if h < 12.0 => 1.0,
        h if h < 13.0 => 0.6,
        h if h < 16.0 => 0.95,
        h if h < 18.5 => (18.5 - h) / 2.5 * 0.95,
        _ => 0.0,
    };
    (share * 42.0 + if share > 0.0 { noise.around(0.0, 1.5) } else { 0.0 }).round().clamp(0.0, 60.0) as u32
}

/// A small generator of repeatable noise (xorshift64*).
struct Noise(u64);

impl Noise {
    /// From 0 to 1.
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// About normally distributed: the sum of a few uniform numbers is close enough.
    fn around(&mut self, mean: f64, deviation: f64) -> f64 {
        let sum: f64 = (0..6).map(|_| self.unit()).sum();
        mean + (sum - 3.0) * deviation * std::f64::consts::SQRT_2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(table: &str, name: &str) -> Vec<f64> {
        let at = table.lines().next().expect("header").split(',').position(|n| n == name).expect(name);
        let value =
            |line: &str| line.split(',').nth(at).expect("cell").replace("true", "1").replace("false", "0");
        table.lines().skip(1).map(|line| value(line).parse().expect("number")).collect()
    }

    #[test]
    fn the_table_is_the_same_each_time_and_complete() {
        let table = csv(3);
        assert_eq!(table, csv(3));
        assert_eq!(table.lines().count(), 1 + 3 * 288);
        let columns = REGISTRY.lines().count();
        assert!(table.lines().all(|line| line.split(',').count() == columns));
        assert!(table.lines().nth(1).is_some_and(|line| line.starts_with("2026-07-06T00:00:00+00:00,")));
        assert!(table.lines().last().is_some_and(|line| line.starts_with("2026-07-08T23:55:00+00:00,")));
    }

    #[test]
    fn values_are_those_of_a_building() {
        let table = csv(7);
        for (name, low, high) in [
            ("OutsideAirTemperature", 40.0, 105.0),
            ("ReturnAirTemperature", 60.0, 90.0),
            ("MixedAirTemperature", 50.0, 95.0),
            ("SupplyAirTemperature", 48.0, 90.0),
            ("SupplyFanSpeed", 0.0, 100.0),
            ("OutsideAirDamper", 0.0, 100.0),
            ("ChilledWaterValve", 0.0, 100.0),
            ("Power", 0.0, 40.0),
            ("Occupants", 0.0, 60.0),
        ] {
            let values = column(&table, name);
            let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
            assert!(least >= low && most <= high, "{name}: {least} to {most}");
        }
        let (fan, people, outside) = (
            column(&table, "SupplyFanStatus"),
            column(&table, "Occupants"),
            column(&table, "OutsideAirTemperature"),
        );
        // Monday at 3 and at 10 o'clock, Saturday at 10.
        assert_eq!((fan[36], fan[120], fan[5 * 288 + 120]), (0.0, 1.0, 0.0));
        assert!(people[120] > 20.0 && people[36] == 0.0 && people[5 * 288 + 120] == 0.0);
        assert!(outside[16 * 12] > outside[4 * 12] + 10.0, "afternoons are warmer than nights");
    }
}
