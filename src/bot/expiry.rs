//! Until when something is good, as people type it: `90d`, `12 weeks`, `1y`, `2027-03-01`.

use super::parse::{self, Word};
use crate::clock::UnixMillis;

const DAY: UnixMillis = 24 * 60 * 60 * 1000;

/// Why a text names no time that would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is neither a length nor a day.
    Unreadable,
    /// It is over already.
    Past,
    /// It is further ahead than allowed.
    TooFar,
}

/// Takes `--expires VALUE` out of the words; what remains, and the value. Telephones make a dash of two hyphens.
pub fn split(text: &str) -> (String, Option<String>) {
    let words = parse::words(text);
    let Some(at) = words.iter().position(is_option) else {
        return (parse::join(&words), None);
    };
    let mut value: Vec<&str> = words[at].text.splitn(2, ['=', ':']).skip(1).collect();
    let mut end = at + 1;
    if let (true, Some(word)) = (value.is_empty(), words.get(end)) {
        value.push(&word.text);
        end += 1;
    }
    let number = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let unit_follows = words
        .get(end)
        .is_some_and(|word| unit(&word.text).is_some());
    if value.first().is_some_and(number) && unit_follows {
        value.push(&words[end].text);
        end += 1;
    }
    let rest: Vec<Word> = [&words[..at], &words[end..]].concat();
    (parse::join(&rest), Some(value.concat()))
}

fn is_option(word: &Word) -> bool {
    let name = word.text.trim_start_matches(['-', '–', '—']);
    let name = name.split(['=', ':']).next().unwrap_or_default();
    name.len() < word.text.len()
        && word.text.starts_with(['-', '–', '—'])
        && matches!(name.to_ascii_lowercase().as_str(), "expires" | "expire")
}

/// The time that a text means, at most `longest` days ahead. A day is meant with all of its hours (UTC).
pub fn parse(text: &str, now: UnixMillis, longest: u64) -> Result<UnixMillis, Unfit> {
    let text = text.trim().to_lowercase();
    let until = match date(&text) {
        Some(day) => (day + 1) * DAY - 1,
        None => now.saturating_add(length(&text).ok_or(Unfit::Unreadable)?),
    };
    if until <= now {
        Err(Unfit::Past)
    } else if until > now.saturating_add(longest * DAY) {
        Err(Unfit::TooFar)
    } else {
        Ok(until)
    }
}

/// `90d`, `12w`, `3m`, `1y`, and longer words for the units.
fn length(text: &str) -> Option<UnixMillis> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, name) = text.split_at(digits);
    let number: UnixMillis = number.parse().ok()?;
    Some(number.saturating_mul(unit(name.trim())? * DAY))
}

/// A unit's days.
fn unit(name: &str) -> Option<u64> {
    match name.to_lowercase().as_str() {
        "d" | "day" | "days" => Some(1),
        "w" | "week" | "weeks" => Some(7),
        "m" | "month" | "months" => Some(30),
        "y" | "year" | "years" => Some(365),
        _ => None,
    }
}

/// The day of `2027-03-01`, counted from 1970 in the Gregorian calendar.
fn date(text: &str) -> Option<u64> {
    let mut parts = text.splitn(3, '-');
    let mut number = |digits: usize| -> Option<u64> {
        let part = parts.next()?;
        let sound = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        sound.then(|| part.parse().ok()).flatten()
    };
    let (year, month, day) = (number(4)?, number(2)?, number(2)?);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let days = |month: u64| match month {
        2 => 28 + u64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year < 1970 || !(1..=12).contains(&month) || !(1..=days(month)).contains(&day) {
        return None;
    }
    let years: u64 = (1970..year).map(|year| 365 + u64::from(leap(year))).sum();
    Some(years + (1..month).map(days).sum::<u64>() + day - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::day;

    // 14 Nov 2023
    const NOW: UnixMillis = 1_700_000_000_000;

    #[test]
    fn lengths_and_days() {
        for (text, expected) in [
            ("90d", Ok("12 Feb 2024")),
            ("90 days", Ok("12 Feb 2024")),
            ("2W", Ok("28 Nov 2023")),
            ("3m", Ok("12 Feb 2024")),
            ("1y", Ok("13 Nov 2024")),
            ("2023-11-14", Ok("14 Nov 2023")),
            ("2024-02-29", Ok("29 Feb 2024")),
            ("400d", Ok("18 Dec 2024")),
            ("401d", Err(Unfit::TooFar)),
            ("2025-01-01", Err(Unfit::TooFar)),
            ("99999999999999999999d", Err(Unfit::Unreadable)),
            ("9999999999999999999d", Err(Unfit::TooFar)),
            ("2023-11-13", Err(Unfit::Past)),
            ("0d", Err(Unfit::Past)),
            ("2023-02-29", Err(Unfit::Unreadable)),
            ("2023-13-01", Err(Unfit::Unreadable)),
            ("2023-00-01", Err(Unfit::Unreadable)),
            ("90", Err(Unfit::Unreadable)),
            ("d", Err(Unfit::Unreadable)),
            ("-1d", Err(Unfit::Unreadable)),
            ("soon", Err(Unfit::Unreadable)),
            ("", Err(Unfit::Unreadable)),
        ] {
            let found = parse(text, NOW, 400).map(day);
            assert_eq!(found, expected.map(ToOwned::to_owned), "{text}");
        }
    }

    #[test]
    fn the_option_is_taken_out() {
        for (text, rest, value) in [
            ("Work", "Work", None),
            ("Work --expires 90d", "Work", Some("90d")),
            ("--expires 90d My work", "My work", Some("90d")),
            ("My —expires 90 days work", "My work", Some("90days")),
            ("My –expires 90 people", "My people", Some("90")),
            ("Work --expires=2027-03-01", "Work", Some("2027-03-01")),
            ("Work --EXPIRES:1y", "Work", Some("1y")),
            ("Work --expires", "Work", Some("")),
            ("it expires 90d", "it expires 90d", None),
            ("a-b – c", "a-b – c", None),
            ("", "", None),
        ] {
            let found = split(text);
            assert_eq!(
                (found.0.as_str(), found.1.as_deref()),
                (rest, value),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_split_and_read(text: String) {
            let (rest, value) = split(&text);
            prop_assert!(rest.len() <= text.len());
            if let Ok(until) = parse(&value.unwrap_or(rest), NOW, 400) {
                prop_assert!(until > NOW && until <= NOW + 400 * DAY);
            }
        }
    }
}
