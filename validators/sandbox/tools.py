"""The commands a sandbox ought to have, and the Debian package each one comes from.

docker-run builds its image from those the host has; both backends name the package when one is missing, because a
missing tool is the sandbox's failure and never the plan's. Shell builtins are not listed: bash brings them.
"""

from __future__ import annotations

PACKAGES = {
    "bash": "bash",
    "coreutils": (
        "[ arch b2sum base32 base64 basename cat chgrp chmod chown cksum comm cp csplit cut date dd df dir dirname du "
        "echo env expand expr factor false fmt fold groups head id install join link ln logname ls md5sum mkdir mkfifo "
        "mktemp mv nice nl nohup nproc numfmt od paste pathchk pr printenv printf ptx pwd readlink realpath rm rmdir "
        "seq sha1sum sha224sum sha256sum sha384sum sha512sum shred shuf sleep sort split stat stdbuf stty sum sync tac "
        "tail tee test timeout touch tr true truncate tsort tty uname unexpand uniq unlink vdir wc who whoami yes"
    ),
    "dash": "sh",
    "grep": "grep egrep fgrep",
    "sed": "sed",
    "mawk": "awk",
    "findutils": "find xargs",
    "tar": "tar",
    "gzip": "gzip gunzip zcat zgrep",
    "bzip2": "bzip2 bunzip2 bzcat",
    "xz-utils": "xz unxz xzcat",
    "zip": "zip",
    "unzip": "unzip",
    "git": "git",
    "diffutils": "diff cmp diff3 sdiff",
    "patch": "patch",
    "file": "file",
    "hostname": "hostname",
    "procps": "ps pgrep pkill free uptime top watch",
    "psmisc": "killall fuser",
    "util-linux": (
        "kill getopt rev flock setsid lscpu hexdump column look renice ionice taskset prlimit more findmnt mountpoint "
        "su unshare nsenter"
    ),
    "mount": "mount umount",
    "bsdextrautils": "column hexdump look",
    "ncal": "cal",
    "libc-bin": "getconf getent iconv locale",
    "iproute2": "ip ss",
    "iputils-ping": "ping",
    "netcat-openbsd": "nc",
    "curl": "curl",
    "wget": "wget",
    "jq": "jq",
    "bc": "bc",
    "perl-base": "perl",
    "python3": "python3",
    "cron": "crontab",
    "tree": "tree",
    "less": "less",
    "openssl": "openssl",
    "xxd": "xxd",
}
"""Debian package -> its commands, as far as plans use them."""

TOOLS = {command: package for package, commands in PACKAGES.items() for command in commands.split()}
"""Command -> Debian package."""


def advice(names: str) -> str:
    """Says what to install for missing commands given as a list with spaces."""
    packages = sorted({TOOLS.get(name, name) for name in names.split()})
    return f"apt-get install {' '.join(packages)}"
