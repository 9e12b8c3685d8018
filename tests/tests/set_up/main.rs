//! Setting a platform up, starting and stopping it: `vcfg`, `volttron --check-config`, `start-volttron`, `volttron up`.

mod background;
mod check;
mod logging;
mod metadata;
mod piped;
mod site;
mod terminal;
