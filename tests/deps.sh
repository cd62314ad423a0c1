#!/bin/sh
# Makes sure that the Debian packages for some of the Makefile's verbs are there.
#
#   tests/deps.sh build|demo|check|lint ...
#
# Nothing is missing: no output, status 0, a few milliseconds.  Otherwise root gets them installed, and anyone else (or
# NO_INSTALL=1) the one line that does it, and status 2.  On a system without dpkg nothing is checked: the build then
# names what it does not find.  Plain sh: on a bare Debian there is neither a compiler nor Python yet.
set -eu

# One list per verb; a package goes into the first list that needs it.  libc6-dev, g++ and binutils come with gcc or
# build-essential on most machines, but not on every one.
build='gcc g++ binutils libc6-dev make pkg-config libzstd-dev libjansson-dev libssl-dev libsodium-dev libxxhash-dev
  libdw-dev libsqlite3-dev'
demo='libnss3-tools openssl zstd'
check='softhsm2 firefox-esr gnutls-bin openssh-client libengine-pkcs11-openssl python3 python3-pytest
  python3-pytest-timeout python3-junitparser python3-jsonschema python3-zstandard python3-xxhash python3-cryptography
  libnss3-dev libnspr4-dev libp11-kit-dev p11-kit p11-kit-modules opensc opensc-pkcs11 clang libclang-rt-dev
  valgrind gdb strace e2fsprogs btrfs-progs mount procps
  openjdk-17-jre-headless thunderbird chromium xvfb xdotool'
lint='clang clang-format'

wanted=
for verb; do
  case $verb in
    build) wanted="$wanted $build" ;;
    demo) wanted="$wanted $demo" ;;
    check) wanted="$wanted $check" ;;
    lint) wanted="$wanted $lint" ;;
    *) echo "usage: $0 build|demo|check|lint ..." >&2; exit 2 ;;
  esac
done

command -v dpkg-query >/dev/null 2>&1 || exit 0

# dpkg-query names only the packages that it knows; what is not in its answer as installed is missing.
# shellcheck disable=SC2016,SC2086  # dpkg-query expands the format; the list is meant to be split
have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null | sed -n 's/^installed //p' | tr '\n' ' ')
missing=
for package in $wanted; do
  case " $have $missing " in
    *" $package "*) ;;
    *) missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || [ "${NO_INSTALL:-0}" = 1 ]; then
  echo "packages are missing; install them with" >&2
  echo "  apt-get install$missing"
  exit 2
fi

echo "installing missing packages:$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
  # shellcheck disable=SC2086
  apt-get install -y -q --no-install-recommends $missing >"$log" 2>&1
}
# The lists of a machine are often empty or old: refresh them only if the first try fails.
if ! install; then
  apt-get update -q >"$log" 2>&1 && install || {
    cat "$log" >&2
    echo "apt-get could not install:$missing" >&2
    exit 2
  }
fi
