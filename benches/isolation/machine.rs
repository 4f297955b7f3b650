//! What the system gives to a process: processors and open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Half of the processors for the server, and the others for its clients; the same one if there is no other.
pub(crate) fn halves() -> (Vec<usize>, Vec<usize>) {
    let set = sched_getaffinity(None).expect("we run somewhere");
    let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|n| set.is_set(*n)).collect();
    match all.len() {
        1 => (all.clone(), all),
        count => (all[..count / 2].to_vec(), all[count / 2..].to_vec()),
    }
}

/// Keeps this thread, and those that it starts, to these processors.
pub(crate) fn keep_to(processors: &[usize]) {
    let mut set = CpuSet::new();
    processors.iter().for_each(|processor| set.set(*processor));
    sched_setaffinity(None, &set).expect("they are there");
}

/// Raises the limit of open files as far as it goes: every connection is one.
pub(crate) fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
}
