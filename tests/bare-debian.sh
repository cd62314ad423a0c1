#!/bin/bash
# Proves that a fresh clone works on a Debian on which nothing is installed but make and git.
#
#   tests/bare-debian.sh [--demo-only] [--all-only] [--keep] [--suite NAME]
#
# Makes a bare Debian with mmdebstrap in a temporary folder, clones the repository (HEAD, not the working tree) into it,
# runs `make demo` and `make check` in the chroot and prints each one's status, time and last lines.  Needs root and
# mmdebstrap, which tests/deps.sh does not install: no other test needs it.  --all-only stops after `make deps all`.
# The packages come from where this machine gets its own: its sources and its apt configuration are copied.
set -euo pipefail

suite=bookworm keep=0 verbs='demo check'
while [ $# -gt 0 ]; do
  case $1 in
    --demo-only) verbs=demo ;;
    --all-only) verbs='deps all' ;;
    --keep) keep=1 ;;
    --suite) suite=$2; shift ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift
done

[ "$(id -u)" = 0 ] || { echo "$0: needs root (chroot, mounts)" >&2; exit 2; }
command -v mmdebstrap >/dev/null || { echo "$0: install mmdebstrap first" >&2; exit 2; }

# In a mount namespace of our own nothing that we mount can be seen by, or left behind for, anybody else: the mounts go
# when the last process of the namespace ends, even if that is by SIGKILL.
if [ -z "${BARE_DEBIAN_NS:-}" ]; then
  args=()
  [ "$verbs" = demo ] && args+=(--demo-only)
  [ "$verbs" = 'deps all' ] && args+=(--all-only)
  [ $keep = 1 ] && args+=(--keep)
  exec env BARE_DEBIAN_NS=1 unshare --mount --propagation private "$0" "${args[@]}" --suite "$suite"
fi

source=$(cd "$(dirname "$0")/.." && pwd)
base=$(mktemp -d "${TMPDIR:-/tmp}/bare-debian.XXXXXX")
chmod 755 "$base"
root=$base/root

cleanup() {
  local status=$?
  trap - EXIT
  # Innermost first; whatever does not let go must not have its files removed through the mount.
  awk -v below="$root/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r m; do
    umount "$m" 2>/dev/null || umount -l "$m"
  done
  if grep -q " $root/" /proc/self/mountinfo; then
    echo "something is still mounted below $root: left as it is" >&2
  elif [ $keep = 1 ]; then
    echo "kept: $root (chroot into it after mounting proc, dev, dev/pts, dev/shm and sys)"
  else
    rm -rf --one-file-system "$base"
  fi
  exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

seconds() { date +%s; }
began=$(seconds)

# mmdebstrap takes this machine's sources; without any it has a default of its own.
sources=()
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
  [ -s "$f" ] && grep -q "$suite" "$f" && sources+=("$f")
done
aptopts=()
for f in /etc/apt/apt.conf /etc/apt/apt.conf.d/*; do
  # Hooks and helpers of this machine may name programs that the bare system has not.
  [ -f "$f" ] && ! grep -qE 'Pre-Install-Pkgs|Post-Invoke|Pre-Invoke' "$f" && aptopts+=("$f")
done
mmdebstrap --quiet --variant=apt --include=make,git "${aptopts[@]/#/--aptopt=}" "$suite" "$root" "${sources[@]}"
for f in "${aptopts[@]}"; do install -D -m 644 "$f" "$root$f"; done
for f in /etc/apt/keyrings /usr/local/share/ca-certificates /etc/ssl/certs/ca-certificates.crt; do
  [ -e "$f" ] && mkdir -p "$root${f%/*}" && cp -a "$f" "$root${f%/*}/"
done
[ -e /etc/resolv.conf ] && cp --remove-destination "$(readlink -f /etc/resolv.conf)" "$root/etc/resolv.conf"
cp --remove-destination /etc/hosts "$root/etc/hosts"

mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --bind /dev "$root/dev" # with its loop devices
mount --bind /dev/pts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # no services in a chroot
chmod 755 "$root/usr/sbin/policy-rc.d"

git clone --quiet --no-hardlinks "$source" "$root/src"
echo "bare $suite: $(chroot "$root" dpkg-query -W | wc -l) packages, $(($(seconds) - began)) s; commit" \
  "$(git -C "$root/src" log -1 --format='%h %s')"

failed=0
for verb in $verbs; do
  began=$(seconds)
  status=0
  # A login-like environment: nothing of this machine's but a proxy.
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} ${no_proxy:+no_proxy="$no_proxy"} \
    chroot "$root" make -C /src "$verb" >"$base/$verb.log" 2>&1 </dev/null || status=$?
  echo "make $verb: status $status, $(($(seconds) - began)) s"
  lines=3
  [ $status = 0 ] || lines=60 failed=1
  tail -n $lines "$base/$verb.log" | sed 's/^/  | /'
done
exit $failed
