//! Conditional requests: `If-Match`, then `If-None-Match`, by the rules of RFC 9110 sections 8.8 and 13.
//!
//! `If-Match` compares strongly, `If-None-Match` weakly; `*` stands for existence. For reads and deletions preconditions
//! count only where the plain answer would be a success, so something missing is not found rather than mismatched; a
//! write that may create is judged by them.
//!
//! The engine's tags are `"rev:<n>@<offset>"`. A person may leave out the offset: `"rev:7"` stands for revision 7 of
//! whichever Thing has the id now. No tag that was given out has this form, so nobody means it by accident.

use egiz_model::Offset;

use crate::Refusal;

/// The entity tag, with its quotes, of a revision of a Thing that was created by the record at an offset.
#[must_use]
pub fn entity_tag(revision: u64, created_offset: Offset) -> String {
    format!("\"rev:{revision}@{created_offset}\"")
}

/// Whether a tag that was sent, without `W/`, is this tag or its short form; both with their quotes.
#[must_use]
pub fn is_same_tag(sent: &str, current: &str) -> bool {
    let is_short_form = || {
        let short = sent.strip_suffix('"')?;
        let offset = current.strip_prefix(short)?.strip_prefix('@')?;
        Some(short.starts_with("\"rev:") && offset.ends_with('"'))
    };
    sent == current || is_short_form().unwrap_or(false)
}

/// What the preconditions of a read come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadCheck {
    /// Answer.
    Proceed,
    /// 304: the reader has it already.
    NotModified,
    /// 412: it is not what the reader expects.
    PreconditionFailed,
    /// 400: a header holds no entity tag.
    Malformed {
        /// Which header.
        header: &'static str,
        /// What it holds.
        value: String,
    },
}

/// Judges a read of something that exists with the entity tag `current`. Empty texts are absent headers.
#[must_use]
pub fn evaluate_read(if_match: &str, if_none_match: &str, current: &str) -> ReadCheck {
    match (holds_match(if_match, Some(current)), holds_none_match(if_none_match, Some(current))) {
        (Err(value), _) => ReadCheck::Malformed { header: "If-Match", value },
        (_, Err(value)) => ReadCheck::Malformed { header: "If-None-Match", value },
        (Ok(false), _) => ReadCheck::PreconditionFailed,
        (_, Ok(false)) => ReadCheck::NotModified,
        _ => ReadCheck::Proceed,
    }
}

/// Judges a write of what has the entity tag `current`, or does not exist.
pub(crate) fn evaluate_write(
    if_match: &str,
    if_none_match: &str,
    current: Option<&str>,
) -> Result<(), Refusal> {
    let malformed = |header| move |value| Refusal::MalformedEntityTag { header, value };
    let matches = holds_match(if_match, current).map_err(malformed("If-Match"))?;
    let none_matches = holds_none_match(if_none_match, current).map_err(malformed("If-None-Match"))?;
    let current = current.map(str::to_owned);
    if !matches {
        Err(Refusal::IfMatch { current })
    } else if !none_matches {
        Err(Refusal::IfNoneMatch { current })
    } else {
        Ok(())
    }
}

fn holds_match(header: &str, current: Option<&str>) -> Result<bool, String> {
    if header.is_empty() {
        return Ok(true);
    }
    if header.trim() == "*" {
        return Ok(current.is_some());
    }
    let tags = entity_tags(header)?;
    Ok(current.is_some_and(|current| tags.iter().any(|tag| !tag.weak && is_same_tag(tag.quoted, current))))
}

fn holds_none_match(header: &str, current: Option<&str>) -> Result<bool, String> {
    if header.is_empty() {
        return Ok(true);
    }
    if header.trim() == "*" {
        return Ok(current.is_none());
    }
    let tags = entity_tags(header)?;
    Ok(!current.is_some_and(|current| tags.iter().any(|tag| is_same_tag(tag.quoted, current))))
}

struct EntityTag<'a> {
    weak: bool,
    /// With its quotes.
    quoted: &'a str,
}

