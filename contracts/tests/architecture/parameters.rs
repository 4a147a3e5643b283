//! Every parameter of a function has a name: none is a tuple that the signature takes apart.
//!
//! Closures are free, as are extractors (`Path((lock, key))`). Tests and benches are left out.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};
use syn::{File, FnArg, ImplItemFn, ItemFn, ItemMod, Pat, Signature};

use crate::sources::{is_left_out, is_test, root, sources};

#[derive(Default)]
struct Counter {
    tuples: usize,
}

impl Counter {
    fn count(file: &File) -> usize {
        let mut counter = Self::default();
        counter.visit_file(file);
        counter.tuples
    }
}

impl<'ast> Visit<'ast> for Counter {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_signature(&mut self, signature: &'ast Signature) {
        let is_tuple =
            |input: &&FnArg| matches!(input, FnArg::Typed(typed) if is_tuple(&typed.pat));
        self.tuples += signature.inputs.iter().filter(is_tuple).count();
    }
}

fn is_tuple(pattern: &Pat) -> bool {
    match pattern {
        // `(): ()` takes nothing apart.
        Pat::Tuple(tuple) => !tuple.elems.is_empty(),
        Pat::Reference(reference) => is_tuple(&reference.pat),
        Pat::Paren(paren) => is_tuple(&paren.pat),
        _ => false,
    }
}

#[test]
fn no_function_has_a_tuple_pattern_as_parameter() {
    let (root, mut found) = (root(), BTreeMap::new());
    for file in sources() {
        let name = file.strip_prefix(&root).expect("it is in the repository");
        if is_left_out(name) {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a source can be read");
        let count = Counter::count(&syn::parse_file(&text).expect("a source is Rust"));
        if count > 0 {
            found.insert(name.to_string_lossy().into_owned(), count);
        }
    }
    assert!(found.is_empty(), "name the parameters in {found:?}");
}

#[test]
fn tuple_patterns_are_found_in_functions_and_methods_only() {
    let text = "
        fn one(first: u8, (second, third): (u8, u8)) { [(1, 2)].map(|(a, b)| a + b); }
        impl Two { fn of(&self, &(a, b): &(u8, u8)) {} }
        trait Three { fn of((a, b): (u8, u8)) {} }
        fn extractor(Path((lock, key)): Path<(u8, u8)>, pair: (u8, u8), (): ()) {}
        #[cfg(test)] mod tests { fn left_out((a, b): (u8, u8)) {} }
    ";
    assert_eq!(Counter::count(&syn::parse_file(text).expect("this is Rust")), 3);
}
