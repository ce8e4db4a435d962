//! What the command prints for people.

use std::io::Write;

use rasgo::{Error, Result};

/// One line, and the hint on a second.
pub(crate) fn print_error(error: &Error) {
    note(&format!("error: {}", error.summary()));
    if let Some(hint) = error.hint_text() {
        note(&format!("hint: {hint}"));
    }
}

/// Writes a line to standard error. If nobody can read it, the work goes on.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Prints a line to standard output; a reader that has gone is no error.
pub(crate) fn print(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("standard output", error))
        }
        _ => Ok(()),
    }
}

/// A whole number with commas.
pub(crate) fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Columns side by side: numbers to the right, all else to the left.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|row| row.get(c)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    let is_number = |c: usize| {
        rows.iter()
            .skip(1)
            .filter_map(|row| row.get(c))
            .all(|cell| cell == "–" || cell.starts_with(|x: char| x.is_ascii_digit()))
    };
    let lines = rows.iter().map(|row| {
        let cells = row.iter().enumerate().map(|(c, cell)| {
            let pad = " ".repeat(widths[c] - cell.chars().count());
            if is_number(c) { format!("{pad}{cell}") } else { format!("{cell}{pad}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{table, whole};

    #[test]
    fn numbers_have_commas_and_stand_to_the_right() {
        assert_eq!(whole(67_143_306), "67,143,306");
        let rows = [["name", "n"], ["a", "1"], ["b", "20"]].map(|row| row.map(String::from).to_vec());
        assert_eq!(table(&rows), "name   n\na      1\nb     20");
    }
}
