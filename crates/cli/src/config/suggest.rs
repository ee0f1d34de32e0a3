//! "Did you mean …?"

/// The candidate that is nearest to `word`, if one is near enough to be a typing error.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase().replace('-', "_");
    // Two letters that changed places count as two.
    let near = if lower.chars().count() < 4 { 1 } else { (lower.chars().count() / 3).max(2) };
    candidates.into_iter().map(|known| (distance(&lower, known), known)).filter(|(d, _)| *d <= near).min().map(|(_, known)| known)
}

/// Levenshtein distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((to, above), diagonal) in b.iter().zip(row.iter().skip(1)).zip(&row) {
            let left = next.last().copied().unwrap_or_default();
            next.push((diagonal + usize::from(from != *to)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_near_and_other_words_are_not() {
        let keys = ["public_url", "listen", "data_dir", "consent", "idp", "access", "server", "tokens"];
        assert_eq!(nearest("publicurl", keys), Some("public_url"));
        assert_eq!(nearest("public-url", keys), Some("public_url"));
        assert_eq!(nearest("servers", keys), Some("server"));
        assert_eq!(nearest("idpp", keys), Some("idp"));
        assert_eq!(nearest("upstream", keys), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
