//! Splits Rust text into code and comments and cuts code into tokens.
//!
//! [`Source::code`] and [`Source::comments`] have the length and lines of the text, with everything
//! else blanked, so that an offset means the same place in all three. String and character contents
//! are in neither. The scanner knows enough Rust for that and no more.

/// One Rust file.
pub(crate) struct Source {
    /// Relative to the root of the repository.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text without comments and without what stands between quotes; ASCII only.
    pub(crate) code: String,
    /// The comments alone, with their slashes.
    pub(crate) comments: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let (code, comments) = split(text);
        Source { path: path.to_string(), text: text.to_string(), code, comments }
    }

    /// A finding at an offset, in the form `path:line: what`.
    pub(crate) fn finding(&self, at: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, self.line(at) + 1)
    }

    /// The line, counted from 0, that an offset is on.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Code,
    Comment,
    Quoted,
}

/// Code and comments, each as long as the text.
fn split(text: &str) -> (String, String) {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut comments = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let (kind, end) = piece(bytes, at);
        for (offset, &byte) in bytes[at..end].iter().enumerate() {
            let edge = offset == 0 || at + offset + 1 == end;
            let (in_code, in_comment) = match (kind, byte) {
                (_, b'\n') => (b'\n', b'\n'),
                (Kind::Code, byte) => (if byte.is_ascii() { byte } else { b'?' }, b' '),
                (Kind::Comment, byte) => (b' ', byte),
                // The quotes stay, so that a string still counts as something.
                (Kind::Quoted, _) => (if edge { b'"' } else { b' ' }, b' '),
            };
            code.push(in_code);
            comments.push(in_comment);
        }
        at = end;
    }
    let whole = "pieces end between characters";
    (String::from_utf8(code).expect(whole), String::from_utf8(comments).expect(whole))
}

/// What starts at `at`, and where it ends.
fn piece(bytes: &[u8], at: usize) -> (Kind, usize) {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        (Kind::Comment, at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()))
    } else if rest.starts_with(b"/*") {
        (Kind::Comment, at + block_comment(rest))
    } else if rest[0] == b'"' {
        (Kind::Quoted, at + string(rest))
    } else if rest[0] == b'\'' {
        match character(rest) {
            Some(length) => (Kind::Quoted, at + length),
            None => (Kind::Code, at + 1),
        }
    } else if is_word(rest[0]) {
        // A whole word at once, so that the `r` of `for"` is not taken for the start of a raw
        // string.
        let word = rest.iter().position(|&byte| !is_word(byte)).unwrap_or(rest.len());
        let prefix = matches!(&rest[..word], b"r" | b"br" | b"cr");
        match prefix.then(|| raw_string(&rest[word..])).flatten() {
            Some(length) => (Kind::Quoted, at + word + length),
            None => (Kind::Code, at + word),
        }
    } else {
        (Kind::Code, at + 1)
    }
}

/// Whether a byte can be part of a name. Bytes of letters beyond ASCII count as such.
fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

fn block_comment(bytes: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if bytes[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// The length of a character literal, or `None` for a lifetime or label.
fn character(bytes: &[u8]) -> Option<usize> {
    let first = *bytes.get(1)?;
    if first == b'\\' {
        // The escaped character may itself be a quote.
        let close = bytes.iter().skip(3).position(|&byte| byte == b'\'')?;
        return Some(3 + close + 1);
    }
    let width = match first {
        0..=0x7f => 1,
        0x80..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    (bytes.get(1 + width) == Some(&b'\'')).then_some(width + 2)
}

/// The length of `#"..."#` with any number of hashes, or `None` if that is not what starts here.
fn raw_string(bytes: &[u8]) -> Option<usize> {
    let hashes = bytes.iter().position(|&byte| byte != b'#')?;
    if bytes[hashes] != b'"' {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let body = &bytes[hashes + 1..];
    let length = body.windows(close.len()).position(|window| window == close);
    Some(length.map_or(bytes.len(), |length| hashes + 1 + length + close.len()))
}

/// A word, `::`, or any other single character, and where it starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: usize,
}

/// The tokens of code, that is of text without comments and quoted contents.
pub(crate) fn tokens(code: &str) -> Vec<Token<'_>> {
    let bytes = code.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = if is_word(rest[0]) {
            rest.iter().position(|&byte| !is_word(byte)).unwrap_or(rest.len())
        } else if rest.starts_with(b"::") {
            2
        } else {
            1
        };
        if !rest[0].is_ascii_whitespace() {
            let text = &code[at..at + length];
            tokens.push(Token { text, at });
        }
        at += length;
    }
    tokens
}

/// Whether a token is a name or keyword.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first == '_' || first.is_ascii_alphabetic())
}

/// The index of the bracket that closes the one at `open`, or of the last token if none does.
pub(crate) fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len() - 1
}

