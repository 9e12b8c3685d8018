//! `vctl bench` measures the real thing, and leaves nothing behind.

use std::fs;

use volttron_tests::platform::Platform;

#[test]
fn everything_is_measured_and_nothing_stays() {
    let platform = Platform::start();
    let report = platform.vctl_json(&["bench", "--for", "0.3"]);
    for (subject, figures) in [("rpc", 4), ("pubsub", 5), ("config", 5), ("fsync", 4)] {
        let all = report[subject].as_array().unwrap_or_else(|| panic!("{subject}: {report}"));
        assert_eq!(all.len(), figures, "{subject}");
        for figure in all {
            let lost = figure["name"] == "publications lost";
            let value = figure["value"].as_f64().expect("a number");
            assert!(if lost { value == 0.0 } else { value > 0.0 }, "{figure}");
            assert!(figure["unit"].is_string());
        }
    }
    let stores = fs::read_dir(platform.home().join("configuration_store")).expect("the stores");
    let left: Vec<_> =
        stores.flatten().map(|e| e.file_name()).filter(|n| n.to_string_lossy().contains("bench")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_disk_is_measured_without_the_platform() {
    let platform = Platform::prepare();
    let text = platform.vctl_ok(&["bench", "fsync", "--for", "0.1"]);
    assert!(text.starts_with("fsync\n  one durable file, half within ") && text.contains(" ms\n"), "{text}");
    assert_eq!(platform.vctl(&["bench", "rpc"]).status.code(), Some(10));
}
