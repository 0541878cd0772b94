//! The prompt says that the device is cut off, and for how long yet.

use portable_pty::CommandBuilder;

use crate::kit::network::Network;
use crate::kit::pty::Pty;
use crate::kit::shell::Home;

#[test]
fn the_prompt_tells_the_isolation_and_the_time_left() {
    let Some(network) = Network::new() else { return };
    let home = Home::new();
    let wrapped = network.on_device(&home.command());
    let mut command = CommandBuilder::new(wrapped.get_program());
    command.args(wrapped.get_args());
    for (name, value) in wrapped.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        }
    }
    command.cwd(home.work());
    let mut shell = Pty::of(command, 24, 120);
    let before = shell.prompt();
    assert!(!before.contains("isolated"), "{before}");
    shell.line("isolate -for 2h");
    // Behind it stands how long the line took.
    shell.until("the prompt", |screen| {
        let prompt = screen.trim_end().lines().last().unwrap_or_default();
        prompt.contains(" [isolated, 1h 59m left] >") || prompt.contains(" [isolated, 2h left] >")
    });
    shell.line("release");
    shell.until("a prompt without", |screen| {
        let prompt = screen.trim_end().lines().last().unwrap_or_default();
        screen.contains("back on the network") && prompt.ends_with("/ >") && !prompt.contains("isolated")
    });
    shell.line("exit");
    assert_eq!(shell.end(), 0);
    assert_eq!(network.filters(), "");
}
