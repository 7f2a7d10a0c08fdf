//! Asking for memory before it is needed, so that waits overlap.
//!
//! A lookup in much memory waits for one place after the other: a processor overlaps waits of its own accord only between atomic
//! operations that it must do in order, such as counts of references.

/// Bytes that memory is read by.
pub(crate) const LINE_BYTES: usize = 64;

/// Asks for the line of an address, which need not be one of anything: it is not read. Does nothing where the
/// processor is of another kind.
#[allow(unsafe_code)]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: it is a hint to the processor, which faults at no address and changes nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}
