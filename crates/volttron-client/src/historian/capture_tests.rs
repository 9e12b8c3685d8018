use serde_json::json;

use super::*;

const NOW: &str = "2026-03-04T17:05:00.000000+00:00";

fn run(config: Value, rule: Rule, topic: &str, headers: Value, message: &Value) -> Yield {
    let (Value::Object(config), Value::Object(headers)) = (config, headers) else { panic!("objects") };
    let (config, problems) = HistorianConfig::parse(&config);
    assert!(problems.is_empty(), "{problems:?}");
    let mut capture = Capture::new(Arc::new(config), "platform.historian");
    let now = parse_stamp(NOW).unwrap();
    capture.message(rule, Inbound { topic, headers: &headers, message, now })
}

/// `source topic ts value` per point.
fn lines(y: &Yield) -> Vec<String> {
    y.points
        .iter()
        .map(|p| format!("{} {} {} {}", p.source.as_str(), p.topic, &p.ts[11..19], p.value))
        .collect()
}

#[test]
fn every_shape_of_the_capture_table() {
    let ts = json!({"TimeStamp": "2026-03-04T16:00:00.5+00:00", "Date": "2026-03-04T15:00:00+00:00"});
    let date = json!({"date": "2026-03-04T15:00:00"});
    let cases: Vec<(Rule, &str, Value, Value, Vec<&str>)> = vec![
        (
            Rule::Device,
            "devices/c/b/u/all",
            ts.clone(),
            json!([{"t": 1.0, "f": 1}, {"t": {"units": "F"}}]),
            vec!["scrape c/b/u/t 16:00:00 1.0", "scrape c/b/u/f 16:00:00 1"],
        ),
        (
            Rule::Device,
            "devices/u/multi",
            date.clone(),
            json!({"t": "é"}),
            vec!["scrape u/t 15:00:00 \"\\u00e9\""],
        ),
        (Rule::Device, "devices/u/all", json!({}), json!([{"t": null}]), vec!["scrape u/t 17:05:00 null"]),
        (Rule::Device, "devices/u/t", ts.clone(), json!([1, {}]), vec![]),
        (Rule::Device, "devices/all/u", ts.clone(), json!([{"t": 1}, {}]), vec![]),
        (
            Rule::Analysis,
            "analysis/app/u",
            ts.clone(),
            json!({"kpi": [1, 2]}),
            vec!["analysis app/u/kpi 16:00:00 [1, 2]"],
        ),
        (
            Rule::Analysis,
            "analysis/app/u/",
            ts.clone(),
            json!([{"kpi": true}, {}]),
            vec!["analysis app/u/kpi 16:00:00 true"],
        ),
        (Rule::Analysis, "analysis/app/all", ts.clone(), json!({"k": 2}), vec!["analysis app/k 16:00:00 2"]),
        (
            Rule::Log,
            "datalogger/x",
            ts.clone(),
            json!({"p": {"Readings": 5, "Units": "F"}, "q": {"Readings": ["2026-03-04T01:02:03", 6], "Units": "C"}}),
            vec!["log datalogger/x/p 17:05:00 5", "log datalogger/x/q 01:02:03 6"],
        ),
        (
            Rule::Log,
            "datalogger/x",
            json!({}),
            json!({"p": {"Readings": [["2026-03-04T01:00:00Z", 1], [null, 2]], "Units": "F"}}),
            vec!["log datalogger/x/p 01:00:00 1", "log datalogger/x/p 17:05:00 2"],
        ),
        (
            Rule::Record,
            "record/a/b",
            date,
            json!({"any": [1]}),
            vec!["record record/a/b 15:00:00 {\"any\": [1]}"],
        ),
        (Rule::Record, "record/a", ts, json!("s"), vec!["record record/a 15:00:00 \"s\""]),
    ];
    for (rule, topic, headers, message, want) in cases {
        let y = run(json!({}), rule, topic, headers, &message);
        assert_eq!(lines(&y), want, "{topic} {message}");
        assert!(y.dropped.is_empty(), "{:?}", y.dropped);
    }
}

