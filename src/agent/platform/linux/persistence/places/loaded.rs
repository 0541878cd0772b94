//! Plug-ins that packaged programs load: those that no package brought, and settings that name others.

use super::How::{Foreign, Lines, Loaded, Naming};
use super::{Place, place};
use crate::agent::platform::linux::persistence::lines;

pub(super) const PLACES: &[Place] = &[
    place("preload", "T1574", "/usr/lib/*/gconv/{gconv-modules,gconv-modules.d/*}", Lines(lines::converter_modules)),
    place("preload", "T1574", "/usr/lib/*/gconv/{*.so,gconv-modules.d/*}", Foreign),
    place("preload", "T1574", "/etc/gss/{mech,mech.d/*}", Lines(lines::every_line)),
    place("preload", "T1574", "/{etc/pkcs11,usr/share/p11-kit}/modules/*", Naming(MODULE)),
    place("preload", "T1574", "~/.config/pkcs11/modules/*", Naming(MODULE)),
    place("preload", "T1574", "/etc/{krb5.conf,krb5.conf.d/*}", Naming(&["module", "plugin_base_dir"])),
    place("preload", "T1574", "/etc/sasl2/*", Naming(&["saslauthd_path", "authdaemond_path"])),
    place("preload", "T1574", "/usr/lib/{sasl2,*/sasl2,*/gio/modules,*/gss,*/krb5/plugins/*}/*.so*", Foreign),
    place("preload", "T1574", "/usr/lib/*/{engines-*,ossl-modules,rsyslog,NetworkManager/*,pkcs11}/*.so", Foreign),
    place("preload", "T1574", "/usr/{lib,libexec}/sudo/*", Foreign),
    place(
        "preload",
        "T1574",
        "/usr/lib/{apache2/modules,nginx/modules,mysql/plugin,postgresql/*/lib,php/*,pppd/*}/*.so",
        Foreign,
    ),
    place("preload", "T1574", "/usr/lib/cups/{filter,driver,cgi-bin,notifier,daemon}/*", Foreign),
    place("preload", "T1574", "/{etc,usr/share,usr/local/share}/vulkan/{implicit_layer,explicit_layer,icd}.d/*", Foreign),
    place("preload", "T1574", "~/.local/share/vulkan/{implicit_layer,explicit_layer,icd}.d/*", Loaded),
    place("preload", "T1574", "/{etc,usr/share}/glvnd/egl_vendor.d/*", Foreign),
    place("preload", "T1574", "/etc/OpenCL/vendors/*", Foreign),
];

const MODULE: &[&str] = &["module", "remote"];
