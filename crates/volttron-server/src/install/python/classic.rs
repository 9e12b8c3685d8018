//! The module names of 9.x for agents that were written for it, on the client library of 10.x.

use std::fs;
use std::io;
use std::path::Path;

const MODULES: [(&str, &str); 3] = [
    ("volttron/platform/__init__.py", include_str!("classic_modules/platform.py")),
    ("volttron/platform/agent/__init__.py", include_str!("classic_modules/agent.py")),
    ("volttron/platform/agent/utils.py", include_str!("classic_modules/utils.py")),
];

/// Puts them into an environment's `site-packages`. `volttron` has no `__init__` there: parts of it may lie in several
/// places.
pub(super) fn write(site_packages: &Path) -> io::Result<()> {
    for (name, text) in MODULES {
        let path = site_packages.join(name);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}