#[test]
fn what_means_nothing_is_dropped_with_a_reason_and_the_rest_kept() {
    let bad_ts = json!({"TimeStamp": "yesterday-ish"});
    let cases: Vec<(Rule, &str, Value, Value, usize)> = vec![
        (Rule::Device, "devices/u/all", json!({}), json!(5), 0),
        (Rule::Device, "devices/u/all", json!({}), json!([]), 0),
        (Rule::Device, "devices/u/all", json!({}), json!([1, 2]), 0),
        (Rule::Device, "devices/u/all", json!({}), json!([{"a": 1}, {}, {}]), 0),
        (Rule::Device, "devices/u/all", bad_ts.clone(), json!({"a": 1}), 0),
        (Rule::Device, "devices/u/all", json!({"TimeStamp": 12}), json!({"a": 1}), 0),
        (Rule::Analysis, "analysis/u", bad_ts, json!({"a": 1}), 0),
        (Rule::Record, "record/u", json!({"Date": "x"}), json!(1), 0),
        (Rule::Log, "datalogger/x", json!({}), json!([1]), 0),
        (
            Rule::Log,
            "datalogger/x",
            json!({}),
            json!({"p": {"Readings": 1}, "q": {"Readings": 1, "Units": "F"}}),
            1,
        ),
        (Rule::Log, "datalogger/x", json!({}), json!({"p": 4, "q": {"Readings": 1, "Units": "F"}}), 1),
        (Rule::Log, "datalogger/x", json!({}), json!({"p": {"Readings": [], "Units": "F"}}), 0),
        (Rule::Log, "datalogger/x", json!({}), json!({"p": {"Readings": [1, 2], "Units": "F"}}), 0),
        (Rule::Log, "datalogger/x", json!({}), json!({"p": {"Readings": ["bad", 2], "Units": "F"}}), 0),
        (
            Rule::Log,
            "datalogger/x",
            json!({}),
            json!({"p": {"Readings": [["bad", 2], ["2026-03-04T01:00:00", 3]], "Units": "F"}}),
            1,
        ),
    ];
    for (rule, topic, headers, message, kept) in cases {
        let y = run(json!({}), rule, topic, headers, &message);
        assert_eq!(y.points.len(), kept, "{topic} {message}");
        assert_eq!(y.dropped.len(), 1, "{topic} {message}");
    }
}

#[test]
fn metadata_is_carried_per_point() {
    let meta = |y: &Yield| y.points.iter().map(|p| p.meta.clone().map(Value::Object)).collect::<Vec<_>>();
    let y = run(
        json!({}),
        Rule::Device,
        "devices/u/all",
        json!({}),
        &json!([{"a": 1, "b": 2}, {"a": {"units": "F"}}]),
    );
    assert_eq!(meta(&y), [Some(json!({"units": "F"})), None]);
    for (item, want) in [
        (json!({"Readings": 1, "Units": "F"}), json!({"units": "F", "type": "float"})),
        (json!({"Readings": 1, "Units": "F", "data_type": "double"}), json!({"units": "F", "type": "float"})),
        (
            json!({"Readings": 1, "Units": "F", "data_type": "int", "tz": "US/Pacific"}),
            json!({"units": "F", "type": "int", "tz": "US/Pacific"}),
        ),
        (
            json!({"Readings": ["2026-01-01T00:00:00Z", 1], "Units": "F"}),
            json!({"units": "F", "type": "float", "tz": "UTC"}),
        ),
    ] {
        let y = run(json!({}), Rule::Log, "datalogger/x", json!({}), &json!({"p": item}));
        assert_eq!(meta(&y), [Some(want)]);
    }
}

#[test]
fn the_device_filter_keeps_listed_points_with_and_without_metadata() {
    let config = json!({"device_data_filter": {"ahu": ["t"], "ahu1": ["f"]}});
    let cases = [
        ("devices/b/ahu1/all", json!([{"t": 1, "f": 2, "x": 3}, {"t": {}}]), vec!["b/ahu1/t", "b/ahu1/f"]),
        ("devices/b/ahu2/all", json!({"t": 1, "f": 2}), vec!["b/ahu2/t"]),
        ("devices/b/vav/all", json!([{"t": 1}, {}]), vec![]),
    ];
    for (topic, message, want) in cases {
        let y = run(config.clone(), Rule::Device, topic, json!({}), &message);
        assert_eq!(y.points.iter().map(|p| p.topic.as_str()).collect::<Vec<_>>(), want, "{topic}");
        assert!(y.dropped.is_empty());
    }
    // Analysis data is not filtered.
    let y = run(config, Rule::Analysis, "analysis/vav/all", json!({}), &json!({"t": 1}));
    assert_eq!(y.points.len(), 1);
}

#[test]
fn topics_are_replaced_before_they_are_taken_apart() {
    let config =
        json!({"topic_replace_list": [{"from": "PNNL", "to": "site"}, {"from": "bldg.1", "to": "b$1"}]});
    let y = run(config.clone(), Rule::Device, "devices/pnnl/BLDG.1/u/all", json!({}), &json!({"t": 1}));
    assert_eq!(y.points[0].topic, "site/b$1/u/t");
    let y = run(
        config.clone(),
        Rule::Log,
        "datalogger/pnnl",
        json!({}),
        &json!({"PNNL": {"Readings": 1, "Units": ""}}),
    );
    assert_eq!(y.points[0].topic, "datalogger/site/PNNL");
    let y = run(config, Rule::Record, "record/bldgx1", json!({}), &json!(1));
    assert_eq!(y.points[0].topic, "record/bldgx1");
}

