//! Whether a packaged file is what its package shipped.

use std::path::Path;
use std::sync::Arc;

use super::{Answer, Engine, Finding, Subject, Trouble, Wants, Whole};
use crate::agent::dispatch::Shared;
use crate::agent::filetype::executable_type;
use crate::agent::platform::PackageOwner;

/// What other content than was shipped weighs, of what is run and of what is read.
const WEIGHT: u32 = 60;
const WEIGHT_OF_DATA: u32 = 20;
/// How the names of files end that nothing runs: manuals, texts, pages, pictures, translations.
const DATA: &[&str] = &[
    "1", "2", "3", "4", "5", "6", "7", "8", "gz", "txt", "md", "rst", "adoc", "html", "htm", "css", "map", "png", "svg", "jpg",
    "gif", "ico", "ttf", "woff", "woff2", "mo", "po", "pdf",
];
/// The rule of what is as it was shipped.
pub const AS_SHIPPED: &str = "as_shipped";

/// Folders of what is read by people, where lines of attackers stand as examples.
const DOCUMENTATION: [&str; 3] = ["/usr/share/doc", "/usr/share/man", "/usr/share/info"];
/// What those of our own rules that go by lines of text weigh there, where it is as its package shipped it.
const WEIGHT_OF_EXAMPLES: u32 = 20;
const RULES_OF_LINES: [&str; 3] = ["reverse_shell", "php_web_shell", "downloads_and_runs"];

/// The engine.
pub struct Packages {
    agent: Arc<Shared>,
    owner: Option<PackageOwner>,
}

impl Packages {
    /// For the packages of a device.
    #[must_use]
    pub fn new(agent: Arc<Shared>) -> Self {
        Self { agent, owner: None }
    }
}

impl Engine for Packages {
    fn name(&self) -> &'static str {
        "packages"
    }

    fn wants(&mut self, subject: &Subject<'_>) -> Wants {
        self.owner = None;
        let Some(file) = subject.file.filter(|file| file.named) else { return Wants::default() };
        if file.origin.is_some_and(|origin| origin.package.is_none()) {
            return Wants::default();
        }
        self.owner = self.agent.platform.package(file.path);
        let known = file.origin.is_some_and(|origin| origin.shipped.is_some());
        Wants { md5: !known && self.owner.as_ref().is_some_and(|owner| owner.md5.is_some()), ..Wants::default() }
    }

    fn look(&mut self, subject: &Subject<'_>, whole: &Whole<'_>, _found: &[Finding]) -> Answer {
        let Some(owner) = self.owner.take() else { return Ok(Vec::new()) };
        let known = subject.file.and_then(|file| file.origin).and_then(|origin| origin.shipped);
        let shipped = known.or_else(|| owner.md5.as_ref().zip(whole.md5.as_ref()).map(|(shipped, now)| shipped == now));
        let name = &owner.name;
        let (rule, weight, what) = match shipped {
            Some(true) => (AS_SHIPPED, 0, format!("it is what the package {name} shipped")),
            Some(false) if owner.configuration => {
                ("changed_configuration", 0, format!("it is configuration of the package {name}, and was changed"))
            }
            Some(false) => {
                let weight = if is_data(subject, whole) { WEIGHT_OF_DATA } else { WEIGHT };
                ("changed", weight, format!("the package {name} owns it and shipped other content"))
            }
            // Whoever changes a program need only take its checksums away.
            None if !owner.configuration && executable_type(whole.head()).is_some() => {
                let why =
                    format!("the package {name} owns it and has no checksum of it: whether it is what was shipped is unknown");
                return Err(Trouble::Here(why));
            }
            None => return Ok(Vec::new()),
        };
        Ok(vec![Finding { engine: "packages", rule: rule.to_owned(), weight, what, place: None }])
    }
}

/// Has examples in documentation weigh less, where a package vouches for it.
pub fn spare_examples(findings: &mut [Finding], path: &Path) {
    let shipped = findings.iter().any(|finding| finding.engine == "packages" && finding.rule == AS_SHIPPED);
    if !shipped || !DOCUMENTATION.iter().any(|folder| path.starts_with(folder)) {
        return;
    }
    for finding in findings.iter_mut().filter(|finding| finding.engine == "builtin") {
        if RULES_OF_LINES.contains(&finding.rule.as_str()) {
            finding.weight = finding.weight.min(WEIGHT_OF_EXAMPLES);
        }
    }
}

/// Whether it is read and not run: by its name, unless it is a program all the same.
fn is_data(subject: &Subject<'_>, whole: &Whole<'_>) -> bool {
    let Some(file) = subject.file else { return false };
    let ending = file.path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    DATA.contains(&ending) && file.facts.permissions & 0o111 == 0 && executable_type(whole.head()).is_none()
}
