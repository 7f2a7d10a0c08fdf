//! Making string arrays without checking their strings again: the one place of unsafe code in this module.
//!
//! Arrow's checked constructor looks at every string once more, which takes three to twelve nanoseconds a value, more than
//! all the rest of decoding a dictionary column.

use std::sync::Arc;

use arrow_array::StringViewArray;
use arrow_buffer::{Buffer, NullBuffer, ScalarBuffer};

/// An array of views that the caller has made with `make_view` of strings in `buffers`, or has copied from such, each
/// string having been found to be UTF-8.
#[allow(unsafe_code)]
pub(super) fn string_view_array(
    views: ScalarBuffer<u128>,
    buffers: Arc<[Buffer]>,
    nulls: Option<NullBuffer>,
) -> StringViewArray {
    debug_assert!(StringViewArray::try_new(views.clone(), Arc::clone(&buffers), nulls.clone()).is_ok());
    // SAFETY: views come from `StringDictionary`, whose entries are checked to be UTF-8 and to lie in its buffer when it
    // is parsed, or from `ViewBuilder`, which makes each of bytes in the buffer it is about to hand out, after they were
    // checked: with their page if plain, one by one if compressed. NULLs have one bit a view: both count positions.
    unsafe { StringViewArray::new_unchecked(views, buffers, nulls) }
}

#[cfg(test)]
mod tests {
    use arrow_array::builder::make_view;

    use super::*;

    #[test]
    fn the_array_equals_the_checked_one() {
        let text = "two strings, one of them long: ünïcödé";
        let views = ScalarBuffer::from(vec![make_view(text.as_bytes(), 0, 0), make_view(b"two", 0, 0)]);
        let buffers: Arc<[Buffer]> = Arc::from([Buffer::from_slice_ref(text)]);
        let array = string_view_array(views.clone(), Arc::clone(&buffers), None);
        assert_eq!((array.value(0), array.value(1)), (text, "two"));
        assert_eq!(array, StringViewArray::new(views, buffers, None));
    }
}
