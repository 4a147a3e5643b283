//! Words that no identifier has: metaphors, and words that had several meanings.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};

use crate::sources::{root, sources};

/// Each with what is written instead. A test may still say `in_house`, which is where guests are.
const RETIRED: [(&str, &str); 14] = [
    ("anew", "again"),
    ("bell", "change notifier"),
    ("burn", "consume"),
    ("burnt", "consumed"),
    ("deed", "mutation"),
    ("door", "breaker, or lock"),
    ("mourn", "handle exit"),
    ("thief", "attacker"),
    ("told", "a name of what it is"),
    ("verdict", "outcome, result or check"),
    ("whoever", "a name of who it is"),
    ("wish", "approval request"),
    ("yardstick", "calibration"),
    ("downstream", "upstream, or client"),
];

/// `in_house` and `InHouse` are `in` and `house`.
fn words(identifier: &str) -> Vec<String> {
    let (mut words, mut was_upper) = (vec![String::new()], false);
    for letter in identifier.chars() {
        if letter == '_' || (letter.is_uppercase() && !was_upper) {
            words.push(String::new());
        }
        was_upper = letter.is_uppercase();
        if let Some(word) = words.last_mut().filter(|_| letter != '_') {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn identifiers(tokens: TokenStream, found: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(identifier) => found.push(identifier.to_string()),
            TokenTree::Group(group) => identifiers(group.stream(), found),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

#[test]
fn no_identifier_has_a_retired_word() {
    let retired: BTreeMap<&str, &str> = RETIRED.into();
    let mut wrong = Vec::new();
    for file in sources() {
        let text = std::fs::read_to_string(&file).expect("a source can be read");
        let tokens: TokenStream = text.parse().expect("a source is Rust");
        let mut found = Vec::new();
        identifiers(tokens, &mut found);
        for identifier in found {
            for word in words(&identifier) {
                if let Some(instead) = retired.get(word.as_str()) {
                    let file = file.strip_prefix(root()).expect("it is inside").display();
                    wrong.push(format!("{file}: {identifier}: write {instead}"));
                }
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "retired words:\n{}", wrong.join("\n"));
}

#[test]
fn words_are_found_in_both_forms() {
    assert_eq!(words("is_in_house"), ["is", "in", "house"]);
    assert_eq!(words("InHouse"), ["in", "house"]);
    assert_eq!(words("MAX_LINES"), ["max", "lines"]);
}
