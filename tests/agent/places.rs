//! The table of `persistence`'s places: one implant in each, and what daemons' settings say of it.

use serde_json::Value;

use super::persistence::{Tree, at};

/// What runs the implant, where it is told, and a word of what is told.
const PLANTED: &[(&str, &str, &str, &str)] = &[
    ("/etc/wireguard/wg0.conf", "[Interface]\nPrivateKey = x\nPostUp = /tmp/EVIL\n", ":3", "/tmp/EVIL"),
    ("/etc/openvpn/client.conf", "script-security 2\nup /tmp/EVIL\n", ":2", "/tmp/EVIL"),
    ("/etc/openvpn/update-e", "#!/bin/sh\n", "", ""),
    ("/etc/supervisor/conf.d/e.conf", "[program:e]\ncommand=/tmp/EVIL\n", ":2", "/tmp/EVIL"),
    ("/etc/supervisord.conf", "[program:e]\ncommand=/tmp/EVIL\n", ":2", "/tmp/EVIL"),
    ("/etc/monit/conf.d/e", "check program e with path /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/monit/monitrc", "check process e\n if failed then exec \"/tmp/EVIL\"\n", ":2", "/tmp/EVIL"),
    ("/etc/doas.conf", "permit nopass bob as root\n", ":1", "nopass"),
    (
        "/var/lib/docker/containers/abc/hostconfig.json",
        "{\"RestartPolicy\":{\"Name\":\"always\"},\"Binds\":[\"/:/host\"],\"Privileged\":true}",
        ":1",
        "/:/host privileged",
    ),
    ("/etc/docker/daemon.json", "{\"runtimes\":{\"r\":{\"path\":\"/tmp/EVIL\"}}}", ":1", "/tmp/EVIL"),
    ("/etc/containers/systemd/users/e.container", "[Container]\nImage=x\n", "", ""),
    ("/etc/containers/systemd/users/1500/e.container", "[Container]\nImage=x\n", "", ""),
    ("/home/bob/.config/containers/systemd/sub/e.container", "[Container]\nImage=x\n", "", ""),
    ("/etc/containers/oci/hooks.d/e.json", "{\"hook\":{\"path\":\"/tmp/EVIL\"}}", "", ""),
    ("/etc/cloud/cloud.cfg.d/99-e.cfg", "bootcmd:\n - /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/var/lib/cloud/scripts/per-boot/e.sh", "#!/bin/sh\n", "", ""),
    ("/etc/ansible/facts.d/e.fact", "#!/bin/sh\n", "", ""),
    ("/etc/facter/facts.d/e.sh", "#!/bin/sh\n", "", ""),
    ("/etc/php/8.2/fpm/pool.d/e.conf", "[www]\nphp_admin_value[auto_prepend_file] = /tmp/EVIL\n", ":2", "/tmp/EVIL"),
    ("/etc/apache2/envvars", "export X=1\n/tmp/EVIL &\n", ":2", "/tmp/EVIL"),
    ("/etc/apache2/sites-enabled/e.conf", "CustomLog \"|/tmp/EVIL\" common\n", ":1", "/tmp/EVIL"),
    ("/etc/apache2/apache2.conf", "LoadModule e /tmp/EVIL.so\n", ":1", "/tmp/EVIL"),
    ("/etc/nginx/conf.d/e.conf", "load_module /tmp/EVIL.so;\n", ":1", "/tmp/EVIL"),
    ("/etc/nginx/sites-enabled/e", "location / { content_by_lua_block { x(\"/tmp/EVIL\") } }\n", ":1", "/tmp/EVIL"),
    ("/etc/postgresql/15/main/postgresql.conf", "#archive_command = ''\narchive_command = '/tmp/EVIL'\n", ":2", "/tmp/EVIL"),
    ("/var/lib/postgresql/15/main/postgresql.auto.conf", "shared_preload_libraries = '/tmp/EVIL'\n", ":1", "/tmp/EVIL"),
    ("/etc/mysql/conf.d/e.cnf", "[mysqld]\nplugin-load-add=/tmp/EVIL.so\ninit-file=/x\n", ":2", "/tmp/EVIL"),
    ("/usr/lib/mysql/plugin/udf.so", "x", "", ""),
    ("/etc/krb5.conf", "[plugins]\n kdcpreauth = {\n module = e:/tmp/EVIL.so\n }\n", ":3", "/tmp/EVIL"),
    ("/etc/gss/mech.d/e.conf", "e 1.2.3 /tmp/EVIL.so\n", ":1", "/tmp/EVIL"),
    ("/usr/share/p11-kit/modules/e.module", "module: /tmp/EVIL.so\n", ":1", "/tmp/EVIL"),
    ("/usr/lib/x86_64-linux-gnu/sasl2/libe.so", "x", "", ""),
    ("/usr/lib/x86_64-linux-gnu/gio/modules/libe.so", "x", "", ""),
    ("/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.d/e.conf", "module E// INTERNAL /tmp/EVIL 1\n", ":1", "/tmp/EVIL"),
    ("/usr/lib/x86_64-linux-gnu/gconv/E.so", "x", "", ""),
    ("/etc/vulkan/implicit_layer.d/e.json", "{}", "", ""),
    ("/etc/dhcp/dhclient.conf", "script \"/tmp/EVIL\";\n", ":1", "/tmp/EVIL"),
    ("/etc/network/interfaces.d/e", "mapping eth0\n script /tmp/EVIL\n", ":2", "/tmp/EVIL"),
    ("/usr/lib/NetworkManager/dispatcher.d/pre-up.d/e", "#!/bin/sh\n", "", ""),
    ("/usr/lib/networkd-dispatcher/routable.d/e", "#!/bin/sh\n", "", ""),
    ("/etc/wpa_supplicant/functions.sh", "x", "", ""),
    ("/etc/X11/default-display-manager", "/tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/usr/share/xsessions/e.desktop", "[Desktop Entry]\nExec=/tmp/EVIL\n", ":2", "/tmp/EVIL"),
    ("/usr/share/wayland-sessions/e.desktop", "[Desktop Entry]\nExec=/tmp/EVIL\n", ":2", "/tmp/EVIL"),
    ("/usr/share/gnome/autostart/e.desktop", "[Desktop Entry]\nExec=/tmp/EVIL\n", ":2", "/tmp/EVIL"),
    ("/etc/sddm.conf", "[X11]\nDisplayCommand=/tmp/EVIL\n", ":2", "/tmp/EVIL"),
    ("/etc/xdg/plasma-workspace/env/e.sh", "x", "", ""),
    ("/home/bob/.config/plasma-workspace/shutdown/e.sh", "x", "", ""),
    ("/home/bob/.kde/Autostart/e.sh", "x", "", ""),
    ("/home/bob/.config/i3/config", "exec --no-startup-id /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/home/bob/.config/sway/config", "exec_always /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/home/bob/.config/fish/functions/fish_prompt.fish", "x", "", ""),
    ("/etc/fish/functions/e.fish", "x", "", ""),
    ("/home/bob/.config/powershell/profile.ps1", "x", "", ""),
    ("/home/bob/.inputrc", "\"\\r\": \"\\C-a/tmp/EVIL;\\C-e\\n\"\n", ":1", "/tmp/EVIL"),
    ("/home/bob/.mailcap", "text/html; /tmp/EVIL %s\n", ":1", "/tmp/EVIL"),
    ("/etc/mailcap", "text/html; /usr/bin/w3m %s\ntext/html; /tmp/EVIL %s\n", ":2", "/tmp/EVIL"),
    ("/home/bob/.screenrc", "exec /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/tmux.conf", "run-shell /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/home/bob/.config/tmux/tmux.conf", "set -g default-command /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/home/bob/.tmux.conf", "set-hook -g session-created \"run -b /tmp/EVIL\"\n", ":1", "/tmp/EVIL"),
    ("/home/bob/.gdbinit", "shell /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/home/bob/.config/gdb/gdbinit", "shell /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/gdb/gdbinit.d/e.gdb", "x", "", ""),
    ("/usr/share/gdb/auto-load/usr/bin/e-gdb.py", "x", "", ""),
    ("/home/bob/.config/lesskey", "#env\nLESSOPEN=|/tmp/EVIL %s\n", ":2", "/tmp/EVIL"),
    ("/home/bob/.lessfilter", "x", "", ""),
    ("/etc/man_db.conf", "DEFINE pager /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/logrotate.d/e", "/var/log/x { compress\n compresscmd /tmp/EVIL\n}\n", ":2", "/tmp/EVIL"),
    ("/etc/syslog-ng/conf.d/e.conf", "destination d { program(\"/tmp/EVIL\"); };\n", ":1", "/tmp/EVIL"),
    ("/etc/audisp/plugins.d/e.conf", "path=/tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/audit/auditd.conf", "space_left_action = exec /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/xinetd.conf", "service e { server = /tmp/EVIL\n}\n", ":1", "/tmp/EVIL"),
    ("/etc/snmp/snmpd.conf.d/e.conf", "extend e /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/zabbix/zabbix_agentd.d/e.conf", "UserParameter=e,/tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/nagios/nrpe.d/e.cfg", "command[e]=/tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/libvirt/hooks/qemu", "x", "", ""),
    ("/etc/samba/smb.conf", "[x]\nroot preexec = /tmp/EVIL\n", ":2", "/tmp/EVIL"),
    ("/etc/postfix/main.cf", "mailbox_command = /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/exim4/conf.d/transport/e", "e: driver = pipe\n command = /tmp/EVIL\n", ":2", "/tmp/EVIL"),
    ("/etc/dnsmasq.d/e", "dhcp-script=/tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/keepalived/keepalived.conf", "x { notify_master \"/tmp/EVIL\" }\n", ":1", "/tmp/EVIL"),
    ("/etc/ipsec.conf", "conn x\n leftupdown=/tmp/EVIL\n", ":2", "/tmp/EVIL"),
    ("/etc/nut/upsmon.conf", "NOTIFYCMD /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/apcupsd/apccontrol", "x", "", ""),
    ("/etc/qemu/fsfreeze-hook.d/e", "x", "", ""),
    ("/etc/vmware-tools/scripts/poweron-vm-default.d/e", "x", "", ""),
    ("/etc/lxc/default.conf", "lxc.hook.pre-start = /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/fstab", "/tmp/EVIL.img /mnt auto suid 0 0\n", ":1", "/tmp/EVIL"),
    ("/boot/loader/entries/e.conf", "options init=/tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/usr/lib/dracut/modules.d/99e/module-setup.sh", "x", "", ""),
    ("/usr/lib/kernel/install.d/99-e.install", "x", "", ""),
    ("/usr/lib/apt/methods/e", "x", "", ""),
    ("/home/bob/.dpkg.cfg", "post-invoke=\"/tmp/EVIL\"\n", ":1", "/tmp/EVIL"),
    ("/home/bob/.npmrc", "script-shell=/tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/home/bob/.ipython/profile_default/startup/e.py", "x", "", ""),
    ("/home/bob/.pyenv/versions/3.9/lib/python3.9/site-packages/e.pth", "import os\n", ":1", "import os"),
    ("/home/bob/app/.venv/lib/python3.11/site-packages/e.pth", "import os\n", ":1", "import os"),
    ("/usr/lib/python3.11/site-packages/e.pth", "import os\n", ":1", "import os"),
    ("/usr/local/lib/python3.11/dist-packages/sitecustomize/__init__.py", "x", "", ""),
    ("/usr/lib/python3/dist-packages/sitecustomize.cpython-311-x86_64-linux-gnu.so", "x", "", ""),
    ("/usr/lib/python3/dist-packages/sitecustomize.pyc", "x", "", ""),
    ("/etc/vim/vimrc", "autocmd VimEnter * call system(\"/tmp/EVIL\")\n", ":1", "/tmp/EVIL"),
    ("/home/bob/.vim/after/plugin/e.vim", "x", "", ""),
    ("/home/bob/.exrc", ":!/tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/home/bob/.config/emacs/init.el", "(shell-command \"/tmp/EVIL\")\n", ":1", "/tmp/EVIL"),
    ("/etc/emacs/site-start.d/50e.el", "(shell-command \"/tmp/EVIL\")\n", ":1", "/tmp/EVIL"),
    ("/etc/dropbear/authorized_keys", "ssh-rsa AAAA evil\n", ":1", "ssh-rsa evil"),
    ("/etc/dropbear/initramfs/authorized_keys", "ssh-rsa AAAA evil\n", ":1", "ssh-rsa evil"),
    ("/etc/default/ssh", "SSHD_OPTS=\"-o AuthorizedKeysCommand=/tmp/EVIL\"\n", ":1", "/tmp/EVIL"),
    ("/etc/ssh/ssh_config.d/e.conf", "Host *\n RemoteCommand /tmp/EVIL\n", ":2", "/tmp/EVIL"),
    ("/var/lib/extensions/e/usr/lib/systemd/system/e.service", "[Service]\n", "", ""),
    ("/etc/systemd/nspawn/e.nspawn", "[Exec]\n", "", ""),
    ("/usr/lib/systemd/system-preset/00-e.preset", "enable e.service\n", "", ""),
    ("/etc/tmpfiles.d/e1.conf", "w+ /sys/kernel/uevent_helper - - - - /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/tmpfiles.d/e2.conf", "L+ /run/systemd/system/e.service - - - - /tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/sv/e/log/run", "x", "", ""),
    ("/etc/runit/runsvdir/default/e/run", "x", "", ""),
    ("/etc/s6/e/run", "x", "", ""),
    ("/etc/X11/Xreset.d/e", "x", "", ""),
    ("/usr/lib/cups/filter/e", "x", "", ""),
    (
        "/etc/rsyslog.d/e.conf",
        "input(type=\"improg\" binary = \"/tmp/EVIL\")\ninclude(file=\"/opt/e.rs\")\n",
        ":1",
        "/tmp/EVIL",
    ),
    ("/opt/e.rs", "$ModLoad /tmp/EVIL.so\n", ":1", "/tmp/EVIL"),
    ("/etc/apt/apt.conf.d/e", "DPkg::Options:: \"--post-invoke=/tmp/EVIL\";\n", ":1", "/tmp/EVIL"),
    ("/etc/sudoers.d/e", "Defaults mailerpath=/tmp/EVIL\n", ":1", "/tmp/EVIL"),
    ("/etc/pam.d/e", "auth sufficient pam_succeed_if.so uid >= 0\n", ":1", "uid >= 0"),
    ("/etc/group", "sudo:x:27:bob\n", ":1", "bob in the group sudo"),
    ("/etc/userdb/ev.user", "{\"userName\":\"ev\",\"uid\":0}", "", ""),
    ("/var/lib/extrausers/passwd", "ex:x:0:0::/:/bin/sh\n", ":1", "ex is user 0"),
    ("/var/lib/systemd/linger/bob", "", "", ""),
];

