//! Whether a packaged file is what its package shipped.

use std::sync::Arc;

use super::{Answer, Engine, Finding, Subject, Wants, Whole};
use crate::agent::dispatch::Shared;
use crate::agent::platform::PackageOwner;

/// What other content than was shipped weighs.
const WEIGHT: u32 = 60;
/// The rule of what is as it was shipped.
pub const AS_SHIPPED: &str = "as_shipped";

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
            Some(false) => ("changed", WEIGHT, format!("the package {name} owns it and shipped other content")),
            None => return Ok(Vec::new()),
        };
        Ok(vec![Finding { engine: "packages", rule: rule.to_owned(), weight, what, place: None }])
    }
}
