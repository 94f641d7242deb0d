//! Debug lines of the programs, through aya-log. Off unless the agent asks: the flag is a constant to the verifier, which
//! drops what stands behind it.

/// Writes a debug line where they are wanted.
macro_rules! debug {
    ($($argument:tt)+) => {
        if crate::kernel::flag(autospan_abi::KernelConfig::FLAG_DEBUG_LOG) {
            aya_log_ebpf::debug!(&(), $($argument)+);
        }
    };
}
pub(crate) use debug;
