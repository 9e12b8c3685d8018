//! Users of the site's group. Made and removed by the system's own tools, which know about all its user databases.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use super::IsolationError;
use super::site::Site;

/// One agent's user, checked to be one of the site's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentUser {
    /// Its name.
    pub name: String,
    /// Number of the user.
    pub uid: u32,
    /// Number of the site's group.
    pub gid: u32,
}

/// Whether this is a name that [`add`] gives.
pub fn is_agent_name(name: &str) -> bool {
    name.strip_prefix("volttron_").is_some_and(|digits| {
        (1..=20).contains(&digits.len())
            && digits.chars().all(|c| c.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

/// Makes a user for an agent; the group too, if this is the first.
pub fn add(site: &Site) -> Result<String, IsolationError> {
    let group = site.group();
    if entry("group", &group)?.is_none() {
        tool("groupadd", &["--system", &group])?;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("volttron_{}", since.as_micros());
    tool(
        "useradd",
        &[
            "--system",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
            "--no-user-group",
            "--gid",
            &group,
            &name,
        ],
    )?;
    Ok(name)
}

/// Removes an agent's user.
pub fn remove(site: &Site, name: &str) -> Result<(), IsolationError> {
    let user = find(site, name)?;
    tool("userdel", &[&user.name])
}

/// An agent's user, if it is one: by its name, and because its group is the site's. Other users are none of the helper's
/// business, whoever asks.
pub fn find(site: &Site, name: &str) -> Result<AgentUser, IsolationError> {
    let wrong = |why: &str| IsolationError::User { user: name.to_owned(), why: why.to_owned() };
    if !is_agent_name(name) {
        return Err(wrong("not a name of an agent's user (volttron_ and digits)"));
    }
    let line = entry("passwd", name)?.ok_or_else(|| wrong("there is no such user"))?;
    let group = entry("group", &site.group())?.ok_or_else(|| wrong("the site's group does not exist"))?;
    let number =
        |line: &str, field: usize| line.split(':').nth(field).and_then(|text| text.parse::<u32>().ok());
    match (number(&line, 2), number(&line, 3), number(&group, 2)) {
        (Some(uid), Some(gid), Some(of_site)) if gid == of_site && uid != 0 => {
            Ok(AgentUser { name: name.to_owned(), uid, gid })
        }
        _ => Err(wrong("not a user of this platform's agents")),
    }
}

/// Number and main group of any user.
pub fn numbers(name: &str) -> Result<(u32, u32), IsolationError> {
    let wrong = || IsolationError::User { user: name.to_owned(), why: "there is no such user".to_owned() };
    let line = entry("passwd", name)?.ok_or_else(wrong)?;
    let mut fields = line.split(':').skip(2).map(str::parse::<u32>);
    match (fields.next(), fields.next()) {
        (Some(Ok(uid)), Some(Ok(gid))) => Ok((uid, gid)),
        _ => Err(wrong()),
    }
}

/// One line of a user database; none if there is no such entry.
fn entry(database: &str, name: &str) -> Result<Option<String>, IsolationError> {
    let output = system_tool("getent").args([database, name]).output();
    let output = output.map_err(|source| IsolationError::System { what: "run getent", source })?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    // It would also find entries by number.
    let own = text.split(':').next() == Some(name);
    Ok((output.status.success() && own).then_some(text))
}

/// A tool of the system, from where the system has it, whatever the caller's environment says.
fn system_tool(name: &str) -> Command {
    let path = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|p| p.exists());
    let mut command = Command::new(path.unwrap_or_else(|| Path::new("/usr/sbin").join(name)));
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C").stdin(Stdio::null());
    command
}

fn tool(name: &'static str, args: &[&str]) -> Result<(), IsolationError> {
    let output = system_tool(name).args(args).output();
    let output = output.map_err(|e| IsolationError::Request(format!("cannot run {name}: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(IsolationError::Request(format!("{name} {}: {said}", args.join(" "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_given_to_agents_are_agents() {
        for (name, is) in [
            ("volttron_1763722000123456", true),
            ("volttron_1", true),
            ("volttron_0", false),
            ("volttron_", false),
            ("volttron_1a", false),
            ("volttron_campus", false),
            ("root", false),
            ("volttron_1 ", false),
            ("volttron_999999999999999999999", false),
        ] {
            assert_eq!(is_agent_name(name), is, "{name}");
        }
    }
}
