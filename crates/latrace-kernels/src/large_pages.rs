//! Memory in large pages, for buffers that are read from end to end with every token: they span more small
//! pages than the processor's TLB has entries for.

/// `length` zeros, in large pages where the system gives them.
pub(crate) fn zeros(length: usize) -> Vec<f32> {
    // Not touched yet: the system chooses the kind of page when one is first written.
    let buffer = vec![0.0; length];
    ask_for_large_pages(&buffer);
    buffer
}

/// Asks for large pages behind the part of a buffer that consists of whole ones. The system may ignore the
/// advice; nothing but time depends on it.
#[cfg(target_os = "linux")]
fn ask_for_large_pages(buffer: &[f32]) {
    const PAGE: usize = 1 << 21;
    let range = buffer.as_ptr_range();
    let (start, end) = ((range.start as usize).next_multiple_of(PAGE), range.end as usize / PAGE * PAGE);
    if start < end {
        // SAFETY: the range lies within the buffer, and the advice changes nothing of what is in it.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn ask_for_large_pages(_: &[f32]) {}

#[cfg(test)]
mod tests {
    #[test]
    fn any_length_is_zeros() {
        for length in [0, 1, 1000, (5 << 19) + 7] {
            let mut buffer = super::zeros(length);
            assert!(buffer.len() == length && buffer.iter().all(|x| *x == 0.0));
            buffer.fill(1.0);
        }
    }
}
