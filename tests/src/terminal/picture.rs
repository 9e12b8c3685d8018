//! A screen as an SVG picture: its text stays text, which can be searched, copied, and compared.

use std::fmt::Write;

use vt100::Color;

/// Size of a character's place, in picture units.
const CELL: (usize, usize) = (8, 18);
const MARGIN: usize = 12;
const PAPER: &str = "#1e2127";
const INK: &str = "#d7dae0";
/// The colours 0 to 15 of terminals.
const PALETTE: [&str; 16] = [
    "#3f4451", "#e05561", "#8cc265", "#d18f52", "#4aa5f0", "#c162de", "#42b3c2", "#d7dae0", "#6b7383",
    "#ff616e", "#a5e075", "#f0a45d", "#4dc4ff", "#de73ff", "#4cd1e0", "#ffffff",
];

/// How a run of characters is drawn.
#[derive(PartialEq, Clone)]
struct Style {
    ink: String,
    paper: Option<String>,
    bold: bool,
}

/// The picture, cut after the last line that shows something. `title` says what it shows, for those who cannot see it.
pub fn svg(screen: &vt100::Screen, title: &str) -> String {
    let columns = screen.size().1;
    let rows: Vec<Vec<(Style, String)>> = (0..screen.size().0).map(|row| runs(screen, row)).collect();
    let used = rows.iter().rposition(|runs| !runs.is_empty()).map_or(1, |last| last + 1);
    let (width, height) = (usize::from(columns) * CELL.0 + 2 * MARGIN, used * CELL.1 + 2 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>{}</title>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"{PAPER}\"/>\n\
         <g font-family=\"ui-monospace, DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"13\" xml:space=\"preserve\">\n",
        escape(title)
    );
    for (row, runs) in rows.iter().take(used).enumerate() {
        draw(&mut out, row, runs);
    }
    out.push_str("</g>\n</svg>\n");
    out
}

/// The text of a picture, line by line.
pub fn text(svg: &str) -> Vec<String> {
    let lines = svg.lines().filter(|line| line.starts_with("<text"));
    let plain = |line: &str| {
        let (mut text, mut inside) = (String::new(), false);
        for c in line.chars() {
            match c {
                '<' => inside = true,
                '>' => inside = false,
                c if !inside => text.push(c),
                _ => {}
            }
        }
        text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    };
    lines.map(plain).collect()
}

/// The characters of a row in runs of one style, without the blanks at its end.
fn runs(screen: &vt100::Screen, row: u16) -> Vec<(Style, String)> {
    let mut runs: Vec<(Style, String)> = Vec::new();
    for column in 0..screen.size().1 {
        let Some(cell) = screen.cell(row, column).filter(|cell| !cell.is_wide_continuation()) else {
            continue;
        };
        let mut style = Style {
            ink: colour(cell.fgcolor()).unwrap_or_else(|| INK.to_owned()),
            paper: colour(cell.bgcolor()),
            bold: cell.bold(),
        };
        if cell.inverse() {
            let paper = style.paper.take().unwrap_or_else(|| PAPER.to_owned());
            style = Style { paper: Some(std::mem::replace(&mut style.ink, paper)), ..style };
        }
        if cell.dim() {
            PALETTE[8].clone_into(&mut style.ink);
        }
        let text = if cell.has_contents() { cell.contents() } else { " " };
        match runs.last_mut() {
            Some((last, run)) if *last == style => run.push_str(text),
            _ => runs.push((style, text.to_owned())),
        }
    }
    while let Some((style, run)) = runs.last_mut().filter(|(style, _)| style.paper.is_none()) {
        run.truncate(run.trim_end().len());
        if !run.is_empty() || style.paper.is_some() {
            break;
        }
        runs.pop();
    }
    runs
}

fn draw(out: &mut String, row: usize, runs: &[(Style, String)]) {
    let top = MARGIN + row * CELL.1;
    let mut column = 0;
    let mut spans = String::new();
    for (style, run) in runs {
        let (x, width) = (MARGIN + column * CELL.0, run.chars().count());
        if let Some(paper) = &style.paper {
            let _ = writeln!(
                out,
                "<rect x=\"{x}\" y=\"{top}\" width=\"{}\" height=\"{}\" fill=\"{paper}\"/>",
                width * CELL.0,
                CELL.1
            );
        }
        let bold = if style.bold { " font-weight=\"bold\"" } else { "" };
        let _ = write!(
            spans,
            "<tspan x=\"{x}\" textLength=\"{}\" fill=\"{}\"{bold}>{}</tspan>",
            width * CELL.0,
            style.ink,
            escape(run)
        );
        column += width;
    }
    let _ = writeln!(out, "<text y=\"{}\">{spans}</text>", top + 13);
}

fn colour(color: Color) -> Option<String> {
    match color {
        Color::Default => None,
        Color::Idx(n @ 0..16) => Some(PALETTE[usize::from(n)].to_owned()),
        Color::Idx(n @ 232..) => Some(format!("#{0:02x}{0:02x}{0:02x}", 8 + (n - 232) * 10)),
        Color::Idx(n) => {
            let level = |part: u8| if part == 0 { 0 } else { 55 + part * 40 };
            let n = n - 16;
            Some(format!("#{:02x}{:02x}{:02x}", level(n / 36), level(n / 6 % 6), level(n % 6)))
        }
        Color::Rgb(r, g, b) => Some(format!("#{r:02x}{g:02x}{b:02x}")),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_colours_and_what_is_special_survive() {
        let mut parser = vt100::Parser::new(4, 20, 0);
        parser.process(b"a \x1b[31mred\x1b[0m <b>\r\n\r\n\x1b[7mT\x1b[0m");
        let svg = svg(parser.screen(), "x & y");
        assert!(svg.contains("<title>x &amp; y</title>") && svg.contains("fill=\"#e05561\">red<"), "{svg}");
        assert!(svg.contains(&format!("height=\"18\" fill=\"{INK}\"/>")), "{svg}");
        assert_eq!(text(&svg), ["a red <b>", "", "T"]);
    }
}