#[test]
fn an_implant_in_every_place_is_found() {
    let tree = Tree::new();
    for (path, text, _, _) in PLANTED {
        tree.write(path, text);
    }
    let found = tree.entries();
    let missing: Vec<_> = PLANTED
        .iter()
        .filter(|(path, _, line, runs)| {
            let of = |entry: &&Value| entry["runs"].as_str().unwrap_or_default().contains(runs) && entry["shipped"] == false;
            !at(&found, &format!("{path}{line}")).iter().any(of)
        })
        .collect();
    assert!(missing.is_empty(), "{missing:#?}\nare not in\n{found:#?}");
}

/// Settings as packages bring them or everybody has them, of which nothing is told.
const USUAL: &[(&str, &str)] = &[
    ("/etc/wireguard/wg0.conf", "[Interface]\nAddress = 10.0.0.1\n# PostUp = /x\n"),
    ("/etc/postgresql/15/main/postgresql.conf", "#archive_command = ''\t\t# x\nshared_preload_libraries = ''\n"),
    ("/etc/samba/smb.conf", "[global]\n   panic action = /usr/share/samba/panic-action %d\n;   add user script = /x\n"),
    ("/etc/postfix/main.cf", "alias_maps = hash:/etc/aliases\nmailbox_command =\nmailbox_size_limit = 0\n"),
    ("/etc/default/ssh", "# options\nSSHD_OPTS=\n"),
    ("/etc/cloud/cloud.cfg", "cloud_init_modules:\n - bootcmd\n - write-files\n - runcmd\n"),
    ("/etc/mysql/my.cnf", "[client-server]\nsocket = /run/mysqld/mysqld.sock\n!includedir /etc/mysql/conf.d/\n"),
    ("/etc/nginx/sites-enabled/default", "server {\n root /var/www/html;\n access_log /var/log/nginx/x.log;\n}\n"),
    (
        "/etc/apache2/sites-enabled/a.conf",
        "ErrorLog ${APACHE_LOG_DIR}/error.log\nCustomLog ${APACHE_LOG_DIR}/access.log combined\n",
    ),
    ("/etc/mailcap", "text/plain; less '%s'; needsterminal\ntext/html; /usr/bin/w3m -T text/html '%s'\n"),
    ("/etc/X11/default-display-manager", "/usr/sbin/lightdm\n"),
    ("/etc/inputrc", "set input-meta on\n$if mode=emacs\n\"\\e[1~\": beginning-of-line\n$endif\n"),
    ("/etc/group", "root:x:0:\nsudo:x:27:\nadm:x:4:syslog\nshadow:x:42:\n"),
    ("/etc/fstab", "UUID=1 / ext4 errors=remount-ro 0 1\n/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\n"),
    ("/etc/audit/auditd.conf", "space_left_action = SYSLOG\ndisk_full_action = SUSPEND\n"),
    ("/etc/man_db.conf", "MANDATORY_MANPATH /usr/man\n#DEFINE pager pager\n"),
    ("/etc/rsyslog.conf", "module(load=\"imuxsock\")\n$IncludeConfig /etc/rsyslog.d/*.conf\n*.* -/var/log/syslog\n"),
    ("/opt/app/venv/lib/python3.11/site-packages/_virtualenv.pth", "import _virtualenv"),
    ("/var/lib/docker/containers/abc/hostconfig.json", "{\"RestartPolicy\":{\"Name\":\"no\"}}"),
    ("/etc/redis/redis.conf", "# loadmodule /x\nport 0\n"),
];

