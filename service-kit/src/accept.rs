//! Content negotiation with the `Accept` header (RFC 9110 section 12.5.1).

use http::HeaderMap;
use http::header::ACCEPT;
use mime::Mime;

/// A media range and its quality.
#[derive(Debug)]
struct Range {
    media: Mime,
    /// 0 to 1000; 0 means not acceptable.
    quality: u16,
}

/// The position in `offered` of the media type that the caller prefers; `None` when none is acceptable.
///
/// The most specific matching range decides the quality of an offer. Of offers of equal quality, the one
/// with the more specific range wins, then the one named first, then the one offered first. Invalid
/// ranges are ignored; without any range everything is acceptable.
pub fn preferred(headers: &HeaderMap, offered: &[&str]) -> Option<usize> {
    let ranges: Vec<Range> = members(headers).filter_map(|member| Range::parse(&member)).collect();
    if ranges.is_empty() {
        return (!offered.is_empty()).then_some(0);
    }
    let acceptable = offered.iter().enumerate().filter_map(|(index, offer)| {
        let offer: Mime = offer.parse().ok()?;
        let rank = rank(&ranges, &offer)?;
        Some((rank, index))
    });
    acceptable.min_by_key(|(rank, index)| (*rank, *index)).map(|(_, index)| index)
}

/// The rank of an offer, smallest first: lack of quality, vagueness of its range, position of its range.
/// `None` for an offer that is not acceptable.
fn rank(ranges: &[Range], offer: &Mime) -> Option<(u16, u8, usize)> {
    let fitting = ranges.iter().enumerate().filter(|(_, range)| range.fits(offer));
    let (position, range) = fitting.min_by_key(|(_, range)| range.vagueness())?;
    (range.quality > 0).then(|| (1000 - range.quality, range.vagueness(), position))
}

/// The members of the list in all header lines. Commas inside quoted strings do not separate.
fn members(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| {
        let (mut members, mut quoted, mut escaped) = (vec![String::new()], false, false);
        for letter in line.chars() {
            match letter {
                ',' if !quoted => {
                    members.push(String::new());
                    continue;
                }
                '"' if !escaped => quoted = !quoted,
                _ => {}
            }
            escaped = quoted && letter == '\\' && !escaped;
            if let Some(member) = members.last_mut() {
                member.push(letter);
            }
        }
        members
    })
}

impl Range {
    fn parse(member: &str) -> Option<Self> {
        let media: Mime = member.trim().parse().ok()?;
        let quality = media.get_param("q").map_or(Some(1000), |value| quality(value.as_str()))?;
        Some(Self { media, quality })
    }

    fn fits(&self, offer: &Mime) -> bool {
        let is = |range: mime::Name<'_>, name: mime::Name<'_>| range == mime::STAR || range == name;
        is(self.media.type_(), offer.type_()) && is(self.media.subtype(), offer.subtype())
    }

    /// 0 for a type, 1 for `type/*`, 2 for `*/*`.
    fn vagueness(&self) -> u8 {
        let parts = [self.media.type_(), self.media.subtype()];
        parts.iter().map(|part| u8::from(*part == mime::STAR)).sum()
    }
}

/// `0`, `1`, or up to three decimals between, in thousandths (RFC 9110 section 12.4.2).
fn quality(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_good = decimals.len() <= 3 && decimals.bytes().all(|digit| digit.is_ascii_digit());
    let thousandths: u16 = format!("{decimals:0<3}").parse().ok().filter(|_| is_good)?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: [&str; 3] = ["application/json", "application/x-ndjson", "text/event-stream"];

    fn chosen(lines: &[&str]) -> Option<&'static str> {
        let headers = lines.iter().map(|line| (ACCEPT, line.parse().unwrap())).collect();
        preferred(&headers, &OFFERED).map(|index| OFFERED[index])
    }

    #[test]
    fn a_form_is_chosen_as_rfc_9110_says() {
        const JSON: Option<&str> = Some(OFFERED[0]);
        const LINES: Option<&str> = Some(OFFERED[1]);
        const EVENTS: Option<&str> = Some(OFFERED[2]);
        for (accept, form) in [
            (&[][..], JSON),
            (&[""], JSON),
            (&["*/*"], JSON),
            (&["application/*"], JSON),
            (&["text/*"], EVENTS),
            (&["Application/JSON"], JSON),
            (&["APPLICATION/X-NDJSON;Q=1.000"], LINES),
            (&["application/json; charset=utf-8"], JSON),
            (&["application/x-ndjson;q=0, application/json"], JSON),
            (&["application/x-ndjson, application/json;q=0.5"], LINES),
            (&["application/json;q=0.5, application/x-ndjson;q=0.501"], LINES),
            (&["text/html, */*;q=0.8"], JSON),
            (&["*/*, application/json;q=0"], LINES),
            (&["application/*;q=0, */*"], EVENTS),
            (&["application/json;q=0.1, application/*;q=0.9"], LINES),
            (&["text/event-stream, application/json"], EVENTS),
            (&["text/event-stream", "application/json"], EVENTS),
            (&["text/html", "application/x-ndjson"], LINES),
            (&["*/*, application/x-ndjson"], LINES),
            (&["text/plain;a=\"x,application/json\""], None),
            (&["nonsense, application/x-ndjson"], LINES),
            (&["nonsense"], JSON),
            (&["application/x-ndjson;q=2, application/json;q=0.1"], JSON),
            (&["image/png"], None),
            (&["*/*;q=0"], None),
            (&["application/json;q=0.000"], None),
        ] {
            assert_eq!(chosen(accept), form, "{accept:?}");
        }
    }
}