/// The index of the `{` or `;` that ends the head of the item whose tokens start at `from`.
pub(crate) fn head_end(tokens: &[Token<'_>], from: usize) -> Option<usize> {
    let mut index = from;
    while index < tokens.len() {
        match tokens[index].text {
            "{" | ";" => return Some(index),
            "}" | ")" | "]" => return None,
            "(" | "[" => index = closing(tokens, index) + 1,
            _ => index += 1,
        }
    }
    None
}

/// The code with everything blanked that is compiled for tests only.
pub(crate) fn without_tests(code: &str) -> String {
    let tokens = tokens(code);
    let mut kept = code.as_bytes().to_vec();
    let mut index = 0;
    while index < tokens.len() {
        if !starts_test_attribute(&tokens[index..]) {
            index += 1;
            continue;
        }
        let last = test_item_end(&tokens, closing(&tokens, index + 1) + 1);
        let end = tokens[last].at + tokens[last].text.len();
        for byte in &mut kept[tokens[index].at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        index = last + 1;
    }
    String::from_utf8(kept).expect("code is ASCII")
}

/// Whether `#[cfg(test)]` or `#[cfg(all(test, ..))]` starts here.
pub(crate) fn starts_test_attribute(tokens: &[Token<'_>]) -> bool {
    let is = |wanted: &[&str]| {
        let texts = tokens.iter().take(wanted.len()).map(|token| token.text);
        tokens.len() >= wanted.len() && texts.eq(wanted.iter().copied())
    };
    is(&["#", "[", "cfg", "(", "test", ")", "]"]) || is(&["#", "[", "cfg", "(", "all", "(", "test"])
}

/// The last token of what follows an attribute: an item, a statement, a field or an arm.
fn test_item_end(tokens: &[Token<'_>], from: usize) -> usize {
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text);
    let mut start = from;
    while text(start) == "#" && text(start + 1) == "[" {
        start = closing(tokens, start + 1) + 1;
    }
    let mut keyword = start;
    if text(keyword) == "pub" {
        let scoped = text(keyword + 1) == "(";
        keyword = if scoped { closing(tokens, keyword + 1) } else { keyword } + 1;
    }
    let is_item = ITEM_KEYWORDS.contains(&text(keyword));
    let mut index = start;
    while index < tokens.len() {
        match tokens[index].text {
            ";" => return index,
            "," if !is_item => return index,
            "{" if is_item || index == start => return closing(tokens, index),
            "(" | "[" | "{" => index = closing(tokens, index) + 1,
            ")" | "]" | "}" => return index - 1,
            _ => index += 1,
        }
    }
    tokens.len() - 1
}

/// What an item begins with. A field or an arm that begins otherwise ends at its comma.
const ITEM_KEYWORDS: [&str; 15] = [
    "async",
    "const",
    "enum",
    "extern",
    "fn",
    "impl",
    "macro_rules",
    "mod",
    "static",
    "struct",
    "trait",
    "type",
    "union",
    "unsafe",
    "use",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_comments_are_told_apart() {
        let text = "let a = \"// no\"; // yes \"\n/* a /* b */ c */ fn f<'a>(x: &'a str) -> char { '\"' }";
        let source = Source::new("a.rs", text);
        assert_eq!(source.code.len(), text.len());
        assert_eq!(source.comments.len(), text.len());
        assert_eq!(source.comments.trim(), "// yes \"\n/* a /* b */ c */");
        let code: Vec<&str> = source.code.split_whitespace().collect();
        assert_eq!(code.join(" "), "let a = \" \"; fn f<'a>(x: &'a str) -> char { \" \" }");
    }

    #[test]
    fn quotes_of_every_kind_are_blanked() {
        for quoted in
            [r##"r#"{ " {"#"##, r#"b"{ \" {""#, r#""{ \\""#, "'{'", r"'\''", "b'{'", r"'\u{7b}'", "'\u{e4}'"]
        {
            let source = Source::new("a.rs", &format!("f({quoted}); // end"));
            assert!(source.code.ends_with("\");       "), "{quoted}: {}", source.code);
            assert!(!source.code.contains('{'), "{quoted}: {}", source.code);
            assert_eq!(source.comments.trim(), "// end", "{quoted}");
        }
    }

    #[test]
    fn names_and_lifetimes_do_not_open_quotes() {
        for code in ["r#type", "for_r", "&'a mut 'b", "'outer: loop", "'r'; x"] {
            let source = Source::new("a.rs", &format!("{code} {{ }}"));
            assert!(source.code.ends_with("{ }"), "{code}: {}", source.code);
        }
    }

    #[test]
    fn a_finding_names_the_line() {
        let source = Source::new("a.rs", "one\ntwo\nthree");
        assert_eq!(source.finding(5, "odd"), "a.rs:2: odd");
    }

    #[test]
    fn test_code_is_blanked_and_nothing_else() {
        let cases = [
            ("#[cfg(test)] mod tests { use a; } keep", "keep"),
            ("#[cfg(test)] mod tests; keep", "keep"),
            ("#[cfg(all(test, x))] #[a(b)] pub(crate) fn f(a: [u8; 2], b: T) -> U { a } keep", "keep"),
            ("struct S { #[cfg(test)] pub a: u8, keep: u8 }", "struct S { keep: u8 }"),
            ("match x { #[cfg(test)] A => { b } , keep => c }", "match x { keep => c }"),
            ("{ #[cfg(test)] { a } keep }", "{ keep }"),
            ("{ #[cfg(test)] last }", "{ }"),
            ("#[cfg(any(test, x))] use keep;", "#[cfg(any(test, x))] use keep;"),
            ("#[cfg(not(test))] use keep;", "#[cfg(not(test))] use keep;"),
        ];
        for (code, kept) in cases {
            let words: Vec<String> = without_tests(code).split_whitespace().map(String::from).collect();
            assert_eq!(words.join(" "), kept, "{code}");
        }
    }
}