#[test]
fn what_everybody_has_is_no_noise() {
    let tree = Tree::new();
    for (path, text) in USUAL {
        tree.write(path, text);
        tree.mode(path, 0o644);
    }
    let found = tree.entries();
    let told = found.iter().filter(|entry| USUAL.iter().any(|(path, _)| entry["location"].as_str().unwrap().starts_with(path)));
    let told: Vec<&Value> = told.collect();
    assert!(told.is_empty(), "{told:#?}");
}

#[test]
fn a_user_of_the_system_with_a_password_is_told() {
    let tree = Tree::new();
    tree.write(
        "/etc/passwd",
        "root:x:0:0::/root:/bin/sh\ngames:x:5:60::/usr/games:/bin/bash\nbob:x:1001:1001::/home/bob:/bin/sh\nmail:x:8:8::/:/usr/sbin/nologin\npostgres:x:101:101::/:/bin/bash\n",
    );
    tree.write("/etc/shadow", "root:$6$x$y:1::\ngames:$6$x$y:1::\nbob:$6$x$y:1::\nmail:$6$x$y:1::\npostgres:*:1::\n");
    let found = tree.entries();
    let told = found.iter().filter(|entry| entry["location"].as_str().unwrap().starts_with("/etc/shadow"));
    let told: Vec<&Value> = told.map(|entry| &entry["runs"]).collect();
    assert_eq!(told, ["games of the system has a password and a shell (/bin/bash)"]);
}

