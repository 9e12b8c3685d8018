//! Programs at a terminal of their own: [`Dialogue`] for questions that are answered, [`Screen`] for what is drawn, and
//! [`picture`] of a screen. Never the terminal of whoever runs the tests.

mod dialogue;
pub mod picture;
mod screen;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

pub use dialogue::Dialogue;
pub use screen::Screen;

/// A pseudo-terminal: the side of the person, and the path of the program's side.
fn pair() -> (File, PathBuf) {
    let outside = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&outside).and_then(|()| unlockpt(&outside)).expect("a usable pseudo-terminal");
    let name = ptsname(&outside, Vec::new()).expect("its name");
    (File::from(outside), PathBuf::from(name.to_str().expect("text")))
}

/// The program's side of a pseudo-terminal. It never becomes the controlling terminal of this process.
fn inside(path: &std::path::Path) -> File {
    use std::os::unix::fs::OpenOptionsExt;
    let no_control = rustix::fs::OFlags::NOCTTY.bits().cast_signed();
    File::options().read(true).write(true).custom_flags(no_control).open(path).expect("open the terminal")
}

fn resize(terminal: impl AsFd, (width, height): (u16, u16)) {
    let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("set the size");
}
