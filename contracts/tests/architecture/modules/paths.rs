//! The paths that a source file names.

use syn::visit::{self, Visit};
use syn::{File, Item, ItemMod, ItemUse, UseTree, Visibility};

use super::Module;
use crate::sources::is_test;

/// One path, from the root of its crate.
pub(super) struct Named {
    pub(super) path: Module,
    /// Whether it is public here under `name`.
    pub(super) is_reexport: bool,
    pub(super) name: Option<String>,
}

/// Paths of a module's file that lead into its own crate.
pub(super) fn named(module: &Module, file: &File) -> Vec<Named> {
    let mut children = Vec::new();
    for item in &file.items {
        if let Item::Mod(child) = item {
            children.push(child.ident.to_string());
        }
    }
    let mut reader = Reader { module, children, named: Vec::new() };
    reader.visit_file(file);
    reader.named
}

struct Reader<'a> {
    module: &'a Module,
    children: Vec<String>,
    named: Vec<Named>,
}

impl Reader<'_> {
    /// The path from the root of the crate, if it leads into the crate.
    fn absolute(&self, path: &[String]) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        let mut from = match first.as_str() {
            "crate" => Module::new(),
            "super" => self.module[..self.module.len().checked_sub(1)?].to_vec(),
            "self" => self.module.clone(),
            child if self.children.iter().any(|own| own == child) => {
                let own = [self.module.as_slice(), &[child.to_owned()]].concat();
                return Some([own, rest.to_vec()].concat());
            }
            _ => return None,
        };
        let mut rest = rest;
        while let Some((next, later)) = rest.split_first().filter(|(next, _)| *next == "super") {
            let _ = next;
            from.pop();
            rest = later;
        }
        from.extend(rest.iter().cloned());
        Some(from)
    }

    fn note(&mut self, path: &[String], name: Option<String>, is_reexport: bool) {
        if let Some(path) = self.absolute(path) {
            self.named.push(Named { path, is_reexport, name });
        }
    }

    fn note_tree(&mut self, tree: &UseTree, before: &mut Vec<String>, is_reexport: bool) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.note_tree(&path.tree, before, is_reexport);
                before.pop();
            }
            UseTree::Name(name) if name.ident == "self" => self.note(before, None, false),
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                let path = [before.as_slice(), std::slice::from_ref(&name)].concat();
                self.note(&path, Some(name), is_reexport);
            }
            UseTree::Rename(rename) => {
                let path = [before.as_slice(), &[rename.ident.to_string()]].concat();
                self.note(&path, Some(rename.rename.to_string()), is_reexport);
            }
            UseTree::Glob(_) => self.note(before, None, false),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.note_tree(tree, before, is_reexport);
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !is_test(&item.attrs) {
            let is_reexport = !matches!(item.vis, Visibility::Inherited);
            self.note_tree(&item.tree, &mut Vec::new(), is_reexport);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.note(&names, None, false);
        visit::visit_path(self, path);
    }
}
