//! What the head of an ELF file says: whether this machine can run it.

/// The first bytes of every ELF file.
pub const MAGIC: &[u8] = b"\x7fELF";

/// How much of the file [`check`] looks at.
pub const HEADER_BYTES: u64 = 20;

/// Where the type and the machine stand.
const TYPE_AT: usize = 16;
const MACHINE_AT: usize = 18;
/// Offset of the byte order mark, and its value for big-endian files.
const ORDER_AT: usize = 5;
const BIG_ENDIAN: u8 = 2;

/// Programs: at a fixed address, or position independent.
const EXECUTABLE: [u16; 2] = [2, 3];

/// Numbers of machines, with the names that Rust's targets have for them.
const MACHINES: [(u16, &str); 10] = [
    (3, "x86"),
    (8, "mips"),
    (20, "powerpc"),
    (21, "powerpc64"),
    (22, "s390x"),
    (40, "arm"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv64"),
    (258, "loongarch64"),
];

/// 32-bit programs that a 64-bit kernel runs as well, where it was told to.
const ALSO_RUN: [(&str, &str); 2] = [("x86_64", "x86"), ("aarch64", "arm")];

/// Whether the file that begins like this is a program for this machine; otherwise, what it is and what to do.
pub fn check(head: &[u8]) -> Result<(), String> {
    check_for(head, std::env::consts::ARCH)
}

fn check_for(head: &[u8], here: &str) -> Result<(), String> {
    let (Some(kind), Some(machine)) = (number(head, TYPE_AT), number(head, MACHINE_AT)) else {
        return Err("this is only the beginning of a program: the file is damaged".into());
    };
    if !EXECUTABLE.contains(&kind) {
        return Err("this is an object file or a core dump, not a program".into());
    }
    let theirs = MACHINES.iter().find(|(number, _)| *number == machine).map(|(_, name)| *name);
    match theirs {
        Some(theirs) if theirs == here || ALSO_RUN.contains(&(here, theirs)) => Ok(()),
        theirs => {
            let theirs = theirs.map_or_else(|| format!("machine number {machine}"), str::to_owned);
            Err(format!(
                "this is a program for {theirs}, and this machine is {here}; take one built for {here}, or install the \
                 crate and have it built here"
            ))
        }
    }
}

fn number(head: &[u8], at: usize) -> Option<u16> {
    let bytes = [*head.get(at)?, *head.get(at + 1)?];
    let big = head.get(ORDER_AT) == Some(&BIG_ENDIAN);
    Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(order: u8, kind: u16, machine: u16) -> Vec<u8> {
        let write = |n: u16| if order == BIG_ENDIAN { n.to_be_bytes() } else { n.to_le_bytes() };
        let mut head = [MAGIC, &[2, order, 1, 0], &[0; 8]].concat();
        head.extend(write(kind));
        head.extend(write(machine));
        head
    }

    #[test]
    fn programs_for_other_machines_are_named() {
        for (order, kind, machine, here, expected) in [
            (1, 3, 62, "x86_64", Ok(())),
            (1, 2, 3, "x86_64", Ok(())),
            (1, 3, 183, "aarch64", Ok(())),
            (1, 3, 183, "x86_64", Err("a program for aarch64, and this machine is x86_64")),
            (2, 2, 22, "x86_64", Err("a program for s390x")),
            (1, 3, 777, "x86_64", Err("machine number 777")),
            (1, 1, 62, "x86_64", Err("an object file")),
        ] {
            match (check_for(&head(order, kind, machine), here), expected) {
                (Ok(()), Ok(())) => {}
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (got, _) => panic!("{machine} on {here}: {got:?}"),
            }
        }
        assert!(check(b"\x7fELF..").unwrap_err().contains("damaged"));
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(check(&own), Ok(()));
    }
}
