//! Enough of Rust's grammar to tell code from comments and strings, and tests from the rest.

/// The text with every character of comments, strings and character literals as a space; lines and columns
/// (in characters) stay where they were.
pub(crate) fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let end = end_of_blank(&chars, i);
        if end == i {
            code.push(chars[i]);
            i += 1;
        } else {
            code.extend(chars[i..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            i = end;
        }
    }
    code
}

/// Where the comment, string or character that begins at `i` ends; `i` if none begins there.
fn end_of_blank(chars: &[char], i: usize) -> usize {
    let at = |j: usize| chars.get(j).copied().unwrap_or('\0');
    match (at(i), at(i + 1)) {
        ('/', '/') => position(chars, i, |j| at(j) == '\n'),
        ('/', '*') => {
            let (mut depth, mut j) = (0, i);
            loop {
                match (at(j), at(j + 1)) {
                    ('/', '*') => (depth, j) = (depth + 1, j + 2),
                    ('*', '/') => (depth, j) = (depth - 1, j + 2),
                    _ => j += 1,
                }
                if depth == 0 || j >= chars.len() {
                    return j.min(chars.len());
                }
            }
        }
        ('"', _) => end_of_quoted(chars, i + 1, '"'),
        ('r', '"' | '#') if !continues_a_name(chars, i) => {
            let hashes = position(chars, i + 1, |j| at(j) != '#') - i - 1;
            if at(i + 1 + hashes) != '"' {
                return i; // a raw name, `r#type`
            }
            let closed = |j: usize| at(j) == '"' && (1..=hashes).all(|k| at(j + k) == '#');
            (position(chars, i + 2 + hashes, closed) + 1 + hashes).min(chars.len())
        }
        ('\'', '\\') => end_of_quoted(chars, i + 1, '\''),
        ('\'', _) if at(i + 2) == '\'' => i + 3, // else a lifetime
        _ => i,
    }
}

/// Whether the `r` at `i` belongs to a longer name; the `b` and `c` of `br"…"` and `cr"…"` do not count.
fn continues_a_name(chars: &[char], i: usize) -> bool {
    let name = |j: usize| chars[j].is_alphanumeric() || chars[j] == '_';
    match i {
        0 => false,
        1 => name(0) && !matches!(chars[0], 'b' | 'c'),
        _ => name(i - 1) && (name(i - 2) || !matches!(chars[i - 1], 'b' | 'c')),
    }
}

fn end_of_quoted(chars: &[char], mut j: usize, quote: char) -> usize {
    while j < chars.len() && chars[j] != quote {
        j += if chars[j] == '\\' { 2 } else { 1 };
    }
    (j + 1).min(chars.len())
}

fn position(chars: &[char], from: usize, stop: impl Fn(usize) -> bool) -> usize {
    (from..chars.len()).find(|&j| stop(j)).unwrap_or(chars.len())
}

/// Names, keywords and numbers of a line of code.
pub(crate) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// An attribute: the line (from 0) where it begins, its text between the brackets, where in the code it ends.
pub(crate) struct Attribute<'a> {
    pub(crate) line: usize,
    pub(crate) text: &'a str,
    end: usize,
}

/// The attributes `#[…]` and `#![…]` of code that [`code_of`] returned.
pub(crate) fn attributes(code: &str) -> Vec<Attribute<'_>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(hash) = code[from..].find('#').map(|at| from + at) {
        from = hash + 1;
        let rest = code[from..].strip_prefix('!').unwrap_or(&code[from..]);
        if rest.starts_with('[') {
            let begin = code.len() - rest.len();
            let end = end_of_group(code, begin, '[', ']');
            let text = code[begin + 1..end].trim_end_matches(']');
            found.push(Attribute { line: code[..hash].matches('\n').count(), text, end });
            from = end;
        }
    }
    found
}

/// Where the group that opens at or after `from` ends, its closing bracket included.
fn end_of_group(code: &str, from: usize, open: char, close: char) -> usize {
    let mut depth = 0;
    for (at, c) in code[from..].char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth <= 0 {
                return from + at + c.len_utf8();
            }
        }
    }
    code.len()
}

/// For each line of the code, whether it belongs to an item under `#[cfg(test)]`.
pub(crate) fn test_lines(code: &str) -> Vec<bool> {
    let mut tests = vec![false; code.lines().count()];
    for attribute in attributes(code) {
        if attribute.text.replace(' ', "") == "cfg(test)" {
            let rest = &code[attribute.end..];
            let end = match (rest.find('{'), rest.find(';')) {
                (Some(brace), semicolon) if semicolon.is_none_or(|semicolon| brace < semicolon) => {
                    end_of_group(code, attribute.end + brace, '{', '}')
                }
                (_, Some(semicolon)) => attribute.end + semicolon + 1,
                (_, None) => code.len(),
            };
            let last = code[..end].matches('\n').count();
            tests.iter_mut().take(last + 1).skip(attribute.line).for_each(|line| *line = true);
        }
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_blank_and_lines_stay() {
        let text = "a(); // b \" c\n/* d /* e */\nf */ g\n\"h \\\" i\" j\n";
        let code = code_of(text);
        assert_eq!(words(&code).collect::<Vec<_>>(), ["a", "g", "j"]);
        assert_eq!(code.lines().count(), text.lines().count());
        assert_eq!(code.find('j'), text.find('j'));
    }

    #[test]
    fn raw_strings_characters_and_lifetimes_are_told_apart() {
        let text =
            "let a = br#\"x \" y\"#; let r#type = 'z'; fn f<'b>(q: &'b str) { '\\'' ; '\"'; for_r(\"w\") }";
        let code = code_of(text);
        let words: Vec<_> = words(&code).collect();
        assert!(["x", "y", "z", "w"].iter().all(|word| !words.contains(word)), "{words:?}");
        assert!(["type", "b", "str", "for_r"].iter().all(|word| words.contains(word)), "{words:?}");
    }

    #[test]
    fn attributes_are_found_over_several_lines() {
        let code = code_of("x;\n#[allow(\n    dead_code,\n    reason = \"]\"\n)]\n#![cfg(a[1])]\n");
        let found = attributes(&code);
        assert_eq!(found.iter().map(|attribute| attribute.line).collect::<Vec<_>>(), [1, 5]);
        assert!(found[0].text.contains("reason ="));
    }

    #[test]
    fn tests_are_items_under_cfg_test() {
        let code = code_of("a\n#[cfg(test)]\nmod checks;\nb\n#[cfg(test)]\nmod tests {\n    {}\n}\nc\n");
        assert_eq!(test_lines(&code), [false, true, true, false, true, true, true, true, false]);
    }
}
