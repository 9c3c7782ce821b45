//! Tables in Markdown that also read well as plain text.

/// A table with a header; all columns but the first are set to the right.
pub fn markdown(header: &[String], rows: &[impl AsRef<[String]>]) -> String {
    let all = || rows.iter().map(|row| row.as_ref()).chain([header]);
    let widths: Vec<usize> = (0..header.len()).map(|column| width(all(), column)).collect();
    let rules: Vec<String> = widths.iter().enumerate().map(rule).collect();
    let body: String = rows.iter().map(|row| line(&cells(row.as_ref(), &widths))).collect();
    format!("{}{}{body}", line(&cells(header, &widths)), line(&rules))
}

/// The width of a column, at least that of its rule.
fn width<'a>(rows: impl Iterator<Item = &'a [String]>, column: usize) -> usize {
    rows.map(|row| row[column].chars().count()).max().unwrap_or(0).max(3)
}

fn rule((column, width): (usize, &usize)) -> String {
    // The colon sets the column to the right.
    if column == 0 { "-".repeat(*width) } else { format!("{}:", "-".repeat(width - 1)) }
}

fn cells(row: &[String], widths: &[usize]) -> Vec<String> {
    row.iter().zip(widths).enumerate().map(|(column, (text, width))| cell(column, text, *width)).collect()
}

fn cell(column: usize, text: &str, width: usize) -> String {
    if column == 0 { format!("{text:<width$}") } else { format!("{text:>width$}") }
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
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
