//! Medians, ratios and the table.

/// The median; of an even number the mean of the middle two.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// A line of the table.
pub struct Line {
    pub case: String,
    pub unit: &'static str,
    pub raw: f64,
    pub ours: f64,
    /// The Python platform's, where it was measured.
    pub theirs: Option<f64>,
    /// Median of the rounds' ratios, and their range.
    pub ratio: f64,
    pub range: (f64, f64),
    pub raw_cpu_us: f64,
    pub ours_cpu_us: f64,
    pub cpu_ratio: f64,
    pub gate: String,
    pub passed: bool,
}

pub fn print(lines: &[Line]) {
    println!(
        "{:<32} {:>12} {:>12} {:>12} {:>7} {:>13} {:>9} {:>9} {:>5}  {:<22} ",
        "case", "libzmq", "ours", "10.0.5rc4", "ratio", "range", "cpu raw", "cpu ours", "cpu", "gate"
    );
    for l in lines {
        let theirs = l.theirs.map_or("-".to_owned(), |theirs| format!("{theirs:.0} {}", l.unit));
        println!(
            "{:<32} {:>12} {:>12} {theirs:>12} {:>7.3} {:>13} {:>7.1}us {:>7.1}us {:>5.2}  {:<22} {}",
            l.case,
            format!("{:.0} {}", l.raw, l.unit),
            format!("{:.0} {}", l.ours, l.unit),
            l.ratio,
            format!("{:.2}..{:.2}", l.range.0, l.range.1),
            l.raw_cpu_us,
            l.ours_cpu_us,
            l.cpu_ratio,
            l.gate,
            if l.passed { "ok" } else { "MISSED" },
        );
    }
}

/// A figure with a limit of its own.
pub struct Goal {
    pub name: String,
    pub value: f64,
    pub limit: f64,
    pub unit: &'static str,
}

impl Goal {
    pub fn passed(&self) -> bool {
        self.value <= self.limit
    }
}

pub fn print_goals(goals: &[Goal]) {
    println!("\n{:<40} {:>12} {:>12}", "case", "ours", "at most");
    for g in goals {
        let (value, limit) = (format!("{:.1} {}", g.value, g.unit), format!("{:.0} {}", g.limit, g.unit));
        println!("{:<40} {value:>12} {limit:>12}  {}", g.name, if g.passed() { "ok" } else { "MISSED" });
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn medians() {
        assert!((super::median([3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((super::median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(super::median([]).is_nan());
    }
}
