//! Room for large tables in large pages.

/// Below this a table has few pages of either size.
const LEAST: usize = 1 << 22;
/// Pages of any size begin at multiples of this.
const PAGE: usize = 1 << 21;

/// `n` zeros. On Linux the system is asked for large pages before any of them is touched: blocks of a large matrix touch a
/// page per column, and with small ones the processor looks up pages rather than multiplies. It may refuse; nothing but
/// time depends on it.
pub fn large_zeros(n: usize) -> Vec<f32> {
    let mut zeros = vec![0f32; n];
    ask(&mut zeros);
    zeros
}

#[cfg(target_os = "linux")]
fn ask(of: &mut [f32]) {
    use std::ffi::{c_int, c_void};
    /// `MADV_HUGEPAGE` of Linux's headers.
    const LARGE: c_int = 14;
    unsafe extern "C" {
        /// madvise(2) of the C library that the standard library links.
        fn madvise(first: *mut c_void, bytes: usize, advice: c_int) -> c_int;
    }
    let bytes = size_of_val(of);
    let first = of.as_mut_ptr().cast::<u8>();
    let skipped = first.align_offset(PAGE);
    if bytes < LEAST.max(skipped + PAGE) {
        return;
    }
    let whole = (bytes - skipped) / PAGE * PAGE;
    // SAFETY: `skipped + whole` bytes are within the slice; the advice says what pages hold them and leaves what they hold as it is.
    // A refusal is no error: pages then are small.
    let _ = unsafe { madvise(first.add(skipped).cast(), whole, LARGE) };
}

#[cfg(not(target_os = "linux"))]
fn ask(_: &mut [f32]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_of_any_length_can_be_written() {
        for n in [0, 1, 1000, LEAST / 4 - 1, LEAST / 4, LEAST, 3 * LEAST + 7] {
            let mut of = large_zeros(n);
            assert!(of.len() == n && of.iter().all(|x| *x == 0.0));
            of.iter_mut().enumerate().for_each(|(i, x)| *x = i as f32);
            // Asked again, they stay what they are.
            ask(&mut of);
            assert!(of.iter().enumerate().all(|(i, x)| *x == i as f32));
        }
    }
}
