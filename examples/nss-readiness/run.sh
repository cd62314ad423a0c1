#!/bin/sh
# Does my module work with NSS?  Plays what Firefox, Thunderbird and NSS's servers do with a token, each ability on its own,
# with every call traced, and says what works, what does not, and which call or rule shows it.
#
#   examples/nss-readiness/run.sh [--out FOLDER] [--change-pin] [--wrong-pin] MODULE TOKEN [PIN]
#
#   MODULE        the PKCS #11 module (.so); its own settings (SOFTHSM2_CONF ...) are taken from the environment
#   TOKEN         label of a token in one of its slots, with the user PIN set
#   PIN           the user PIN; others on this machine can see it: READINESS_PIN in the environment does as well
#   --out         where everything goes (./nss-readiness): report.txt report.html report.xml (JUnit), traces/ per ability
#   --change-pin  also changes the PIN, and back
#   --wrong-pin   also tries one wrong PIN: it costs the token one of its tries
#
# What it makes on the token is called nss-readiness-... and deleted at the end. Needs libnss3-tools, openssl and a built
# p11trace (PATH, or the checkout's build folder). Exit status: 0 all works, 1 something does not, 2 could not try.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/scene.sh"
. "$here/abilities.sh"
. "$here/report.sh"

out=nss-readiness change_pin='' wrong_pin=''
while [ $# -gt 0 ]; do
  case $1 in
    --out) [ $# -ge 2 ] || die '--out needs a folder'; out=$2; shift ;;
    --out=*) out=${1#--out=} ;;
    --change-pin) change_pin=yes ;;
    --wrong-pin) wrong_pin=yes ;;
    -h | --help) sed -n '2,/^set -u/s/^# \{0,1\}//p' "$0" | sed '$d'; exit 0 ;;
    -*) die "there is no option $1; --help tells which there are" ;;
    *) break ;;
  esac
  shift
done
[ $# -eq 3 ] || { [ $# -eq 2 ] && [ -n "${READINESS_PIN:-}" ]; } ||
  die 'usage: run.sh [--out FOLDER] [--change-pin] [--wrong-pin] MODULE TOKEN PIN, or without PIN and READINESS_PIN set'
module=$1 token=$2 pin=${3:-${READINESS_PIN:-}}
unset READINESS_PIN
case $module in
  /*) ;;
  */*) module=$(cd "$(dirname "$module")" 2>/dev/null && pwd)/$(basename "$module") ;;
esac
[ -r "$module" ] || die "$module: no such module; give the path of the .so"

work='' server=''
trap leave EXIT
trap 'exit 2' HUP INT TERM
set_up
all_abilities
leave
report_text "$results" | tee "$out/report.txt"
report_html "$results" >"$out/report.html"
report_junit "$results" >"$out/report.xml"
echo "$out/report.txt, report.html, report.xml (JUnit); the traces are in $out/traces"
! cut -f3 "$results" | grep -qx no
