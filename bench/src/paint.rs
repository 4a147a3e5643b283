//! Colours for people: on terminals only, and never when NO_COLOR is set.

use std::io::IsTerminal;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    pub(crate) fn for_stdout() -> Self {
        // See no-color.org: any value but the empty one.
        let allowed = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self(allowed && std::io::stdout().is_terminal())
    }

    #[cfg(test)]
    pub(crate) fn never() -> Self {
        Self(false)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.with("31", text)
    }
}
