//! What runs with a user's session, shell, desktop or everyday program.

use super::How::{Foreign, Lines, Loaded, Naming, Program, Runnable};
use super::{Place, place};
use crate::agent::platform::linux::persistence::lines;

/// Code that Python runs as it starts.
const PYTHON: &str = "T1546.018";

pub(super) const PLACES: &[Place] = &[
    // Accounts.
    place("privileges", "T1098.007", "/etc/group", Lines(lines::powerful_groups)),
    place("privileges", "T1098.007", "/var/lib/extrausers/group", Lines(lines::powerful_groups)),
    place("privileges", "T1136.001", "/var/lib/extrausers/passwd", Lines(lines::accounts)),
    place("privileges", "T1136.001", "/var/lib/extrausers/shadow", Lines(lines::passwordless)),
    place("privileges", "T1136.001", "/{etc,run,usr/lib}/userdb/*", Loaded),
    place("privileges", "T1136.001", "/var/lib/systemd/home/*.identity", Loaded),
    place("privileges", "T1548", "/etc/{doas.conf,doas.d/*}", Naming(&["permit"])),
    place("privileges", "T1136.001", "/usr/local/sbin/{adduser,deluser}.local", Program),
    place("privileges", "T1546", "/etc/login.defs", Naming(&["fake_shell", "userdel_cmd"])),
    // Keys and settings of ssh.
    place("authorized_keys", "T1098.004", "/etc/dropbear/{,initramfs/}authorized_keys", Lines(lines::authorized_keys)),
    place("authorized_keys", "T1098.004", "/etc/dropbear-initramfs/authorized_keys", Lines(lines::authorized_keys)),
    place("ssh", "T1098.004", "/etc/default/{ssh,sshd,dropbear}", Naming(SERVER)),
    place("ssh", "T1098.004", "/etc/sysconfig/sshd", Naming(SERVER)),
    // Shells and what they start.
    place("shell_profiles", "T1546.004", "/etc/inputrc", Lines(lines::key_macros)),
    place("shell_profiles", "T1546.004", "~/.inputrc", Lines(lines::key_macros)),
    place("shell_profiles", "T1546.004", "/etc/fish/functions/*.fish", Loaded),
    place("shell_profiles", "T1546.004", "~/.config/fish/{functions,completions}/*.fish", Loaded),
    place("shell_profiles", "T1546.004", "/usr/share/fish/vendor_functions.d/*.fish", Loaded),
    place("shell_profiles", "T1546.004", "/usr/share/bash-completion/bash_completion", Loaded),
    place("shell_profiles", "T1546.013", "~/.config/powershell/*.ps1", Loaded),
    place("shell_profiles", "T1546.013", "/opt/microsoft/powershell/*/*rofile.ps1", Loaded),
    place("other", "T1546", "/etc/screenrc", Naming(SCREEN)),
    place("other", "T1546", "~/.screenrc", Naming(SCREEN)),
    place("other", "T1546", "/etc/tmux.conf", Naming(TMUX)),
    place("other", "T1546", "~/{.tmux.conf,.config/tmux/tmux.conf}", Naming(TMUX)),
    // Debuggers, readers, editors.
    place("other", "T1546", "/etc/gdb/{gdbinit,gdbearlyinit}", Naming(GDB)),
    place("other", "T1546", "/etc/gdb/gdbinit.d/*", Loaded),
    place("other", "T1546", "~/{.gdbinit,.gdbearlyinit,.config/gdb/gdbinit,.config/gdb/gdbearlyinit}", Naming(GDB)),
    place("other", "T1546", "/usr/share/gdb/auto-load/**", Foreign),
    place("other", "T1546", "~/.lldbinit", Naming(&["command", "script", "platform shell", "shell"])),
    place("other", "T1546", "/etc/{lesskey,syslesskey}", Naming(&["*lessopen", "*lessclose"])),
    place("other", "T1546", "~/{.lesskey,.config/lesskey}", Naming(&["*lessopen", "*lessclose"])),
    place("other", "T1546", "~/.lessfilter", Program),
    place("other", "T1546", "/etc/man_db.conf", Naming(&["define"])),
    place("other", "T1546", "~/.manpath", Naming(&["define"])),
    place("other", "T1546", "/etc/mailcap", Lines(lines::programs_elsewhere)),
    place("other", "T1546", "~/.mailcap", Lines(lines::every_line)),
    place("other", "T1546", "/usr/lib/mime/packages/*", Foreign),
    place("other", "T1546", "/etc/vim/{vimrc,gvimrc,vimrc.tiny}", Lines(lines::editor_commands)),
    place("other", "T1546", "~/{.exrc,.gvimrc,.vim/gvimrc}", Lines(lines::editor_commands)),
    place("other", "T1546", "~/.vim/{plugin,after/plugin,pack/*/start/*/plugin}/*.vim", Loaded),
    place("other", "T1546", "~/{.config/nvim,.local/share/nvim/site}/plugin/*", Loaded),
    place("other", "T1546", "/usr/share/vim/{vimfiles,vim*}/plugin/*", Foreign),
    place("other", "T1546", "/etc/emacs/{site-start.el,default.el,site-start.d/*.el}", Lines(lines::editor_commands)),
    place("other", "T1546", "/usr/{,local/}share/emacs/site-lisp/{site-start,default}.el", Lines(lines::editor_commands)),
    place(
        "other",
        "T1546",
        "~/{.emacs.el,.emacs.d/early-init.el,.config/emacs/init.el,.config/emacs/early-init.el}",
        Lines(lines::editor_commands),
    ),
    // Languages and package tools.
    place("other", PYTHON, "/usr/{,local/}lib{,64}/python*/{dist,site}-packages/{*.pth,.*.pth}", Lines(lines::python_lines)),
    place("other", PYTHON, "/usr/{,local/}lib{,64}/python*/{,dist-packages/,site-packages/}{site,user}customize{*,/*}", Loaded),
    place("other", PYTHON, "~/.local/lib/*/site-packages/{site,user}customize{*,/*}", Loaded),
    place("other", PYTHON, "~/.pyenv/versions/*/lib/*/site-packages/{*.pth,.*.pth}", Lines(lines::python_lines)),
    place("other", PYTHON, "~/.pyenv/versions/*/lib/*/{,site-packages/}{site,user}customize{*,/*}", Loaded),
    place(
        "other",
        PYTHON,
        "~/{*,.venv,*/venv,*/.venv,.local/share/pipx/venvs/*}/lib/python*/site-packages/{*.pth,.*.pth}",
        Lines(lines::python_lines),
    ),
    place("other", PYTHON, "~/{*,.venv,*/venv,*/.venv}/lib/python*/site-packages/{site,user}customize{*,/*}", Loaded),
    place(
        "other",
        PYTHON,
        "/{opt,srv}/{*,*/venv,*/.venv}/lib/python*/site-packages/{*.pth,.*.pth}",
        Lines(lines::python_lines),
    ),
    place("other", PYTHON, "/{opt,srv}/{*,*/venv,*/.venv}/lib/python*/site-packages/{site,user}customize{*,/*}", Loaded),
    place("other", PYTHON, "~/.ipython/profile_*/startup/*", Loaded),
    place("other", PYTHON, "~/.ipython/profile_*/ipython*_config.py", Naming(&["*exec_lines", "*exec_files", "*extensions"])),
    place(
        "other",
        PYTHON,
        "~/.jupyter/*_config.py",
        Naming(&["*exec_lines", "*exec_files", "*contents_manager_class", "import", "*os.system"]),
    ),
    place("other", "T1546", "/etc/R/Rprofile.site", Loaded),
    place("other", "T1546", "~/{.Rprofile,.irbrc,.pryrc,.perldb,.octaverc}", Loaded),
    place("other", "T1546", "~/{.sqliterc,.psqlrc}", Naming(&[".shell", ".system", ".load", "\\!"])),
    place("other", "T1546", "/{etc,usr/etc}/npmrc", Naming(NPM)),
    place("other", "T1546", "~/.npmrc", Naming(NPM)),
    place(
        "other",
        "T1546",
        "~/.cargo/{config,config.toml}",
        Naming(&["rustc", "rustc-wrapper", "rustc-workspace-wrapper", "runner", "linker"]),
    ),
    place("package_hooks", "T1546.016", "~/.dpkg.cfg", Lines(lines::dpkg_hooks)),
    place("package_hooks", "T1546.016", "/usr/lib/apt/{methods,solvers,planners}/*", Program),
    place("package_hooks", "T1546.016", "/usr/lib/kernel/*/*", Program),
    place("package_hooks", "T1546.016", "/usr/lib/dracut/modules.d/*/*", Foreign),
    // Desktops.
    place("init", "T1547.013", "/etc/{sddm.conf,sddm.conf.d/*}", Naming(SDDM)),
    place("init", "T1547.013", "/usr/lib/sddm/sddm.conf.d/*", Naming(SDDM)),
    place("init", "T1547.013", "/usr/share/sddm/scripts/*", Program),
    place("init", "T1547.013", "/etc/X11/default-display-manager", Lines(lines::programs_elsewhere)),
    place("init", "T1547.013", "/etc/X11/{Xreset,Xreset.d/*}", Loaded),
    place("init", "T1547.013", "/etc/X11/xdm/*", Runnable),
    place(
        "startup_folders",
        "T1547.013",
        "/{usr/share,usr/local/share,etc/X11}/{xsessions,wayland-sessions}/*.desktop",
        Naming(&["exec"]),
    ),
    place("startup_folders", "T1547.013", "/usr/share/{gnome/autostart,gdm/greeter/autostart}/*.desktop", Naming(&["exec"])),
    place("startup_folders", "T1547.013", "/etc/xdg/plasma-workspace/{env,shutdown}/*", Loaded),
    place("startup_folders", "T1547.013", "~/.config/plasma-workspace/{env,shutdown}/*", Loaded),
    place("startup_folders", "T1547.013", "~/{.kde,.kde4}/{Autostart,env,shutdown}/*", Loaded),
    place("startup_folders", "T1547.013", "/etc/{i3,sway,xdg/i3,xdg/sway}/{config,config.d/*}", Naming(WINDOWS)),
    place("startup_folders", "T1547.013", "~/{.i3,.config/i3,.config/sway}/config", Naming(WINDOWS)),
    place("startup_folders", "T1547.013", "~/.config/hypr/hyprland.conf", Naming(WINDOWS)),
    place(
        "startup_folders",
        "T1547.013",
        "~/.config/{bspwm/bspwmrc,openbox/autostart,openbox/environment,awesome/rc.lua,qtile/config.py}",
        Loaded,
    ),
    place("startup_folders", "T1547.013", "~/{.fluxbox/startup,.icewm/startup,.xmonad/xmonad.hs,.dwm/autostart.sh}", Loaded),
];

const SERVER: &[&str] = &["sshd_opts", "options", "dropbear_extra_args", "dropbear_args"];
const SCREEN: &[&str] = &["exec", "shell", "screen", "backtick", "source", "eval"];
const TMUX: &[&str] = &[
    "*run-shell",
    "*run",
    "*if-shell",
    "*if",
    "*default-command",
    "*default-shell",
    "*set-hook",
    "*source-file",
    "*source",
    "*pipe-pane",
    "*popup",
    "*#(",
];
const GDB: &[&str] =
    &["shell", "!", "pipe", "|", "python", "py", "guile", "source", "add-auto-load-safe-path", "set auto-load safe-path"];
const NPM: &[&str] = &["script-shell", "shell", "git", "editor", "viewer", "node-options", "init-module", "onload-script"];
const SDDM: &[&str] = &[
    "displaycommand",
    "displaystopcommand",
    "sessioncommand",
    "compositorcommand",
    "haltcommand",
    "rebootcommand",
    "serverpath",
    "xauthpath",
];
const WINDOWS: &[&str] = &["exec", "exec_always", "exec-once", "status_command", "swaybar_command"];
