//! Topics: segments joined by `/`, matched by text prefix (topics-and-time.md sections 1, 2).

/// Root of device publications.
pub const DEVICES: &str = "devices";
/// Root of application results.
pub const ANALYSIS: &str = "analysis";
/// Root of free records.
pub const RECORD: &str = "record";
/// Root of log data.
pub const DATALOGGER: &str = "datalogger";
/// Root of alerts.
pub const ALERTS: &str = "alerts";
/// Root of heartbeats.
pub const HEARTBEAT: &str = "heartbeat";
/// Root of actuation messages.
pub const ACTUATORS: &str = "devices/actuators";

/// Removes empty and `.` segments and resolves `..`; the result has no leading or trailing slash.
pub fn normalise(topic: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in topic.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.join("/")
}

/// The bus's rule: plain text prefix, so `devices/a` matches `devices/ab`. A trailing slash counts.
pub fn matches_prefix(topic: &str, prefix: &str) -> bool {
    topic.starts_with(prefix)
}

/// Joins non-empty parts, e.g. `join(["devices", path, "all"])`.
pub fn join<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for part in parts.into_iter().filter(|p| !p.is_empty()) {
        if !out.is_empty() {
            out.push('/');
        }
        out.push_str(part);
    }
    out
}

/// `devices/<path>/<point>`; an empty point ends the topic at the device.
pub fn device(path: &str, point: &str) -> String {
    join([DEVICES, path, point])
}

/// `devices/<path>/all`.
pub fn device_all(path: &str) -> String {
    device(path, "all")
}

/// `devices/<point>/<path reversed by segments>`: the breadth-first form.
pub fn device_breadth_first(path: &str, point: &str) -> String {
    let mut parts = vec![DEVICES, point];
    parts.extend(path.split('/').rev());
    join(parts)
}

/// The path of a `devices/...` topic without its root; other topics unchanged.
pub fn strip_devices(topic: &str) -> &str {
    topic.strip_prefix("devices/").unwrap_or(topic)
}

/// `heartbeat/<identity>`.
pub fn heartbeat(identity: &str) -> String {
    join([HEARTBEAT, identity])
}

/// `alerts/<class>/<instance>_<identity>`, dots turned into underscores (subsystems.md section 8).
pub fn alert(class: &str, instance: &str, identity: &str) -> String {
    join([ALERTS, class, &crate::identity::alert_name(instance, identity)])
}

/// `<root>/{campus}/{building}/{unit}/{path}/{point}`, cut at the first missing part; a missing `path` is left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Template<'a> {
    /// First level.
    pub campus: Option<&'a str>,
    /// Second level.
    pub building: Option<&'a str>,
    /// Third level.
    pub unit: Option<&'a str>,
    /// Any number of further levels.
    pub path: Option<&'a str>,
    /// Last level.
    pub point: Option<&'a str>,
}

impl Template<'_> {
    /// The topic under `root`.
    pub fn under(&self, root: &str) -> String {
        let mut parts = vec![root];
        for level in [self.campus, self.building, self.unit] {
            match level {
                Some(text) => parts.push(text),
                None => return join(parts),
            }
        }
        parts.extend(self.path);
        parts.extend(self.point);
        join(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn building_topics() {
        assert_eq!(device_all("campus/b1/ahu"), "devices/campus/b1/ahu/all");
        assert_eq!(device_breadth_first("campus/b1/ahu", "Temp"), "devices/Temp/ahu/b1/campus");
        assert_eq!(device("a", ""), "devices/a");
        assert_eq!(alert("ForwardHistorian", "site1", "a.fwd"), "alerts/ForwardHistorian/site1_a_fwd");
        let full = Template {
            campus: Some("c"),
            building: Some("b"),
            unit: Some("u"),
            path: None,
            point: Some("p"),
        };
        assert_eq!(full.under(DEVICES), "devices/c/b/u/p");
        assert_eq!(Template { building: None, ..full }.under(DEVICES), "devices/c");
        assert_eq!(Template { path: Some("x/y"), ..full }.under(ANALYSIS), "analysis/c/b/u/x/y/p");
    }

    #[test]
    fn normalising_and_matching() {
        for (topic, expected) in
            [("/a//b/", "a/b"), ("a/./b/../c", "a/c"), ("../a", "a"), ("", ""), ("/", "")]
        {
            assert_eq!(normalise(topic), expected);
        }
        assert!(matches_prefix("devices/ab", "devices/a") && !matches_prefix("devices/ab", "devices/a/"));
        assert!(matches_prefix("x", ""));
    }
}
