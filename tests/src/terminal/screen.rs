//! A program that draws, and what is to be seen of it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};

use super::{inside, pair, resize};
use crate::wait::until;

/// How long a screen may let wait for it; guards against hanging.
const PATIENCE: Duration = Duration::from_mins(2);

/// A program in a terminal of a size, in columns and rows; killed when dropped.
pub struct Screen {
    keys: File,
    /// The side of the program, kept open to look at its modes.
    inside: Option<File>,
    reader: Option<JoinHandle<()>>,
    shown: Arc<Mutex<vt100::Parser>>,
    child: Child,
}

impl Screen {
    /// Starts the program.
    ///
    /// # Panics
    /// If there is no terminal to be had or the program does not start.
    pub fn open(command: &mut Command, size: (u16, u16)) -> Self {
        let (keys, path) = pair();
        resize(&keys, size);
        let child = command
            .env("TERM", "xterm-256color")
            .stdin(inside(&path))
            .stdout(inside(&path))
            .stderr(inside(&path))
            .spawn();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let shown = Arc::new(Mutex::new(vt100::Parser::new(size.1, size.0, 0)));
        let (mut reader, sink) = (keys.try_clone().expect("a descriptor"), shown.clone());
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // An error is how a terminal tells that nobody is at its other side any more.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                sink.lock().expect("the screen").process(&buffer[..count]);
            }
        });
        Self {
            keys,
            inside: Some(inside(&path)),
            reader: Some(reader),
            shown,
            child: child.expect("start the program"),
        }
    }

    /// The program.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What is on the screen.
    pub fn text(&self) -> String {
        self.snapshot().contents()
    }

    /// What is on the screen, with its colours.
    pub fn snapshot(&self) -> vt100::Screen {
        self.shown.lock().expect("the screen").screen().clone()
    }

    /// Waits until the screen is as wanted.
    pub fn until(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        until(what, PATIENCE, || Some(self.text()).filter(|text| fits(text)))
    }

    /// Types.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("press keys");
    }

    /// Gives the terminal another size, and tells the program.
    pub fn resize(&self, size: (u16, u16)) {
        self.shown.lock().expect("the screen").screen_mut().set_size(size.1, size.0);
        resize(&self.keys, size);
        // Without a controlling terminal nobody else tells the program.
        kill_process(self.pid(), Signal::WINCH).expect("tell the program");
    }

    /// Whether the terminal shows what is typed and hands it on in lines.
    pub fn is_cooked(&self) -> bool {
        tcgetattr(self.inside.as_ref().expect("kept until the end"))
            .expect("modes")
            .local_modes
            .contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Waits for the end of the program; how it ended, and the screen as it left it.
    pub fn end(mut self) -> (Option<i32>, vt100::Screen) {
        let code = self.child.wait().expect("wait for the program").code();
        // With nobody left at the other side the reader comes to its end, having seen everything.
        drop(self.inside.take());
        self.reader.take().expect("it reads until here").join().expect("the reader");
        (code, self.snapshot())
    }

    /// Waits for the end; the terminal has to be what it was.
    pub fn ended(mut self, code: i32) {
        let status = self.child.wait().expect("wait for the program");
        assert_eq!(status.code(), Some(code), "{}", self.text());
        assert!(self.is_cooked());
        let (_, screen) = self.end();
        assert!(!screen.alternate_screen() && !screen.hide_cursor(), "the first screen is not back");
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
