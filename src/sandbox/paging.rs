//! Pages of lists, with tokens that only fit the list that they came from.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A page's items, and the token of the next page if there is one.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The token of the next page.
    pub next: Option<String>,
}

/// The token does not belong to this list.
#[derive(Debug, PartialEq, Eq)]
pub struct WrongToken;

/// The page of a list that a token names, the first without one.
///
/// `list` tells lists apart: a token of one is wrong for another.
///
/// # Errors
///
/// If the token is not one of this list.
pub fn page<T>(list: &str, items: Vec<T>, token: Option<&str>, size: usize) -> Result<Page<T>, WrongToken> {
    let start = token.map_or(Ok(0), |token| decode(list, token).ok_or(WrongToken))?;
    let end = start + size;
    let next = (end < items.len()).then(|| URL_SAFE_NO_PAD.encode(format!("{list}|{end}")));
    Ok(Page { items: items.into_iter().skip(start).take(size).collect(), next })
}

fn decode(list: &str, token: &str) -> Option<usize> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (of, start) = text.rsplit_once('|')?;
    (of == list).then_some(())?;
    start.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_together_are_the_list() {
        for length in [0, 1, 2, 3, 4, 7] {
            let list: Vec<usize> = (0..length).collect();
            let (mut seen, mut token) = (Vec::new(), None);
            loop {
                let page = page("list", list.clone(), token.as_deref(), 2).unwrap();
                assert!(page.items.len() <= 2);
                seen.extend(page.items);
                token = page.next;
                if token.is_none() {
                    break;
                }
            }
            assert_eq!(seen, list);
        }
    }

    #[test]
    fn a_token_of_another_list_or_of_nobody_is_refused() {
        let token = page("accounts", vec![1, 2, 3], None, 1).unwrap().next.unwrap();
        assert_eq!(page("roots", vec![1, 2, 3], Some(&token), 1), Err(WrongToken));
        assert_eq!(page("accounts", vec![1, 2, 3], Some("%%"), 1), Err(WrongToken));
        assert_eq!(page("accounts", vec![1, 2, 3], Some(&token), 1).unwrap().items, [2]);
    }
}