/// Reads a list of entity tags; commas inside the quotes belong to the tag. Empty elements of the list are passed over, as
/// RFC 9110 section 5.6.1 asks of who receives one; a list of nothing else is none.
fn entity_tags(header: &str) -> Result<Vec<EntityTag<'_>>, String> {
    let malformed = || header.chars().take(100).collect::<String>();
    let mut tags = Vec::new();
    let mut rest = header.trim_start_matches(is_list_space_or_comma);
    while !rest.is_empty() {
        let (weak, tag) = rest.strip_prefix("W/").map_or((false, rest), |tag| (true, tag));
        let body = tag.strip_prefix('"').ok_or_else(malformed)?;
        let length = body.find('"').ok_or_else(malformed)?;
        if body[..length].chars().any(|character| character.is_control() || character == ' ') {
            return Err(malformed());
        }
        tags.push(EntityTag { weak, quoted: &tag[..length + 2] });
        rest = body[length + 1..].trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return Err(malformed());
        }
        rest = rest.trim_start_matches(is_list_space_or_comma);
    }
    if tags.is_empty() { Err(malformed()) } else { Ok(tags) }
}

fn is_list_space_or_comma(character: char) -> bool {
    matches!(character, ' ' | '\t' | ',')
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURRENT: &str = "\"rev:7\"";

    #[test]
    fn a_read_is_judged_as_the_standard_says() {
        let check = |if_match, if_none_match, expected| {
            assert_eq!(
                evaluate_read(if_match, if_none_match, CURRENT),
                expected,
                "{if_match} / {if_none_match}"
            );
        };
        check("", "", ReadCheck::Proceed);
        check("\"rev:7\"", "", ReadCheck::Proceed);
        check("*", "", ReadCheck::Proceed);
        check("\"rev:6\", \"rev:7\"", "", ReadCheck::Proceed);
        check("\"rev:6\"", "", ReadCheck::PreconditionFailed);
        check("W/\"rev:7\"", "", ReadCheck::PreconditionFailed);
        check("", "\"rev:7\"", ReadCheck::NotModified);
        check("", "W/\"rev:7\"", ReadCheck::NotModified);
        check("", "\"a,b\" , \"rev:7\"", ReadCheck::NotModified);
        check("", ", \"a\",, W/\"rev:7\" ,", ReadCheck::NotModified);
        check("", "*", ReadCheck::NotModified);
        check("", "\"rev:6\"", ReadCheck::Proceed);
        check("\"rev:6\"", "\"rev:7\"", ReadCheck::PreconditionFailed);
        check("\"rev:7\"", "\"rev:7\"", ReadCheck::NotModified);
    }

    #[test]
    fn a_malformed_tag_is_named() {
        for header in ["rev:7", "\"rev:7", "\"a\" \"b\"", "\"a\", *", "\"a b\"", "W/x", ",", "\"\u{7}\""] {
            let check = evaluate_read(header, "", CURRENT);
            assert_eq!(check, ReadCheck::Malformed { header: "If-Match", value: header.to_owned() });
        }
    }

    #[test]
    fn a_write_is_judged_by_existence_too() {
        let current = || Some(CURRENT.to_owned());
        assert_eq!(evaluate_write("*", "", Some(CURRENT)), Ok(()));
        assert_eq!(evaluate_write("*", "", None), Err(Refusal::IfMatch { current: None }));
        assert_eq!(evaluate_write("", "*", None), Ok(()));
        assert_eq!(evaluate_write("", "*", Some(CURRENT)), Err(Refusal::IfNoneMatch { current: current() }));
        assert_eq!(
            evaluate_write("\"rev:6\"", "", Some(CURRENT)),
            Err(Refusal::IfMatch { current: current() })
        );
    }

    #[test]
    fn the_offset_of_a_tag_may_be_left_out_but_not_be_another() {
        let current = entity_tag(7, 1234);
        assert_eq!(current, "\"rev:7@1234\"");
        for (sent, same) in [
            ("\"rev:7@1234\"", true),
            ("\"rev:7\"", true),
            ("\"rev:7@123\"", false),
            ("\"rev:7@1235\"", false),
            ("\"rev:7@\"", false),
            ("\"rev:\"", false),
            ("\"rev:71\"", false),
            ("\"rev\"", false),
            ("\"\"", false),
            ("\"", false),
        ] {
            assert_eq!(is_same_tag(sent, &current), same, "{sent}");
        }
    }
}
