//! Cached reads: their policies stand with what they serve, so only the sources list them all.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};

use crate::sources::{root, sources};

/// Names in `ReadPolicy::new("name", …)` and `ReadPolicy::of_gateway("name", …)`, also in macros.
fn policies(tokens: TokenStream, found: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for start in 0..tokens.len() {
        if let TokenTree::Group(group) = &tokens[start] {
            policies(group.stream(), found);
        }
        if let [
            TokenTree::Ident(kind),
            TokenTree::Punct(_),
            TokenTree::Punct(_),
            TokenTree::Ident(constructor),
            TokenTree::Group(arguments),
            ..,
        ] = &tokens[start..]
            && kind == "ReadPolicy"
            && (constructor == "new" || constructor == "of_gateway")
            && let Some(TokenTree::Literal(name)) = arguments.stream().into_iter().next()
        {
            found.push(name.to_string());
        }
    }
}

#[test]
fn no_two_reads_share_a_name() {
    let mut files = BTreeMap::new();
    for file in sources() {
        let text = std::fs::read_to_string(&file).expect("a source can be read");
        let mut found = Vec::new();
        policies(text.parse().expect("a source is Rust"), &mut found);
        let file = file.strip_prefix(root()).expect("it is inside").display().to_string();
        for name in found {
            if let Some(other) = files.insert(name.clone(), file.clone()) {
                panic!("{file} and {other}: two reads named {name} would share snapshots");
            }
        }
    }
    assert!(files.len() > 20, "the reads were not found");
}
