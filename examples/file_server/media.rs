//! `Content-Type` from a file's name.
//!
//! Teaches: nothing about ringwork; a small sorted table is enough for a file server, and a browser that is
//! told `nosniff` trusts it. Text is said to be UTF-8, which today it nearly always is.
//! It does not look into files. A name that says nothing gets `application/octet-stream`.

/// The media type for the last segment of a path.
pub(crate) fn type_of(name: &[u8]) -> &'static str {
    let Some(dot) = name.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > 0) else {
        return if PLAIN_NAMES.contains(&name) { PLAIN } else { UNKNOWN };
    };
    let extension = &name[dot + 1..];
    if extension.len() > EXTENSION_MAX {
        return UNKNOWN;
    }
    let mut lower = [0; EXTENSION_MAX];
    let lower = &mut lower[..extension.len()];
    lower.copy_from_slice(extension);
    lower.make_ascii_lowercase();
    match TYPES.binary_search_by(|(known, _)| known.as_bytes().cmp(lower)) {
        Ok(at) => TYPES[at].1,
        Err(_) => UNKNOWN,
    }
}

const UNKNOWN: &str = "application/octet-stream";
const PLAIN: &str = "text/plain; charset=utf-8";

/// The longest extension in the table.
const EXTENSION_MAX: usize = 11;

/// Names without an extension that are known to be text.
const PLAIN_NAMES: [&[u8]; 6] = [b"COPYING", b"Dockerfile", b"LICENSE", b"Makefile", b"NOTICE", b"README"];

/// Sorted by extension.
const TYPES: &[(&str, &str)] = &[
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("apng", "image/apng"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("bz2", "application/x-bzip2"),
    ("c", PLAIN),
    ("cfg", PLAIN),
    ("conf", PLAIN),
    ("cpp", PLAIN),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("eot", "application/vnd.ms-fontobject"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("go", PLAIN),
    ("gz", "application/gzip"),
    ("h", PLAIN),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("ini", PLAIN),
    ("jar", "application/java-archive"),
    ("java", PLAIN),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("jsonl", PLAIN),
    ("lock", PLAIN),
    ("log", PLAIN),
    ("m4a", "audio/mp4"),
    ("m4v", "video/mp4"),
    ("map", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mkv", "video/x-matroska"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpeg", "video/mpeg"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("py", PLAIN),
    ("rs", PLAIN),
    ("rtf", "application/rtf"),
    ("sh", PLAIN),
    ("sql", PLAIN),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("toml", PLAIN),
    ("ts", PLAIN),
    ("ttf", "font/ttf"),
    ("txt", PLAIN),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("weba", "audio/webm"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml"),
    ("xml", "application/xml"),
    ("xz", "application/x-xz"),
    ("yaml", PLAIN),
    ("yml", PLAIN),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_lower_case_and_fits_the_buffer() {
        assert!(TYPES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(TYPES.iter().all(|(extension, _)| *extension == extension.to_ascii_lowercase()));
        assert_eq!(TYPES.iter().map(|(extension, _)| extension.len()).max(), Some(EXTENSION_MAX));
    }

    #[test]
    fn text_names_its_charset() {
        let texts = TYPES.iter().filter(|(_, media)| media.starts_with("text/"));
        assert!(texts.clone().count() > 10);
        assert!(texts.clone().all(|(_, media)| media.ends_with("; charset=utf-8")));
    }

    #[test]
    fn the_last_extension_decides_in_any_case() {
        assert_eq!(type_of(b"index.html"), "text/html; charset=utf-8");
        assert_eq!(type_of(b"PHOTO.JPG"), "image/jpeg");
        assert_eq!(type_of(b"backup.tar.gz"), "application/gzip");
        assert_eq!(type_of(b"site.webmanifest"), "application/manifest+json");
        assert_eq!(type_of(b"main.rs"), PLAIN);
    }

    #[test]
    fn names_that_say_nothing_are_bytes() {
        for name in [&b""[..], b"file", b".html", b"a.", b"a.unknown", b"a.webmanifestx", b"a.\xff", b"."] {
            assert_eq!(type_of(name), UNKNOWN, "{name:?}");
        }
        assert_eq!(type_of(b"LICENSE"), PLAIN);
    }
}
