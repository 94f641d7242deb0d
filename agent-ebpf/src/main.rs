//! The kernel programs: one file per hook family, no logic here.
#![no_std]
#![no_main]

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[unsafe(no_mangle)]
static AUTOSPAN_ABI: u32 = autospan_abi::ABI_VERSION;

#[aya_ebpf::macros::tracepoint]
pub fn process_exit(_: aya_ebpf::programs::TracePointContext) -> u32 {
    0
}
