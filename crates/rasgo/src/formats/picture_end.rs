//! Whether a picture file is there to its end. Some decoders fill a missing rest with grey and say nothing.

use image::ImageFormat;

/// Whether the file reaches the end that its format tells of. For formats whose decoders see to that it is `true`.
pub(super) fn reaches_its_end(file: &[u8], format: ImageFormat) -> bool {
    match format {
        ImageFormat::Jpeg => jpeg(file),
        ImageFormat::WebP => riff(file),
        _ => true,
    }
}

/// A RIFF file has the length of what follows in bytes 4 to 7.
fn riff(file: &[u8]) -> bool {
    let length = file.get(4..).and_then(|rest| rest.first_chunk::<4>());
    length.is_some_and(|&length| u64::from(u32::from_le_bytes(length)) + 8 <= file.len() as u64)
}

/// Whether the stream of segments and scans that starts at byte 0 reaches its end mark. What follows it (an appended
/// video, a second picture) does not matter, nor do the end marks of thumbnails, which lie inside segments.
fn jpeg(jpeg: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // To the next mark: in a scan over coded data, in which 0xff is followed by 0 or a restart mark.
        while let Some(&[first, second]) = jpeg.get(at..).and_then(|rest| rest.first_chunk::<2>()) {
            if first == 0xff && !matches!(second, 0 | 0xff | 0xd0..=0xd7) {
                break;
            }
            at += 1;
        }
        match jpeg.get(at + 1) {
            None => return false,
            Some(0xd9) => return true,
            // Marks without a length.
            Some(0x01 | 0xd8) => at += 2,
            Some(_) => match jpeg.get(at + 2..).and_then(|rest| rest.first_chunk::<2>()) {
                None => return false,
                Some(&length) => at += 2 + usize::from(u16::from_be_bytes(length)).max(2),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_mark_counts_only_outside_segments() {
        let start = [0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd9, 0xff, 0xd9];
        let scan = [0xff, 0xda, 0, 3, 1, 0x12, 0xff, 0, 0xff, 0xd0, 0x34];
        let whole = [&start[..], &scan, &scan, &[0xff, 0xff, 0xd9, 7, 7]].concat();
        let end = whole.len() - 2;
        assert!(jpeg(&whole));
        for length in 2..whole.len() {
            assert_eq!(jpeg(&whole[..length]), length >= end, "{length}");
        }
    }
}
