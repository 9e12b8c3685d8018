//! System calls that no agent needs, answered with EPERM: those that look into other processes, change the machine, or are
//! known for what they do to kernels.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// Answered with EPERM, whatever their arguments.
const REFUSED: &[libc::c_long] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_perf_event_open,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    // The kernel.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// On this architecture every call has a second number, those whose arguments differ a third.
#[cfg(target_arch = "x86_64")]
const X32: libc::c_long = 0x4000_0000;
#[cfg(target_arch = "x86_64")]
const REFUSED_X32: &[libc::c_long] = &[521, 528, 539, 540]; // ptrace, kexec_load, process_vm_readv, process_vm_writev

/// Flags of `clone` and `unshare` that make a namespace.
const NAMESPACES: [libc::c_int; 8] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    // CLONE_NEWTIME; the C library has no name for it. To `clone` these bits mean a signal, which is none of 128 and more.
    0x80,
];

/// Whether the kernel takes filters, and lets this process ask for one.
#[allow(unsafe_code)]
pub(super) fn available() -> bool {
    let action = libc::SECCOMP_RET_ERRNO;
    let (ask, no_flags) = (libc::SECCOMP_GET_ACTION_AVAIL, 0);
    // SAFETY: the kernel reads the four bytes of `action`, which live longer than the call.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, ask, no_flags, std::ptr::from_ref(&action)) };
    answer == 0 && TargetArch::try_from(std::env::consts::ARCH).is_ok()
}

/// Refuses the calls to this thread, and to all it becomes or starts.
pub(super) fn refuse() -> io::Result<()> {
    for filter in filters().map_err(io::Error::other)? {
        seccompiler::apply_filter(&filter).map_err(io::Error::other)?;
    }
    Ok(())
}

/// What kernel and C library agree on: one filter for each kind of answer.
fn filters() -> Result<[BpfProgram; 2], seccompiler::Error> {
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|number| (*number, Vec::new())).collect();
    for number in [libc::SYS_unshare, libc::SYS_clone] {
        let rules: Result<Vec<_>, _> = NAMESPACES.iter().map(|flag| with(*flag)).collect();
        refused.insert(number, rules?);
    }
    // Its flags lie in memory, which a filter cannot read. A C library that is told there is no such call takes `clone`.
    let mut absent = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    #[cfg(target_arch = "x86_64")]
    {
        let twins: Vec<_> = refused.iter().map(|(number, rules)| (number | X32, rules.clone())).collect();
        refused.extend(twins);
        refused.extend(REFUSED_X32.iter().map(|number| (number | X32, Vec::new())));
        absent.insert(libc::SYS_clone3 | X32, Vec::new());
    }
    Ok([program(refused, libc::EPERM)?, program(absent, libc::ENOSYS)?])
}

fn with(flag: libc::c_int) -> Result<SeccompRule, seccompiler::Error> {
    let flag = u64::from(flag.unsigned_abs());
    let set = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(flag), flag)?;
    Ok(SeccompRule::new(vec![set])?)
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    answer: libc::c_int,
) -> Result<BpfProgram, seccompiler::Error> {
    let answer = SeccompAction::Errno(answer.unsigned_abs());
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, answer, arch)?.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_a_program_the_kernel_can_take() {
        let [refused, absent] = filters().unwrap();
        // The kernel's own limit.
        assert!(refused.len() < 4096 && absent.len() < 4096, "{} {}", refused.len(), absent.len());
        let number_of = |list: &[libc::c_long]| list.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!(number_of(REFUSED), REFUSED.len(), "each once");
    }
}
