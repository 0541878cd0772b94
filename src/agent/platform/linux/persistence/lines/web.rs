//! What web servers are told to run or to load: Apache, nginx, lighttpd, PHP.

use super::{Told, directive, each, naming};

/// Code that PHP runs before every page, or loads from elsewhere.
#[must_use]
pub fn php_settings(text: &str) -> Told {
    each(text, |line| {
        let bare = line.strip_prefix("php_value").or(line.strip_prefix("php_admin_value")).unwrap_or(line).trim_start();
        let (key, value) = bare.split_once(['=', ' '])?;
        // A pool has its keys in brackets.
        let key = key.trim().trim_start_matches('[').trim_end_matches(']');
        let value = value.trim_start_matches([' ', '\t', '=']).trim().trim_matches('"');
        let runs = matches!(key, "auto_prepend_file" | "auto_append_file") && !value.is_empty() && value != "none";
        let loads =
            matches!(key, "extension" | "zend_extension") && value.starts_with('/') && !value.starts_with("/usr/lib/php/");
        (runs || loads).then(|| line.to_owned())
    })
}

/// Directives by which a server runs programs or code of its visitors' requests, or of every page.
const RUN: [&str; 31] = [
    "scriptalias",
    "scriptaliasmatch",
    "action",
    "extfilterdefine",
    "sslpassphrasedialog",
    "perlrequire",
    "perlmodule",
    "luahookaccesschecker",
    "luahookauthchecker",
    "luahookfixups",
    "luahookmaptostorage",
    "luahooktranslatename",
    "luahandler",
    "luamaphandler",
    "*prg:",
    "*\"|",
    "*'|",
    "*_by_lua",
    "*_by_lua_block",
    "*_by_lua_file",
    "*perl_set",
    "*perl_require",
    "*perl_modules",
    "*js_import",
    "*js_include",
    "*exec_push",
    "include_shell",
    "*bin-path",
    "cgi.assign",
    "*auto_prepend_file",
    "*auto_append_file",
];

/// The same, and modules that a server loads from another place than its own.
#[must_use]
pub fn server_commands(text: &str) -> Told {
    let mut told = naming(text, &RUN);
    told.extend(modules_elsewhere(text));
    told.sort_by_key(|(number, _)| *number);
    told.dedup();
    told
}

/// Modules that a server loads from another place than its own.
fn modules_elsewhere(text: &str) -> Told {
    const OWN: [&str; 7] = [
        "/usr/lib/apache2/modules/",
        "/usr/lib/httpd/modules/",
        "/usr/lib64/httpd/modules/",
        "/usr/lib/nginx/modules/",
        "/usr/share/nginx/modules/",
        "/usr/lib64/nginx/modules/",
        "modules/",
    ];
    each(text, |line| {
        let (key, value) = directive(line)?;
        let file = value.trim_end_matches(';').split_whitespace().last()?.trim_matches(['"', '\'']);
        let own = !file.contains("..") && OWN.iter().any(|folder| file.starts_with(folder));
        (matches!(key.as_str(), "loadmodule" | "load_module" | "loadfile") && !own).then(|| line.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::platform::linux::persistence::lines::tests::check;

    #[test]
    fn what_servers_run_or_load_is_told() {
        check(
            php_settings,
            "auto_prepend_file =\nauto_prepend_file = \"/tmp/x.php\"\nphp_value auto_append_file /y",
            &[(2, "auto_prepend_file = \"/tmp/x.php\""), (3, "php_value auto_append_file /y")],
        );
        check(
            php_settings,
            "php_admin_value[auto_prepend_file] = /tmp/x.php\n;php_value[auto_prepend_file] = /y\nextension=curl",
            &[(1, "php_admin_value[auto_prepend_file] = /tmp/x.php")],
        );
        check(
            server_commands,
            "LoadModule a /usr/lib/apache2/modules/a.so\nLoadModule b /tmp/b.so\nload_module \"/tmp/c.so\";",
            &[(2, "LoadModule b /tmp/b.so"), (3, "load_module \"/tmp/c.so\";")],
        );
        check(
            server_commands,
            "CustomLog \"|/tmp/x\" common\nCustomLog /var/log/x common\nScriptAlias /x /tmp/y\nlocation / { content_by_lua_block { z } }\n access_log /x;\nRewriteMap a prg:/tmp/z",
            &[
                (1, "CustomLog \"|/tmp/x\" common"),
                (3, "ScriptAlias /x /tmp/y"),
                (4, "location / { content_by_lua_block { z } }"),
                (6, "RewriteMap a prg:/tmp/z"),
            ],
        );
    }
}
