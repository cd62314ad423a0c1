# Read by run.sh: certificates, a token with a key, a Firefox profile that knows the traced token.
# shellcheck shell=sh

LABEL=Card PIN=12345678

die() {
  echo "$0: $*" >&2
  exit 2
}

# A step that has to work.
quiet() {
  "$@" >"$out/step.log" 2>&1 </dev/null || { cat "$out/step.log" >&2; die "this failed: $*"; }
}

# From the checkout's build folder (BUILD), or as installed.
set_up() {
  build=${BUILD:-build}
  case $build in
    /*) ;;
    *) build=$root/$build ;;
  esac
  if [ -x "$build/p11trace" ]; then
    p11trace=$build/p11trace p11token=$build/p11token lib=$build
  else
    p11trace=$(command -v p11trace) && p11token=$(command -v p11token) || die 'p11trace is missing: run make'
    lib=$(dirname "$(dirname "$p11trace")")/lib
  fi
  for tool in firefox-esr certutil modutil openssl; do
    command -v "$tool" >/dev/null 2>&1 || die "$tool is missing; on Debian: apt-get install firefox-esr libnss3-tools openssl"
  done
  if [ -d "$out" ] && [ ! -e "$out/made-by-firefox-login-state" ] && [ -n "$(ls -A "$out")" ]; then
    die "$out exists and was not made by this script; remove it or name another folder with --out"
  fi
  rm -rf "$out"
  umask 077
  mkdir -p "$out/common" && : >"$out/made-by-firefox-login-state" || exit 2
  out=$(cd "$out" && pwd)
  # What would configure the modules or the recorder otherwise than the files below; Firefox gets a HOME of its own.
  for name in $(env | sed -n 's/^\(\(P11[A-Z]*\|NSS\|XDG\)_[A-Z_0-9]*\|P11FAULTY\)=.*/\1/p'); do unset "$name"; done
  export LC_ALL=C
  cd "$out/common" || exit 2
  openssl_certificates
  mkdir profile
  quiet certutil -N -d sql:profile --empty-password
  quiet certutil -A -d sql:profile -n CA -t CT,C,C -i ca.pem
}

# NAME SUBJECT SERIAL EXTENSIONS
issue() {
  printf '%b' "$4" >"$1.ext"
  quiet openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2"
  quiet openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -set_serial "$3" -days 30 -extfile "$1.ext" -out "$1.pem"
}

openssl_certificates() {
  quiet openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj '/CN=Example CA' -days 30 \
    -addext keyUsage=critical,keyCertSign,cRLSign
  issue server /CN=localhost 1 'extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n'
  issue user /CN=Alice 2 'extendedKeyUsage=clientAuth\n'
}

# The token is in ~/.local/share/p11token, where libp11token.so looks without any settings.
new_token() {
  HOME=$1 quiet "$p11token" init --label "$LABEL" --force --kdf-cost 8 --pin "$PIN" --so-pin 87654321
}

# stage SCENARIO FAULTS: a folder with all that Firefox needs. In front of the token is the module that breaks it, in front of
# that the recorder; each is told what to do by the file NAME.conf beside it.
stage() {
  folder=$out/$1 home=$out/$1/home
  mkdir -p "$home" "$folder/traces" && cp -r "$out/common/profile" "$folder/profile" || exit 2
  cd "$folder" || exit 2
  new_token "$home"
  case $1 in
    always-authenticate)
      HOME=$home quiet "$p11token" import --token "$LABEL" --pin "$PIN" --label user --id 01 "$out/common/user.pem"
      HOME=$home quiet pkcs11-tool --module "$lib/libp11token.so" --token-label "$LABEL" --login --pin "$PIN" \
        --write-object "$out/common/user.key" --type privkey --usage-sign --always-auth --id 01 --label user
      ;;
    *) HOME=$home quiet "$p11token" import --token "$LABEL" --pin "$PIN" --label user "$out/common/user.key" "$out/common/user.pem" ;;
  esac
  if [ "$1" = same-label ]; then new_token "$home"; fi
  cp "$lib/libp11faulty.so" card.so
  printf 'module = %s\nfaults = %s\n' "$lib/libp11token.so" "$2" >card.conf
  quiet "$p11trace" wrap card.so -o traced.so --out traces
  HOME=$home quiet modutil -force -dbdir sql:profile -add Card -libfile "$folder/traced.so"
  rm -rf traces # modutil's own calls
}

# The first of the most severe findings.
first_finding() {
  "$p11trace" check --json "$1/traces" | /usr/bin/python3 -c '
import json, sys
found = json.load(sys.stdin)["findings"]
found.sort(key=lambda f: (["error", "warning", "info"].index(f["severity"]), f["first"]))
print("{rule} {severity}: {sentence}".format(**found[0]) if found else "none")'
}
