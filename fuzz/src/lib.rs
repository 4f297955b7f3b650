//! What the targets share. Each is one function of `reverb_core::fuzz`.

/// Makes this binary the target of that name.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        libfuzzer_sys::fuzz_target!(
            init: $crate::outlive_overflows(),
            |data: &[u8]| reverb_core::fuzz::$name(data)
        );
    };
}

/// Lets libFuzzer report a stack overflow, and keep what led to it: its signal handler needs a stack of its own then.
///
/// Without a `main` of Rust's there is none, and without a sanitizer libFuzzer makes none. It takes over the flags of the
/// handler that is in place before its own.
pub fn outlive_overflows() {
    const SIZE: usize = 256 * 1024;
    let stack = libc::stack_t {
        ss_sp: Box::leak(vec![0_u8; SIZE].into_boxed_slice())
            .as_mut_ptr()
            .cast(),
        ss_flags: 0,
        ss_size: SIZE,
    };
    // SAFETY: the stack is never freed, and the action is the default one, with a flag.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        action.sa_flags = libc::SA_ONSTACK;
        let is_set = libc::sigaltstack(&stack, std::ptr::null_mut()) == 0
            && libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()) == 0
            && libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) == 0;
        assert!(is_set, "no stack for signals");
    }
}
