//! A task's definition: XML after Microsoft's "Task Scheduler Schema", in UTF-16 as the scheduler writes it.

use roxmltree::{Document, Node, ParsingOptions};

use super::text::decode;

/// The most parts that a definition may have.
const MAX_NODES: u32 = 20_000;
/// How deep they may stand within each other: the schema goes to seven.
const MAX_DEPTH: usize = 64;
/// The most that is told of one text.
const MAX_TEXT: usize = 16 * 1024;

/// What a definition says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFile {
    /// Who made it.
    pub author: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// What it calls itself: a path, which may be another than where it lies.
    pub uri: Option<String>,
    /// Whether it would run.
    pub enabled: bool,
    /// The triggers, each as its parts are written.
    pub triggers: Vec<String>,
    /// Who it runs as: a name or a SID; of a group whoever of it is logged on.
    pub user: Option<String>,
    /// What the definition calls that.
    pub principal: Option<String>,
    /// Which of the definition's principals its actions run as.
    pub context: Option<String>,
    /// Programs and their arguments.
    pub programs: Vec<(String, Option<String>)>,
    /// The class of a COM object that it calls, and what it hands over.
    pub handler: Option<(String, Option<String>)>,
}

/// Reads a definition.
///
/// # Errors
/// Why it is none, as a sentence.
pub fn parse(bytes: &[u8]) -> Result<TaskFile, String> {
    let text = decode(bytes);
    if deep(&text) {
        return Err("its XML is too deep".to_owned());
    }
    let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&text, options).map_err(|error| format!("its XML cannot be read: {error}"))?;
    let task = document.root_element();
    if task.tag_name().name() != "Task" {
        return Err("it describes no task".to_owned());
    }
    let part = |name| child(task, name);
    let info = |name| part("RegistrationInfo").and_then(|info| told(child(info, name)?));
    let principal = part("Principals").and_then(|all| child(all, "Principal"));
    let of_principal = |name| told(child(principal?, name)?);
    let actions = part("Actions");
    let exec = actions.into_iter().flat_map(|all| all.children()).filter(|node| node.tag_name().name() == "Exec");
    let programs = exec.map(|exec| {
        let of = |name| child(exec, name).and_then(told);
        (of("Command").unwrap_or_default(), of("Arguments"))
    });
    let handler = actions.and_then(|all| child(all, "ComHandler"));
    let enabled = part("Settings").and_then(|settings| told(child(settings, "Enabled")?));
    let triggers = part("Triggers").into_iter().flat_map(|all| all.children()).filter(Node::is_element);
    Ok(TaskFile {
        author: info("Author"),
        description: info("Description"),
        uri: info("URI"),
        enabled: enabled.is_none_or(|enabled| !matches!(enabled.as_str(), "false" | "0")),
        triggers: triggers.take(100).map(trigger).collect(),
        user: of_principal("UserId").or_else(|| of_principal("GroupId")),
        principal: principal.and_then(|principal| principal.attribute("id")).map(cut),
        context: actions.and_then(|actions| actions.attribute("Context")).map(cut),
        programs: programs.take(100).collect(),
        handler: handler.map(|handler| {
            let of = |name| child(handler, name).and_then(told);
            (of("ClassId").unwrap_or_default(), of("Data"))
        }),
    })
}

/// Whether elements stand too deep within each other, before they are read: counted by their marks alone.
fn deep(text: &str) -> bool {
    let mut depth = 0_usize;
    for (at, _) in text.match_indices('<') {
        match text.as_bytes().get(at + 1) {
            Some(b'/') => depth = depth.saturating_sub(1),
            Some(b'!' | b'?') => {}
            _ => {
                let end = text.get(at..).and_then(|rest| rest.find('>').map(|end| at + end));
                let closes_itself = end.is_some_and(|end| end > 0 && text.as_bytes().get(end - 1) == Some(&b'/'));
                depth += usize::from(!closes_itself);
            }
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.tag_name().name() == name)
}

fn told(node: Node<'_, '_>) -> Option<String> {
    let text = node.text()?.trim();
    (!text.is_empty()).then(|| cut(text))
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

/// A trigger as one line: its kind and its parts, those that only say that it is on left out.
fn trigger(node: Node<'_, '_>) -> String {
    let mut line = node.tag_name().name().to_owned();
    for part in node.descendants().filter(|part| part.is_element() && *part != node) {
        let name = part.tag_name().name();
        let more = match told(part) {
            Some(text) if name == "Enabled" && text == "true" => continue,
            Some(text) => format!(" {name}={text}"),
            None if part.children().any(|inner| inner.is_element()) => continue,
            None => format!(" {name}"),
        };
        line.push_str(&more);
        if line.len() > 1024 {
            break;
        }
    }
    cut(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_definition_is_an_error() {
        let check = |text: &str, said: &str| {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(said), "{error}");
        };
        check("", "cannot be read");
        check("<a/>", "no task");
        check("<Task><b></Task>", "cannot be read");
        check(&"<a>".repeat(300_000), "too deep");
        check(&format!("<Task>{}</Task>", "<a/>".repeat(30_000)), "cannot be read");
        check("<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><Task>&b;</Task>", "cannot be read");
    }

    #[test]
    fn a_bare_definition_is_enough() {
        let read = parse(b"<Task xmlns='x'><Actions><Exec><Command> a.exe </Command></Exec></Actions></Task>").unwrap();
        assert_eq!((read.programs, read.enabled), (vec![("a.exe".to_owned(), None)], true));
    }
}
