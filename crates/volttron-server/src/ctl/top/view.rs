//! What is on the screen of `vctl top`: rows in an order, columns as far as there is room. Pure.

use std::cmp::Ordering;

use super::terminal::Line;
use crate::ops::top::Row;

/// Narrowest identity.
const IDENTITY_MIN: usize = 10;
/// Widest identity.
const IDENTITY_MAX: usize = 32;

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// Processor time
    Cpu,
    /// Memory
    Memory,
    /// Messages sent to it
    In,
    /// Messages it sent
    Out,
    /// Messages it lost
    Lost,
    /// Identity
    Name,
}

impl Sort {
    /// The one after it.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Cpu => Self::Memory,
            Self::Memory => Self::In,
            Self::In => Self::Out,
            Self::Out => Self::Lost,
            Self::Lost => Self::Name,
            Self::Name => Self::Cpu,
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Self::Cpu => "CPU%",
            Self::Memory => "MEMORY",
            Self::In => "IN/S",
            Self::Out => "OUT/S",
            Self::Lost => "LOST",
            Self::Name => "IDENTITY",
        }
    }

    fn compare(self, a: &Row, b: &Row) -> Ordering {
        // The largest first, unless it is names.
        let figures = |a: Option<f64>, b: Option<f64>| b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0));
        let by = match self {
            Self::Cpu => figures(a.cpu_percent, b.cpu_percent),
            Self::Memory => b.now.memory_bytes.cmp(&a.now.memory_bytes),
            Self::In => figures(a.in_per_s, b.in_per_s),
            Self::Out => figures(a.out_per_s, b.out_per_s),
            Self::Lost => b.now.lost.cmp(&a.now.lost),
            Self::Name => Ordering::Equal,
        };
        by.then_with(|| a.identity.cmp(&b.identity))
    }
}

/// A column besides the identity.
struct Column {
    heading: &'static str,
    width: usize,
    text: fn(&Row) -> String,
    right: bool,
}

/// In the order in which they get room.
const COLUMNS: [Column; 9] = [
    Column { heading: "CPU%", width: 6, text: |r| figure(r.cpu_percent), right: true },
    Column { heading: "STATE", width: 9, text: |r| r.now.state.clone(), right: false },
    Column {
        heading: "MEMORY",
        width: 7,
        text: |r| r.now.memory_bytes.map(bytes).unwrap_or_default(),
        right: true,
    },
    Column { heading: "IN/S", width: 7, text: |r| figure(r.in_per_s), right: true },
    Column { heading: "OUT/S", width: 7, text: |r| figure(r.out_per_s), right: true },
    Column { heading: "HEALTH", width: 8, text: |r| r.now.health.clone(), right: false },
    Column {
        heading: "LOST",
        width: 7,
        text: |r| r.now.lost.map(|n| n.to_string()).unwrap_or_default(),
        right: true,
    },
    Column { heading: "RESTARTS", width: 8, text: |r| r.now.restarts.to_string(), right: true },
    Column { heading: "PING MS", width: 7, text: |r| figure(r.now.ping_ms), right: true },
];

/// The order on the screen, as places in [`COLUMNS`].
const ORDER: [usize; 9] = [1, 5, 0, 2, 3, 4, 8, 6, 7];

