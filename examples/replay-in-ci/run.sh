#!/bin/sh
# Replays golden traces on a module, for CI: every answer of the module beside the one that was recorded.
#
#   examples/replay-in-ci/run.sh [--out FOLDER] [MODULE PIN-FILE]
#
#   MODULE     the library to be tried, with its token ready; without it libp11token.so, with a fresh token
#   PIN-FILE   the user's PIN in the first line
#   --out      FOLDER/golden are the traces (record.sh makes them if they are not there), FOLDER/replay.xml the JUnit file
#              (build/replay-in-ci)
#
# Exit status: 0 the module answers as recorded, but for what expected.txt names; 1 it does not; 2 it could not be tried.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/golden.sh"
out=''
while [ $# -gt 0 ]; do
  case $1 in
    --out) [ $# -ge 2 ] || die '--out needs a folder'; out=$2; shift ;;
    -h | --help) sed -n '2,/^set -u/s/^# \{0,1\}//p' "$0" | sed '$d'; exit 0 ;;
    -*) die "there is no option $1; --help tells which there are" ;;
    *) break ;;
  esac
  shift
done
[ $# -eq 0 ] || [ $# -eq 2 ] || die 'usage: run.sh [--out FOLDER] [MODULE PIN-FILE]'
[ -n "$out" ] || out=$root/build/replay-in-ci
set_up
[ -d "$out/golden" ] || "$here/record.sh" "$out" || exit 2

if [ $# -eq 2 ]; then
  module=$1 pin_file=$2
else
  make_token "$out/today"
  module=$build/libp11token.so pin_file=$out/pin.txt
fi
p11trace replay --module "$module" --pin-file "$pin_file" --expect "$here/expected.txt" --junit "$out/replay.xml" \
  "$out/golden"
status=$?
echo "$out/replay.xml (JUnit)"
exit $status
