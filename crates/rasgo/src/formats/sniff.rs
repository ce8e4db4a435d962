//! What the first bytes of a file say it is, for messages about files that are not what they should be.

/// A few words for what a file that starts with these bytes seems to be; the first 512 count.
pub(crate) fn looks_like(start: &[u8]) -> &'static str {
    let start = &start[..start.len().min(512)];
    const SIGNS: &[(usize, &[u8], &str)] = &[
        (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (0, b"\xff\xd8\xff", "a JPEG image"),
        (0, b"GIF8", "a GIF image"),
        (8, b"WEBP", "a WebP image"),
        (0, b"BM", "a BMP image"),
        (0, b"II*\0", "a TIFF image"),
        (0, b"MM\0*", "a TIFF image"),
        (4, b"ftypheic", "a HEIC photo"),
        (4, b"ftypheix", "a HEIC photo"),
        (4, b"ftypmif1", "a HEIC photo"),
        (4, b"ftypavif", "an AVIF image"),
        (0, b"\0\0\0\x0cJXL ", "a JPEG XL image"),
        (0, b"\xff\x0a", "a JPEG XL image"),
        (4, b"ftyp", "a video"),
        (0, b"8BPS", "a Photoshop document"),
        (0, b"%PDF", "a PDF document"),
        (0, b"PK\x03\x04", "a ZIP archive"),
        (0, b"\x1f\x8b", "a gzip file"),
        (0, b"\x93NUMPY", "a NumPy array"),
        (0, b"version https://git-lfs", "a Git LFS pointer instead of the file itself"),
    ];
    if start.is_empty() {
        return "an empty file";
    }
    if let Some((.., name)) =
        SIGNS.iter().find(|(at, sign, _)| start.get(*at..).is_some_and(|s| s.starts_with(sign)))
    {
        return name;
    }
    if start.iter().all(|&byte| byte == 0) {
        return "a file of zeros";
    }
    // A character may be cut at the end of the sample.
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&start[..e.valid_up_to()]).unwrap_or(""),
        Err(_) => "",
    };
    let lower = text.trim_start().to_ascii_lowercase();
    if lower.starts_with("<svg") || (lower.starts_with("<?xml") && lower.contains("<svg")) {
        "an SVG drawing"
    } else if lower.starts_with("<!doctype html") || lower.starts_with("<html") || lower.starts_with("<head")
    {
        "an HTML page"
    } else if !text.is_empty() && !text.contains('\0') {
        "a text"
    } else {
        "a file of an unknown kind"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_first_bytes() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "an empty file"),
            (b"\0\0\0\0", "a file of zeros"),
            (b"  <!DOCTYPE html><p>", "an HTML page"),
            (b"<?xml version='1.0'?><svg>", "an SVG drawing"),
            ("na\u{ef}ve".as_bytes(), "a text"),
            (&"na\u{ef}ve".as_bytes()[..3], "a text"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid",
                "a Git LFS pointer instead of the file itself",
            ),
            (b"\0\0\0\x18ftypheic\0\0", "a HEIC photo"),
            (b"\x1f\x8b\x08", "a gzip file"),
            (b"\x00\x01\x02\x80", "a file of an unknown kind"),
        ];
        for (start, expected) in cases {
            assert_eq!(looks_like(start), *expected, "{start:?}");
        }
    }
}
