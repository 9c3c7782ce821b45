//! Tables in Markdown that also read well as plain text.

/// A table with a header; all columns but the first are set to the right.
pub fn markdown(header: &[String], rows: &[impl AsRef<[String]>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row.as_ref())
            .chain([header])
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
            .max(3)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let cell = |column: usize, text: &str| {
        let space = " ".repeat(widths[column] - text.chars().count());
        if column == 0 { format!("{text}{space}") } else { format!("{space}{text}") }
    };
    let line = |row: &[String]| {
        format!(
            "| {} |\n",
            row.iter().enumerate().map(|(column, text)| cell(column, text)).collect::<Vec<_>>().join(" | ")
        )
    };
    let rule = |(column, width): (usize, &usize)| {
        if column == 0 { "-".repeat(*width) } else { format!("{}:", "-".repeat(width - 1)) }
    };
    let rules = format!("| {} |\n", widths.iter().enumerate().map(rule).collect::<Vec<_>>().join(" | "));
    let body: String = rows.iter().map(|row| line(row.as_ref())).collect();
    format!("{}{rules}{body}", line(header))
}

/// A share in percent, to one decimal.
pub fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

/// An interval of shares in percent.
pub fn range(low: f64, high: f64) -> String {
    format!("{}–{}", percent(low), percent(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let texts = |row: [&str; 2]| row.map(str::to_owned).to_vec();
        let table = markdown(&texts(["name", "n"]), &[texts(["é", "1000"]), texts(["longer", "2"])]);
        let expected = "| name   |    n |\n| ------ | ---: |\n| é      | 1000 |\n| longer |    2 |\n";
        assert_eq!(table, expected);
    }
}