#[test]
fn scripts_are_found_wherever_a_server_serves_them() {
    let tree = Tree::new();
    let shell = "<?php eval($_POST[1]);";
    let files = [
        "/srv/app/a.php",
        "/opt/app/public/b.php",
        "/home/bob/app/c.php",
        "/usr/share/phpmyadmin/d.php",
        "/var/lib/wordpress/e.php",
        "/var/www/html/logo.png",
        "/var/www/html/sub/logo.png",
        "/data/site/cgi/f.sh",
    ];
    for file in files {
        tree.write(file, if file.ends_with("sh") { "eval \"$QUERY_STRING\"; system(" } else { shell });
    }
    tree.write("/var/www/html/.htaccess", "AddType application/x-httpd-php .png\n");
    tree.write("/etc/nginx/sites-enabled/x", "server {\n root /data/site;\n}\n");
    tree.write("/opt/app/public/plain.php", "<?php echo 1;");
    tree.write("/opt/pictures/logo.png", shell);
    let found = tree.entries();
    let mut told: Vec<&str> = found
        .iter()
        .filter(|entry| entry["technique"] == "T1505.003")
        .map(|entry| entry["location"].as_str().unwrap())
        .collect();
    told.sort_unstable();
    let mut expected = files.to_vec();
    expected.push("/var/www/html/.htaccess");
    expected.sort_unstable();
    assert_eq!(told, expected);
}