/// One figure after the point, where that says something.
fn figure(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value < 100.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

/// At most five characters and the unit.
fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "K", "M", "G"] {
        if value < 1000.0 {
            return if value < 10.0 && unit != "B" {
                format!("{value:.1}{unit}")
            } else {
                format!("{value:.0}{unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1}T")
}

/// What is looked at, and how.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// The rows, in no order.
    pub(super) rows: Vec<Row>,
    /// What they are sorted by.
    pub(super) sort: Sort,
    /// The other way round.
    pub(super) reversed: bool,
    /// Only identities with this in their name.
    pub(super) filter: String,
    /// The filter is being typed.
    pub(super) typing: bool,
    /// Nothing new is fetched.
    pub(super) paused: bool,
    /// Why nothing new came.
    pub(super) trouble: String,
    address: String,
    top: usize,
}

impl View {
    /// A view of nothing yet.
    pub(super) fn new(sort: Sort, filter: String, address: String) -> Self {
        Self {
            rows: Vec::new(),
            sort,
            reversed: false,
            filter,
            typing: false,
            paused: false,
            trouble: String::new(),
            address,
            top: 0,
        }
    }

    /// Moves by so many rows.
    pub(super) fn scroll(&mut self, by: isize) {
        self.top = self.top.saturating_add_signed(by).min(self.rows.len().saturating_sub(1));
    }

    /// The rows that are looked at, in order.
    pub(super) fn shown(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> =
            self.rows.iter().filter(|row| row.identity.contains(&self.filter)).collect();
        rows.sort_by(|a, b| {
            let order = self.sort.compare(a, b);
            if self.reversed { order.reverse() } else { order }
        });
        rows
    }

    /// Heading and rows, each at most `width` wide; at most `height` rows.
    pub(super) fn table(&self, width: usize, height: usize) -> Vec<String> {
        let rows = self.shown();
        let longest = rows.iter().map(|row| row.identity.chars().count()).max().unwrap_or(0);
        let identity = longest.clamp(IDENTITY_MIN, IDENTITY_MAX).min(width);
        let mut room = width.saturating_sub(identity);
        let mut chosen = [false; COLUMNS.len()];
        for (at, column) in COLUMNS.iter().enumerate() {
            if column.width + 1 > room {
                break;
            }
            room -= column.width + 1;
            chosen[at] = true;
        }
        let line = |name: &str, cell: &dyn Fn(&Column) -> String| {
            let mut text = fit(name, identity, false);
            for at in ORDER.into_iter().filter(|at| chosen[*at]) {
                let column = &COLUMNS[at];
                text.push(' ');
                text.push_str(&fit(&cell(column), column.width, column.right));
            }
            text.trim_end().to_owned()
        };
        let top = self.top.min(rows.len().saturating_sub(1));
        let mut lines = vec![line("IDENTITY", &|column| column.heading.to_owned())];
        lines.extend(
            rows.iter().skip(top).take(height).map(|row| line(&row.identity, &|column| (column.text)(row))),
        );
        lines
    }

    /// The whole screen.
    pub(super) fn screen(&self, width: usize, height: usize) -> Vec<Line> {
        let plain = |text: &str| Line { text: fit(text, width, false).trim_end().to_owned(), heading: false };
        let mut lines = vec![plain(&self.title())];
        let mut table = self.table(width, height.saturating_sub(3)).into_iter();
        if let Some(heading) = table.next() {
            lines.push(Line { text: fit(&heading, width, false), heading: true });
        }
        lines.extend(table.map(|text| plain(&text)));
        lines.truncate(height.saturating_sub(1));
        lines.resize(height.saturating_sub(1), Line::default());
        lines.push(plain(&self.footer(width)));
        lines.truncate(height);
        lines
    }

    fn title(&self) -> String {
        let order = if self.reversed { " reversed" } else { "" };
        let shown = self.shown().len();
        format!("{shown} of {} by {}{order}  {}", self.rows.len(), self.sort.heading(), self.address)
    }

    fn footer(&self, width: usize) -> String {
        if self.typing {
            return format!("/{}_", self.filter);
        }
        if !self.trouble.is_empty() {
            return format!("old figures: {}", self.trouble);
        }
        let paused = if self.paused { "paused  " } else { "" };
        let filter = if self.filter.is_empty() { String::new() } else { format!("/{}  ", self.filter) };
        let keys = if width < 60 { "q s r / p" } else { "q quit  s sort  r reverse  / filter  space pause" };
        format!("{paused}{filter}{keys}")
    }
}

/// Exactly so wide.
fn fit(text: &str, width: usize, right: bool) -> String {
    // What an agent calls itself must not move the cursor.
    let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let length = text.chars().count();
    if length > width {
        let cut: String = text.chars().take(width.saturating_sub(1)).collect();
        return if width == 0 { String::new() } else { cut + "~" };
    }
    if right { format!("{text:>width$}") } else { format!("{text:width$}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::top::Reading;

    fn view() -> View {
        let row = |identity: &str, cpu, memory, out| Row {
            identity: identity.to_owned(),
            cpu_percent: cpu,
            out_per_s: out,
            in_per_s: Some(0.0),
            now: Reading {
                state: "running".to_owned(),
                health: "GOOD".to_owned(),
                memory_bytes: memory,
                lost: Some(3),
                ..Reading::default()
            },
        };
        let mut view = View::new(Sort::Cpu, String::new(), "ipc://x".to_owned());
        view.rows = vec![
            row("listener", Some(1.25), Some(5 << 20), Some(0.5)),
            row("platform.driver", Some(50.0), Some(1 << 30), Some(12345.6)),
            row("weather\u{1b}[2J", None, None, None),
        ];
        view
    }

    #[test]
    fn columns_come_as_there_is_room() {
        assert_eq!(
            view().table(100, 10),
            [
                "IDENTITY        STATE     HEALTH     CPU%  MEMORY    IN/S   OUT/S PING MS    LOST RESTARTS",
                "platform.driver running   GOOD       50.0    1.0G     0.0   12346               3        0",
                "listener        running   GOOD        1.2    5.0M     0.0     0.5               3        0",
                "weather?[2J     running   GOOD                        0.0                       3        0",
            ]
        );
        assert_eq!(view().table(22, 1), ["IDENTITY          CPU%", "platform.driver   50.0"]);
        assert_eq!(view().table(12, 1), ["IDENTITY", "platform.dr~"]);
        for (width, height) in [(0, 0), (1, 1), (20, 3), (20, 24), (80, 2), (300, 50)] {
            let lines = view().screen(width, height);
            assert_eq!(lines.len(), height, "{width} x {height}");
            assert!(lines.iter().all(|l| l.text.chars().count() <= width), "{width} x {height}: {lines:?}");
        }
    }

    #[test]
    fn order_and_filter() {
        let mut view = view();
        let names =
            |view: &View| view.shown().iter().map(|r| r.identity.chars().next().unwrap()).collect::<String>();
        for (sort, expected) in
            [(Sort::Cpu, "plw"), (Sort::Memory, "plw"), (Sort::Name, "lpw"), (Sort::Lost, "lpw")]
        {
            view.sort = sort;
            assert_eq!(names(&view), expected, "{sort:?}");
        }
        view.reversed = true;
        assert_eq!(names(&view), "wpl");
        view.filter = "er".to_owned();
        assert_eq!(names(&view), "wpl");
        view.filter = "driver".to_owned();
        assert_eq!(names(&view), "p");
        view.scroll(100);
        assert_eq!(view.table(40, 5).len(), 2, "the last row stays in sight");
    }
}
