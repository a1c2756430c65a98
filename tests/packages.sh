#!/bin/sh
# Installs the Debian packages of programs that are missing, or says what is skipped without them.
#   sh tests/packages.sh test|bench|venv
# It never fails: tests that miss a program skip, and say so too.
set -u

case "${1:-}" in
test) wanted='
strace      strace            what a warm door asks of the kernel
telnet      inetutils-telnet  the door by telnet
nc          netcat-openbsd    the door by nc
ncat        ncat              the door by ncat, in the clear and in TLS
socat       socat             the door by socat
busybox     busybox           the door by the smallest clients
curl        curl              the door by http and https
openssl     openssl           the door by TLS, and certificates
ssh-keygen  openssh-client    keys, and an ssh client at the door
plink       putty-tools       the door by PuTTY
chromium    chromium          the door in a browser
groff       groff-base        the manual page as man(1) shows it
nft         nftables          the door behind a firewall
ip          iproute2          the door in a network of its own, and ip and ss beside it
ps          procps            ps, free and uptime beside the door
mount       mount             file systems that tests make
' ;;
bench) wanted='
cc          build-essential   everything: the measuring client is a C program
dropbear    dropbear-bin      dropbear, as a peer
sshd        openssh-server    OpenSSH, as a peer
ssh         openssh-client    commands over ssh
ps          procps            ps and top, as peers of triage
' ;;
venv) wanted='
ensurepip   python3-venv      an environment of its own
' ;;
*)
    echo "usage: sh tests/packages.sh test|bench|venv" >&2
    exit 2
    ;;
esac

PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# missing: the rows whose program is not there.
missing() {
    printf '%s' "$wanted" | while read -r program package what; do
        [ -n "$program" ] && ! command -v "$program" >/dev/null && echo "$program $package $what"
    done
    return 0
}

# may_install PACKAGE: whether it may be put onto this machine.
may_install() {
    # Where systemd runs, Debian's package would start a server that listens to the world.
    [ "$1" != openssh-server ] || [ ! -d /run/systemd/system ]
}

# apt: quiet, without questions, and without waiting for ever where there is no network.
apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::http::Timeout=20 \
        -o Acquire::https::Timeout=20 -o DPkg::Lock::Timeout=60 "$@" </dev/null >/dev/null 2>&1
}

install() {
    apt install -y --no-install-recommends "$@"
}

packages=$(missing | while read -r _ package _; do may_install "$package" && echo "$package"; done)

if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing:" $packages
    apt update
    # One that is not to be had is no reason to go without the others.
    install $packages || for package in $packages; do install "$package"; done
fi

missing | while read -r program package what; do
    echo "skipped, for want of $program (Debian: $package): $what"
done
exit 0
