//! What the system gives to a process: processors and open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// One processor for the server, and the others for its clients; the same one if there is no other. To be asked before
/// anybody is kept to a part of them.
#[cfg(target_os = "linux")]
pub(crate) fn shares() -> (usize, Vec<usize>) {
    use rustix::thread::{CpuSet, sched_getaffinity};

    let set = sched_getaffinity(None).expect("we run somewhere");
    let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|n| set.is_set(*n)).collect();
    match all.len() {
        1 => (all[0], all),
        _ => (all[0], all[1..].to_vec()),
    }
}

/// Keeps this thread, and those that it starts, to these processors.
#[cfg(target_os = "linux")]
pub(crate) fn keep_to(processors: &[usize]) {
    use rustix::thread::{CpuSet, sched_setaffinity};

    let mut set = CpuSet::new();
    processors.iter().for_each(|processor| set.set(*processor));
    sched_setaffinity(None, &set).expect("they are there");
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn shares() -> (usize, Vec<usize>) {
    panic!("this needs Linux, which can keep a process to a processor and tells what it has used")
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn keep_to(_: &[usize]) {}

/// Raises the limit of open files as far as it goes: every connection is one.
pub(crate) fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
}
