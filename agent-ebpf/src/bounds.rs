//! Bounds the verifier can see.

use core::arch::asm;

/// `value`, at most `max`.
///
/// Comparison and use stay on one register: the compiler would otherwise prove a bound itself, drop the comparison, or
/// use a copy that the verifier knows nothing about.
#[inline(always)]
pub(crate) fn at_most(mut value: u64, max: u64) -> u64 {
    // SAFETY: only compares and sets the register.
    unsafe {
        asm!(
            "if {value} <= {max} goto +1",
            "{value} = {max}",
            value = inout(reg) value,
            max = in(reg) max,
            options(pure, nomem, nostack),
        );
    }
    value
}