#[test]
fn replacement_follows_the_received_topic() {
    let list = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(f, t)| Replacement { from: (*f).into(), to: (*t).into() }).collect::<Vec<_>>()
    };
    for (topic, pairs, want) in [
        ("a/b/a", list(&[("a", "x")]), "x/b/x"),
        ("a/b", list(&[("a", "c"), ("c", "d")]), "c/b"),
        ("A/C", list(&[("a", "c"), ("c", "d")]), "d/d"),
        ("a", list(&[]), "a"),
    ] {
        assert_eq!(rename(topic, &pairs), want, "{topic}");
    }
}

#[test]
fn tolerance_compares_the_whole_gap_and_marks_the_headers() {
    let config = json!({"time_tolerance": 60, "time_tolerance_topics": ["devices", "record"]});
    let run_at =
        |rule, topic: &str, headers: Value| run(config.clone(), rule, topic, headers, &json!({"t": 1}));
    // Exactly one day off: the original let this pass.
    for (headers, late) in [
        (json!({"TimeStamp": "2026-03-03T17:05:00+00:00"}), true),
        (json!({"TimeStamp": "2026-03-05T17:05:00+00:00"}), true),
        (json!({"TimeStamp": "2026-03-04T17:04:00+00:00"}), false),
        (json!({"TimeStamp": "2026-03-04T17:03:59+00:00"}), true),
        (json!({}), false),
    ] {
        let y = run_at(Rule::Device, "devices/u/all", headers.clone());
        assert_eq!(y.points[0].out_of_tolerance, late, "{headers}");
        assert_eq!(y.points[0].headers.contains("\"time_error\": true"), late, "{headers}");
    }
    let y = run_at(Rule::Analysis, "analysis/u/all", json!({"TimeStamp": "2020-01-01T00:00:00"}));
    assert!(!y.points[0].out_of_tolerance);
    let y = run(
        json!({}),
        Rule::Device,
        "devices/u/all",
        json!({"TimeStamp": "2020-01-01T00:00:00"}),
        &json!({"t": 1}),
    );
    assert!(!y.points[0].out_of_tolerance && !y.points[0].headers.contains("time_error"));
}

#[test]
fn sync_timestamp_and_timing_data() {
    let headers =
        json!({"TimeStamp": "2026-03-04T16:00:01", "SynchronizedTimeStamp": "2026-03-04T16:00:00", "X": 1});
    let config = json!({"sync_timestamp": true, "gather_timing_data": true});
    let y = run(config, Rule::Device, "devices/u/all", headers, &json!({"t": 1}));
    assert_eq!(&y.points[0].ts[..], "2026-03-04T16:00:00.000000+00:00");
    let kept: Value = serde_json::from_str(&y.points[0].headers).unwrap();
    assert_eq!(kept["X"], 1);
    assert_eq!(kept["timing_data"]["platform.historian"]["collected"], NOW);
}

#[test]
fn insert_routes_by_root() {
    for (topic, rule) in [
        ("devices/a/all", Some(Rule::Device)),
        ("analysis/a", Some(Rule::Analysis)),
        ("datalogger/a", Some(Rule::Log)),
        ("record/a", Some(Rule::Record)),
        ("alerts/a", None),
        ("", None),
    ] {
        assert_eq!(Capture::rule_for_root(topic), rule, "{topic}");
    }
}

proptest::proptest! {
    /// Whatever arrives, capture neither panics nor makes a stamp of another shape.
    #[test]
    fn any_message_is_survived(topic in "[a-zA-Z/. ]{0,20}(/all)?", text in "\\PC{0,40}", kind in 0u8..4, shape in 0u8..6) {
        let rule = [Rule::Device, Rule::Analysis, Rule::Log, Rule::Record][kind as usize];
        let message = match shape {
            0 => json!(text),
            1 => json!([{text.clone(): text.clone()}, {text.clone(): {"units": text}}]),
            2 => json!({text.clone(): {"Readings": [text.clone(), 1], "Units": text}}),
            3 => json!([[text]]),
            4 => json!({text.clone(): {"Readings": [[text.clone(), 1], text], "Units": 1}}),
            _ => json!([null, text]),
        };
        let config = json!({"device_data_filter": {"a": ["b"]}, "time_tolerance": 1,
            "topic_replace_list": [{"from": "a", "to": "(b"}]});
        let y = run(config, rule, &topic, json!({"Date": text}), &message);
        for p in &y.points {
            proptest::prop_assert!(super::super::text::is_stamp(&p.ts));
        }
    }
}
