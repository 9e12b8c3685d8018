//! The terminal while `vctl top` has it, and its return to what it was.

use std::io::{self, Write};
use std::sync::Once;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};

/// What is taken for the size of a terminal that does not tell.
const UNKNOWN: (u16, u16) = (80, 24);

/// One line of the screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// Its text, not longer than the screen is wide.
    pub(super) text: String,
    /// Whether it stands out.
    pub(super) heading: bool,
}

/// Has the terminal until it is dropped.
#[derive(Debug)]
pub(super) struct Terminal {
    out: io::Stdout,
}

impl Terminal {
    /// Takes the terminal.
    pub(super) fn open() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        // What a panic has to say would otherwise be lost with the other screen.
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                before(info);
            }));
        });
        enable_raw_mode()?;
        let mut terminal = Self { out: io::stdout() };
        execute!(terminal.out, EnterAlternateScreen, Hide)?;
        Ok(terminal)
    }

    /// Shows the lines that `draw` makes for a width and a height. What stays is written over with the same, so nothing
    /// flickers.
    pub(super) fn show(&mut self, draw: impl FnOnce(usize, usize) -> Vec<Line>) -> io::Result<()> {
        let (width, height) = size().ok().filter(|(w, h)| *w > 0 && *h > 0).unwrap_or(UNKNOWN);
        let lines = draw(usize::from(width), usize::from(height));
        for (row, line) in (0..height).zip(&lines) {
            queue!(self.out, MoveTo(0, row))?;
            if line.heading {
                queue!(self.out, SetAttribute(Attribute::Reverse))?;
            }
            queue!(
                self.out,
                Print(&line.text),
                SetAttribute(Attribute::Reset),
                Clear(ClearType::UntilNewLine)
            )?;
        }
        let below = u16::try_from(lines.len()).unwrap_or(height);
        if below < height {
            queue!(self.out, MoveTo(0, below), Clear(ClearType::FromCursorDown))?;
        }
        self.out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}
