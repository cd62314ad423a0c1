# Read by record.sh and run.sh: tools, folders, and a token with a key and a certificate.
# shellcheck shell=sh

die() {
  echo "$0: $*" >&2
  exit 2
}

# A step of ours that has to work.
quiet() {
  "$@" >"$out/step.log" 2>&1 </dev/null || { cat "$out/step.log" >&2; die "this failed: $*"; }
}

set_up() {
  case ${BUILD:-build} in
    /*) build=$BUILD ;;
    *) build=$root/${BUILD:-build} ;;
  esac
  for product in p11trace p11token libp11token.so; do
    [ -e "$build/$product" ] || die "$build/$product is missing; run make first"
  done
  PATH=$build:$PATH
  for name in $(env | sed -n 's/^\(P11TRACE_[A-Z_]*\|NSS_[A-Z_0-9]*\)=.*/\1/p'); do unset "$name"; done
  export LC_ALL=C
  umask 077
  mkdir -p "$out" || exit 2
  out=$(cd "$out" && pwd)
}

# make_token FOLDER: a token as the golden traces expect to find it. What they were recorded on had the same certificate and
# the same label; another serial number does not matter, it is in expected.txt.
make_token() {
  for name in $(env | sed -n 's/^\(P11TOKEN_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
  rm -rf "$1"
  mkdir "$1"
  printf '1234-golden\n' >"$out/pin.txt"
  printf 'Golden:1234-golden\n' >"$out/pins.txt"
  export P11TOKEN_DIR="$1"
  quiet p11token init --label Golden --so-pin 5678-golden --pin 1234-golden --kdf-cost 8
  quiet p11token import --token Golden --pin-file "$out/pin.txt" --file-pin golden "$out/user.p12"
}
