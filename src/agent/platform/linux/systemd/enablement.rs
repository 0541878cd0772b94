//! Whether a unit is enabled, as `systemctl list-unit-files` judges it: by the links that lead to it, where they are, and what its
//! `[Install]` section would have made.

use super::layer::Layer;
use super::name::{is_template, template_of};
use super::unit::{Loaded, Unit, default_instance};

/// The state of a unit's file.
pub(super) fn state_of(unit: &Unit, layers: &[Layer]) -> &'static str {
    let in_run = unit.path.starts_with("/run");
    match unit.loaded {
        Loaded::Broken => return "bad",
        Loaded::Masked => return if in_run { "masked-runtime" } else { "masked" },
        Loaded::Alias(_) => return "alias",
        // systemctl calls that an alias too, though no unit of the other name need be there.
        Loaded::Linked(ref target) if unit.stands_for.is_none() && !target.ends_with(&unit.name) => return "alias",
        Loaded::File | Loaded::Linked(_) => {}
    }
    if unit.path.starts_with("/run/systemd/transient") {
        return "transient";
    }
    if ["generator", "generator.early", "generator.late"]
        .iter()
        .any(|kind| unit.path.starts_with(format!("/run/systemd/{kind}")))
    {
        return "generated";
    }
    if let Some(state) = by_links(unit, layers, Some(&KnownNames::of(unit))) {
        return state;
    }
    // Enabled, but by a name that its own file does not ask for.
    if by_links(unit, layers, None).is_some() { "indirect" } else { by_install(unit) }
}

/// The state that links give it: those of known names, or with `None` those of any name.
fn by_links(unit: &Unit, layers: &[Layer], known: Option<&KnownNames<'_>>) -> Option<&'static str> {
    let name = unit.stands_for.as_ref().unwrap_or(&unit.name);
    let (mut at_runtime, mut linked, mut linked_at_runtime, mut elsewhere) = (false, false, false, false);
    let mut below = false;
    for layer in layers {
        let of_name = layer.by_name.get(name).into_iter().flatten();
        let of_target = layer.by_target.get(name).into_iter().flatten();
        let mut enabled = false;
        let mut same_name = false;
        for link in of_name.chain(of_target).filter_map(|&at| layer.links.get(at)) {
            let found_name = !below && link.name == *name;
            let found_target = link.target == *name;
            if found_name && found_target && link.puller.is_none() {
                same_name = true;
            } else if (found_name || found_target) && known.is_none_or(|known| known.has(&link.name)) {
                enabled = true;
            }
        }
        let persistent = layer.path.starts_with("/etc") || layer.path.ends_with(".config/systemd/user");
        let runtime = layer.path.starts_with("/run");
        if enabled && persistent {
            return Some("enabled");
        }
        at_runtime |= enabled && runtime;
        elsewhere |= enabled;
        linked |= same_name && persistent;
        linked_at_runtime |= same_name && runtime;
        // What lies below the unit's own folder neither shadows nor enables it by its name.
        below |= unit.path.starts_with(&layer.path);
    }
    if at_runtime {
        return Some("enabled-runtime");
    }
    if elsewhere && template_of(name).is_some() {
        return Some("static");
    }
    if linked {
        return Some("linked");
    }
    linked_at_runtime.then_some("linked-runtime")
}

fn by_install(unit: &Unit) -> &'static str {
    let has = |key: &str| !unit.values("Install", key).is_empty();
    if ["Alias", "WantedBy", "RequiredBy", "UpheldBy"].into_iter().any(has) {
        "disabled"
    } else if has("Also") {
        "indirect"
    } else {
        "static"
    }
}

/// The names of links that `systemctl enable` would make for a unit.
struct KnownNames<'a> {
    unit: &'a Unit,
    aliases: Vec<String>,
    instance: Option<String>,
}

impl<'a> KnownNames<'a> {
    fn of(unit: &'a Unit) -> Self {
        let aliases = unit.words("Install", "Alias").iter().map(|alias| unit.expand(alias)).collect();
        Self { unit, aliases, instance: is_template(&unit.name).then(|| default_instance(unit)).flatten() }
    }

    fn has(&self, name: &str) -> bool {
        name == self.unit.stands_for.as_ref().unwrap_or(&self.unit.name)
            || self.aliases.iter().any(|alias| alias == name)
            || self.instance.as_deref() == Some(name)
    }
}
