//! What somebody who misspelt a name may have meant.

/// The candidate closest to a name, if one is close enough to be a likely misspelling of it.
///
/// Of equally close ones that of like length counts, as letters are swapped more often than left out, then
/// the first: the same input gives the same suggestion.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    let tolerated = (length / 3).clamp(1, 4);
    let measure = |candidate: &'a str| {
        let distance = strsim::damerau_levenshtein(name, candidate);
        (distance, candidate.chars().count().abs_diff(length), candidate)
    };
    let close = candidates.into_iter().map(measure).filter(|(distance, ..)| *distance <= tolerated);
    close
        .min_by_key(|(distance, lengths_apart, _)| (*distance, *lengths_apart))
        .map(|(.., candidate)| candidate)
}

/// The end of an error message: `` ; did you mean `eea`? `` where a candidate is close, else nothing.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map(|candidate| format!("; did you mean `{candidate}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_finds_its_name() {
        let names = ["eea", "eea-and-adequate", "interval_secs"];
        assert_eq!(nearest("eae", names), Some("eea"));
        assert_eq!(nearest("eea-and-adequat", names), Some("eea-and-adequate"));
        assert_eq!(nearest("intervall_sec", names), Some("interval_secs"));
        assert_eq!(did_you_mean("eae", names), "; did you mean `eea`?");
    }

    #[test]
    fn a_name_that_is_like_none_gets_no_suggestion() {
        assert_eq!(nearest("mars", ["eea", "sg", "us"]), None);
        assert_eq!(nearest("", ["eea"]), None);
        assert_eq!(did_you_mean("mars", ["eea"]), "");
    }

    #[test]
    fn of_equally_close_names_that_of_like_length_counts_then_the_first() {
        assert_eq!(nearest("eae", ["ae", "eea"]), Some("eea"));
        assert_eq!(nearest("xe", ["de", "ie"]), Some("de"));
    }
}
