#!/bin/sh
# `make lint BUILD`: what the compilers, the format rules and the layout say.  Each finding is printed, all are looked for.
#
# The layout is a rule of dependence: module/ knows of the rest the constants only, shim/ nothing of decoder/, and
# decoder/ of shim/ the tables, the trace format and the reader of the configuration file.
set -u
build=$1
mkdir -p "$build"
failed=0
complain() { echo "lint: $*" >&2; failed=1; }

for cc in gcc clang; do
  case $cc in gcc) cxx=g++ ;; clang) cxx=clang++ ;; esac
  ${MAKE:-make} -s --no-print-directory BUILD="$build/$cc" CC=$cc CXX=$cxx CFLAGS='-O2 -g -Werror' all >"$build.$cc.log" 2>&1 ||
    { cat "$build.$cc.log" >&2; complain "$cc has warnings or errors"; }
  rm -f "$build.$cc.log"
done

# dependence FOLDER PATTERN-OF-WHAT-IT-MAY-NOT-INCLUDE
dependence() {
  [ -d "$1" ] || return 0
  found=$(grep -rnE "^#include \"([.][.]/)*($2)" "$1" --include='*.[chS]' --include='*.def')
  [ -z "$found" ] || { echo "$found" >&2; complain "$1 includes what it must not know"; }
}
dependence module 'decoder/|tests/|shim/(trace|record|load)/|(trace|record|load)/'
dependence shim 'decoder/|module/|tests/'
dependence decoder 'module/|tests/|shim/record/|shim/load/[^c]'

for f in $(git ls-files '*.c' '*.cc' '*.h' '*.py' '*.sh'); do
  [ -f "$f" ] || continue
  lines=$(wc -l <"$f")
  [ "$lines" -le 600 ] || complain "$f: $lines lines, split it"
  ! grep -nE '[[:space:]]$' "$f" >&2 || complain "$f: blanks at the end of a line"
done

# Tables and the macros around them are laid out by hand; they say so with `clang-format off`.
unformatted=$(git ls-files '*.c' '*.cc' '*.h' | while read -r f; do
  [ ! -f "$f" ] || clang-format --dry-run -Werror "$f" >/dev/null 2>&1 || echo "  $f"
done)
[ -z "$unformatted" ] || { echo "$unformatted" >&2; complain "clang-format -i would change these files"; }

[ $failed = 0 ] && echo "lint: nothing found"
exit $failed
