//! In which order enabled agents start: higher priority first, equal ones by identity, and nobody before those it comes
//! `after` (lifecycle.md section 5).

use super::installed::InstalledAgent;

/// The agents in their order, and those whose dependencies are a circle, which are started all the same.
pub fn start_order(mut agents: Vec<InstalledAgent>) -> (Vec<InstalledAgent>, Vec<String>) {
    agents.sort_by(|a, b| b.start_rank().cmp(&a.start_rank()).then_with(|| a.identity.cmp(&b.identity)));
    let (mut ordered, mut circles) = (Vec::<InstalledAgent>::new(), Vec::new());
    while !agents.is_empty() {
        // Who is named but does not start with the platform is not waited for.
        let free = agents.iter().position(|agent| {
            agent.after().iter().all(|name| agents.iter().all(|other| other.identity != *name))
        });
        if free.is_none() {
            circles.push(agents[0].identity.clone());
        }
        ordered.push(agents.remove(free.unwrap_or(0)));
    }
    (ordered, circles)
}

/// The agents as they are to stop, in the reverse order: each group together, and none before those that come `after` it.
pub fn stop_groups(agents: Vec<InstalledAgent>) -> Vec<Vec<InstalledAgent>> {
    let (ordered, _) = start_order(agents);
    let mut groups: Vec<Vec<InstalledAgent>> = Vec::new();
    for agent in ordered.into_iter().rev() {
        let fits = groups.last().is_some_and(|group| {
            group.iter().all(|other| {
                other.start_rank() == agent.start_rank() && !other.after().contains(&agent.identity)
            })
        });
        match groups.last_mut().filter(|_| fits) {
            Some(group) => group.push(agent),
            None => groups.push(vec![agent]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use volttron_utils::home::AgentDir;

    use super::*;

    fn agent(identity: &str, priority: &str, after: &[&str]) -> InstalledAgent {
        let manifest = serde_json::json!({
            "format": 1, "package": "p", "version": "1", "exec": "p", "runtime": "native", "after": after,
        });
        InstalledAgent {
            uuid: identity.into(),
            identity: identity.into(),
            name: "p-1".into(),
            dir: AgentDir::at("/nowhere"),
            manifest: Some(serde_json::from_value(manifest).unwrap()),
            tag: None,
            priority: Some(priority.into()),
        }
    }

    fn order(agents: Vec<InstalledAgent>) -> (Vec<String>, Vec<String>) {
        let (ordered, circles) = start_order(agents);
        (ordered.into_iter().map(|a| a.identity).collect(), circles)
    }

    #[test]
    fn priorities_are_numbers_and_dependencies_go_before_them() {
        let agents = vec![
            agent("b", "50", &[]),
            agent("a", "50", &["late"]),
            agent("nine", "9", &[]),
            agent("late", "7", &["nowhere"]),
            agent("first", "90", &["b"]),
        ];
        assert_eq!(order(agents).0, ["b", "first", "nine", "late", "a"]);
    }

    #[test]
    fn what_others_come_after_stops_after_them() {
        let mut idle = agent("idle", "1", &[]);
        idle.priority = None;
        let agents = vec![
            agent("a", "50", &["late"]),
            agent("b", "50", &[]),
            agent("c", "50", &["b"]),
            agent("d", "50", &[]),
            agent("late", "7", &[]),
            idle,
        ];
        let groups: Vec<Vec<String>> =
            stop_groups(agents).into_iter().map(|g| g.into_iter().map(|a| a.identity).collect()).collect();
        let at =
            |name: &str| groups.iter().position(|group| group.iter().any(|n| n == name)).expect("in a group");
        assert!(at("a") < at("late") && at("c") < at("b") && at("idle") == 0, "{groups:?}");
        assert!(groups.len() <= 5, "equal ones together: {groups:?}");
    }

    #[test]
    fn a_circle_is_told_and_broken() {
        let agents = vec![agent("a", "1", &["b"]), agent("b", "1", &["a"]), agent("c", "1", &["c"])];
        let (ordered, circles) = order(agents);
        assert_eq!(ordered.len(), 3);
        assert_eq!(circles.len(), 2, "{circles:?}");
    }
}
