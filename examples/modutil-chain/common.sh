# Read by demo.sh and run.sh: running a command so that a reader sees what it was and how it ended.
# shellcheck shell=sh

# A command line as one would type it.
show() {
  printf '$'
  for word; do
    case $word in
      *[!A-Za-z0-9/._:=,@%+-]* | '') printf " '%s'" "$(printf %s "$word" | sed "s/'/'\\\\''/g")" ;;
      *) printf ' %s' "$word" ;;
    esac
  done
  echo
}

title() {
  printf '\n== %s\n' "$*"
}

die() {
  echo "$0: $*" >&2
  exit 2
}

# step N COMMAND ...: runs the command, shows at most the first N lines of what it prints (all of them if it fails) and
# its exit status, which is also the function's. Lines longer than $width are cut. Nothing is read from the terminal: a
# prompt would be a mistake.
width=10000
step() {
  lines=$1
  shift
  show "$@"
  status=0
  "$@" >"$work/output" 2>&1 </dev/null || status=$?
  awk -v most="$lines" -v status="$status" -v width="$width" '
    NF { line[++n] = length($0) > width ? substr($0, 1, width) " ..." : $0 }
    END {
      if (status != 0 || n <= most) most = n
      for (i = 1; i <= most; i++) print "    " line[i]
      if (n > most && most > 0) print "    ... (" n " lines)"
    }' "$work/output"
  echo "    exit status $status"
  return "$status"
}

need() {
  for tool; do
    command -v "$tool" >/dev/null 2>&1 && continue
    [ "$tool" != p11trace ] || die 'p11trace is missing; run make first'
    die "$tool is missing; on Debian: apt-get install libnss3-tools openssl"
  done
}

# The folder for everything: made anew, but only if it is ours to remove.
fresh_folder() {
  if [ -d "$1" ] && [ ! -e "$1/made-by-p11trace" ] && [ -n "$(ls -A "$1")" ]; then
    die "$1 exists and was not made by this script; remove it or name another folder"
  fi
  rm -rf "$1"
  (umask 077 && mkdir -p "$1" && : >"$1/made-by-p11trace") || exit 2
}
