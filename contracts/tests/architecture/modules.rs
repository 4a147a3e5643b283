//! Which module may name which: no module graph has a cycle, and in the gateway arrows point down.
//!
//! An arrow leads from a module to each module whose items it names by a path, also through a
//! re-export. Among siblings it counts for the whole subtree of both. A module may name its parent and
//! its children. Tests are left out, and what macros hide is not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::sources::{root, sources};

mod paths;

use paths::{Named, named};

/// `["locks", "audit_log"]`; the root of a crate is empty.
type Module = Vec<String>;

/// The gateway's folders, from top to bottom: one names only those below it.
const GATEWAY: [&str; 18] = [
    "wiring",
    "http",
    "handlers",
    "locks",
    "mutation",
    "reads",
    "sync",
    "edge",
    "state",
    "stream",
    "firewall",
    "admin",
    "sessions",
    "background",
    "caller_context",
    "problems",
    "config",
    "paths",
];

/// The modules of one crate, and what each names.
struct Graph(BTreeMap<Module, Vec<Named>>);

impl Graph {
    fn of_crate(folder: &Path) -> Self {
        let source = folder.join("src");
        let files = sources().into_iter().filter(|file| file.starts_with(&source));
        let read = |file: PathBuf| {
            let text = std::fs::read_to_string(&file).expect("a source can be read");
            let syntax = syn::parse_file(&text).expect("a source is Rust");
            let inside = file.strip_prefix(&source).expect("it is inside").with_extension("");
            let names = inside.components().map(|part| part.as_os_str().to_string_lossy());
            let module: Module = names.map(Into::into).collect();
            let module = if module == ["lib"] { Module::new() } else { module };
            (!is_left_out(&module)).then(|| (module.clone(), named(&module, &syntax)))
        };
        Self(files.filter_map(read).collect())
    }

    /// The module whose item the path names, followed through re-exports.
    fn target(&self, path: &[String], hops: u8) -> Module {
        let depth = (0..=path.len()).rev().find(|depth| self.0.contains_key(&path[..*depth]));
        let (module, rest) = path.split_at(depth.unwrap_or_default());
        let reexport = rest.first().and_then(|name| {
            let all = self.0.get(module)?.iter();
            all.filter(|named| hops > 0 && named.is_reexport)
                .find(|named| named.name.as_ref() == Some(name))
        });
        reexport.map_or_else(|| module.to_vec(), |named| self.target(&named.path, hops - 1))
    }

    /// Arrows between siblings, with the folder they are in and one module that makes each.
    fn arrows(&self) -> BTreeMap<(Module, String, String), Module> {
        let mut arrows = BTreeMap::new();
        for (module, names) in &self.0 {
            for path in names.iter().map(|named| &named.path) {
                let target = self.target(path, 8);
                let common = module.iter().zip(&target).take_while(|(one, other)| one == other);
                let common = common.count();
                if let (Some(from), Some(to)) = (module.get(common), target.get(common)) {
                    let key = (module[..common].to_vec(), from.clone(), to.clone());
                    arrows.entry(key).or_insert_with(|| module.clone());
                }
            }
        }
        arrows
    }
}

/// Programs beside the library, and modules of tests.
fn is_left_out(module: &Module) -> bool {
    let program = ["main", "main_sabotage", "bin"];
    let is_program = module.first().is_some_and(|name| program.contains(&name.as_str()));
    is_program || module.iter().any(|name| name == "tests")
}

/// Siblings that reach themselves by arrows.
fn cycles(arrows: &BTreeMap<(Module, String, String), Module>) -> BTreeSet<(Module, String)> {
    let next = |folder: &Module, from: &String| -> Vec<String> {
        let keys = arrows.keys();
        let own = keys.filter(|(within, name, _)| within == folder && name == from);
        own.map(|(_, _, to)| to.clone()).collect()
    };
    let reaches_itself = |folder: &Module, start: &String| {
        let (mut open, mut seen) = (next(folder, start), BTreeSet::new());
        while let Some(name) = open.pop() {
            if seen.insert(name.clone()) {
                open.extend(next(folder, &name));
            }
        }
        seen.contains(start)
    };
    let all = arrows.keys().map(|(folder, from, _)| (folder.clone(), from.clone()));
    all.filter(|(folder, from)| reaches_itself(folder, from)).collect()
}

/// Folders of the crates.
fn crates() -> Vec<PathBuf> {
    let manifests = sources().into_iter().filter(|file| file.ends_with("src/lib.rs"));
    let folders = manifests.filter_map(|file| Some(file.parent()?.parent()?.to_owned()));
    folders.filter(|folder| folder.join("Cargo.toml").exists()).collect()
}

#[test]
fn no_module_graph_has_a_cycle() {
    let crates = crates();
    assert!(crates.len() >= 14, "only {} crates were found", crates.len());
    let mut found = Vec::new();
    for folder in crates {
        let arrows = Graph::of_crate(&folder).arrows();
        let cyclic = cycles(&arrows);
        let name = folder.strip_prefix(root()).expect("it is inside").display().to_string();
        for ((within, from, to), module) in &arrows {
            let is_cyclic = |name: &String| cyclic.contains(&(within.clone(), name.clone()));
            if is_cyclic(from) && is_cyclic(to) {
                let (within, module) = (within.join("::"), module.join("::"));
                found.push(format!("{name}: {within}: {from} -> {to} in {module}"));
            }
        }
    }
    assert!(found.is_empty(), "modules name each other in a circle:\n{}", found.join("\n"));
}

#[test]
fn the_gateways_folders_name_only_what_is_below_them() {
    let graph = Graph::of_crate(&root().join("bff"));
    let rank = |name: &String| GATEWAY.iter().position(|folder| folder == name);
    for module in graph.0.keys().filter(|module| module.len() == 1) {
        assert!(rank(&module[0]).is_some(), "{} is not in the architecture", module[0]);
    }
    for ((within, from, to), module) in graph.arrows() {
        let module = module.join("::");
        assert!(!within.is_empty() || rank(&from) < rank(&to), "{module} names {to}, above it");
        let imports_handlers = within.is_empty() && to == "handlers" && from != "http";
        assert!(!imports_handlers, "{module} names a handler, which is http's alone");
    }
}

#[test]
fn a_cycle_through_a_reexport_is_found() {
    let parse = |text: &str| syn::parse_file(text).expect("it is Rust");
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
    let files = [
        (Module::new(), "pub mod a; pub mod b; pub use a::One;"),
        (module("a"), "use crate::b::{self, Other}; pub struct One(Other);"),
        (module("b"), "fn read(one: super::One) {}"),
    ];
    let read = |(module, text): (Module, &str)| {
        let names = named(&module, &parse(text));
        (module, names)
    };
    let graph = Graph(files.map(read).into_iter().collect());
    let cyclic = cycles(&graph.arrows());
    assert_eq!(cyclic.len(), 2, "{cyclic:?}");
}
