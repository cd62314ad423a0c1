#!/bin/sh
# Firefox keeps asking for my PIN: why?  Starts a headless Firefox and a TLS server that asks for a client certificate, with
# the key on a token that does one thing wrong, and every PKCS #11 call traced.  Says for each scenario how often Firefox asked
# for the PIN, which pages came, and what `p11trace check` says first.
#
#   examples/firefox-login-state/run.sh [--out FOLDER] [SCENARIO...]
#
#   SCENARIO   healthy stale-state logout-after-sign removal wrong-pin cancel always-authenticate same-label; all without one
#   --out      where everything goes (./firefox-login-state): a folder per scenario, with traces/, check.txt and report.html
#
# The pages to look at are named at the end; with one scenario the life lines of the login come before (p11trace state).  Needs firefox-esr, libnss3-tools, openssl, python3, for
# always-authenticate also opensc, and a built checkout.  Nothing but FOLDER is changed.  Exit status: 0 played, 2 could not.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/stage.sh"

all='healthy stale-state logout-after-sign removal wrong-pin cancel always-authenticate same-label'
out=firefox-login-state
while [ $# -gt 0 ]; do
  case $1 in
    --out) [ $# -ge 2 ] || die '--out needs a folder'; out=$2; shift ;;
    --out=*) out=${1#--out=} ;;
    -h | --help) sed -n '2,/^set -u/s/^# \{0,1\}//p' "$0" | sed '$d'; exit 0 ;;
    -*) die "there is no option $1; --help tells which there are" ;;
    *) break ;;
  esac
  shift
done
for name in "$@"; do
  case " $all " in
    *" $name "*) ;;
    *) die "there is no scenario $name; there are: $all" ;;
  esac
done
only=''
[ $# -ne 1 ] || only=$1
# shellcheck disable=SC2086  # the names are words
[ $# -gt 0 ] || set -- $all

set_up
printf '%-20s %7s  %-6s  %s\n' SCENARIO PROMPTS PAGES 'FIRST FINDING'
for name in "$@"; do
  case $name in
    healthy | wrong-pin | cancel | always-authenticate | same-label) fault=none ;;
    stale-state) fault=stale-state ;;
    logout-after-sign) fault=sign-logs-out ;;
    removal) fault=removed-back ;;
  esac
  stage "$name" "$fault"
  quiet /usr/bin/python3 "$here/play.py" "$name" "$out/$name" "$out/common"
  "$p11trace" check "$out/$name/traces" >"$out/$name/check.txt" || [ $? -eq 1 ] || die "$out/$name/traces cannot be checked"
  quiet "$p11trace" report -o "$out/$name/report.html" "$out/$name/traces"
  printf '%-20s %7s  %-6s  %s\n' "$name" "$(cat "$out/$name/prompts")" "$(cat "$out/$name/pages")" "$(first_finding "$out/$name")"
done
if [ -n "$only" ]; then
  echo
  "$p11trace" state "$out/$only/traces"
else
  echo
fi
for name in "$@"; do echo "report: $out/$name/report.html"; done
