//! DNS messages (RFC 1035) with one question, for the address of a name.

use std::net::Ipv4Addr;
use std::time::Duration;

/// Longest message over UDP.
pub(super) const MAX_BYTES: usize = 512;
const HEADER_BYTES: usize = 12;
/// Type A and class IN.
const TYPE_AND_CLASS: [u8; 4] = [0, 1, 0, 1];
/// Recursion desired.
const QUERY: [u8; 2] = [0x01, 0x00];
/// A response, recursion available.
const FOUND: [u8; 2] = [0x81, 0x80];
/// The same with the response code 3.
const NO_SUCH_NAME: [u8; 2] = [0x81, 0x83];
/// Refers to the name of the question, which begins after the header.
const NAME_OF_QUESTION: [u8; 2] = [0xc0, HEADER_BYTES as u8];

/// Answer to the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Address { address: Ipv4Addr, ttl: Duration },
    NoSuchName,
}

/// Builds the query for a name.
pub(super) fn query(id: u16, name: &str) -> Vec<u8> {
    let mut message = header(id, QUERY, 0);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(TYPE_AND_CLASS);
    message
}

/// Builds the response to a query; `None` if it is not a query for an address.
pub(super) fn response(query: &[u8], answer: Answer) -> Option<Vec<u8>> {
    let (end, id) = (question_end(query)?, u16::from_be_bytes([query[0], query[1]]));
    let question = &query[HEADER_BYTES..end];
    if !question.ends_with(&TYPE_AND_CLASS) {
        return None;
    }
    let Answer::Address { address, ttl } = answer else {
        let mut message = header(id, NO_SUCH_NAME, 0);
        message.extend(question);
        return Some(message);
    };
    let mut message = header(id, FOUND, 1);
    message.extend(question);
    message.extend(NAME_OF_QUESTION);
    message.extend(TYPE_AND_CLASS);
    message.extend((ttl.as_secs() as u32).to_be_bytes());
    message.extend([0, 4]);
    message.extend(address.octets());
    Some(message)
}

/// Reads a response that [`response`] built; `None` if it cannot be read.
pub(super) fn answer(response: &[u8]) -> Option<Answer> {
    if response.get(2..4)? == NO_SUCH_NAME {
        return Some(Answer::NoSuchName);
    }
    let record = response.get(question_end(response)?..)?;
    let record = record.strip_prefix(&NAME_OF_QUESTION)?.strip_prefix(&TYPE_AND_CLASS)?;
    let (ttl, rest) = record.split_first_chunk()?;
    let (address, _) = rest.strip_prefix(&[0, 4])?.split_first_chunk::<4>()?;
    let ttl = Duration::from_secs(u32::from_be_bytes(*ttl).into());
    Some(Answer::Address { address: (*address).into(), ttl })
}

fn header(id: u16, flags: [u8; 2], answers: u8) -> Vec<u8> {
    let mut header = id.to_be_bytes().to_vec();
    header.extend(flags);
    header.extend([0, 1, 0, answers, 0, 0, 0, 0]);
    header
}

/// Where the question ends.
fn question_end(message: &[u8]) -> Option<usize> {
    let name = message.get(HEADER_BYTES..)?;
    let end = HEADER_BYTES + name.iter().position(|byte| *byte == 0)? + 1 + TYPE_AND_CLASS.len();
    (end <= message.len()).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND: Answer =
        Answer::Address { address: Ipv4Addr::LOCALHOST, ttl: Duration::from_secs(7) };

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        for written in [FOUND, Answer::NoSuchName] {
            let response = response(&query(1, "www.example.org"), written).unwrap();
            assert_eq!(answer(&response), Some(written));
        }
    }

    #[test]
    fn a_query_is_as_in_the_rfc() {
        let expected =
            b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x02bc\x00\x00\x01\x00\x01";
        assert_eq!(query(7, "a.bc."), expected);
    }

    #[test]
    fn a_message_that_is_cut_off_is_not_read() {
        let query = query(1, "a");
        let whole = response(&query, FOUND).unwrap();
        for length in 0..whole.len() {
            assert_eq!(answer(&whole[..length]), None, "{length} bytes");
        }
        for length in 0..query.len() {
            assert_eq!(response(&query[..length], FOUND), None, "{length} bytes");
        }
    }
}
