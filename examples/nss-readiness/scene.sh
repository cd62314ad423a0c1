# Read by run.sh: the folder, an NSS database that knows the traced module, certificates, and trying one ability.
# shellcheck shell=sh

die() {
  echo "$0: $*" >&2
  exit 2
}

find_p11trace() {
  [ -n "${P11TRACE:-}" ] || P11TRACE=$(command -v p11trace) || P11TRACE=$root/build/p11trace
  [ -x "$P11TRACE" ] || die "p11trace is missing: run make, or name it in P11TRACE"
}

tab=$(printf '\t')

set_up() {
  find_p11trace
  for tool in certutil modutil pk12util cmsutil tstclnt selfserv symkeyutil openssl awk; do
    command -v "$tool" >/dev/null 2>&1 || die "$tool is missing; on Debian: apt-get install libnss3-tools openssl"
  done
  if [ -d "$out" ] && [ ! -e "$out/made-by-nss-readiness" ] && [ -n "$(ls -A "$out")" ]; then
    die "$out exists and was not made by this script; remove it or name another folder with --out"
  fi
  rm -rf "$out"
  umask 077
  mkdir -p "$out/traces" "$out/work" && : >"$out/made-by-nss-readiness" || exit 2
  out=$(cd "$out" && pwd)
  results=$out/results.tsv
  : >"$results"
  for name in $(env | sed -n 's/^\(P11TRACE_[A-Z_]*\|NSS_[A-Z_0-9]*\)=.*/\1/p'); do unset "$name"; done
  export LC_ALL=C
  cd "$out/work" || exit 2
  work=$PWD
  printf '%s\n' "$pin" >pin.txt
  printf '%s:%s\n' "$token" "$pin" >pins.txt
  printf 'GET / HTTP/1.0\r\n\r\n' >request
  echo 'a message' >message
  head -c 64 /dev/urandom >noise
  mkdir nssdb
  quiet certutil -N -d sql:nssdb --empty-password
  quiet "$P11TRACE" wrap "$module" -o traced.so --out "$out/traces/current" --quiet
  certificates
  # Certificates are looked for before a login only on a token that is said to show them (FAQ Q4, Q5).
  try load 'The module loads (modutil -add, -list)' add_module
}

# However it ends, also by Ctrl-C: nothing stays on the token, no server goes on, and no PIN lies about.
leave() {
  [ -n "$work" ] || return 0
  cd "$work" && end_server
  clean_up
  rm -rf "$out/traces/current" pin.txt pins.txt newpin.txt wrong.txt ./*.key
  work=''
}

add_module() {
  modutil -force -dbdir sql:nssdb -add 'The module' -libfile "$PWD/traced.so" -mechanisms FRIENDLY &&
    modutil -dbdir sql:nssdb -list 'The module' && modutil -dbdir sql:nssdb -list 'The module' | grep -F "$token"
}

# A step of our own that has to work.
quiet() {
  "$@" >step.log 2>&1 </dev/null || { cat step.log >&2; die "this failed: $*"; }
}

# issue NAME SUBJECT SERIAL KEY-OPTIONS EXTENSIONS: NAME.key, NAME.pem of our CA, NAME.p12
issue() {
  printf '%b' "$5" >"$1.ext"
  # shellcheck disable=SC2086  # the options of a key are several words
  quiet openssl req $4 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2"
  quiet openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -set_serial "$3" -days 30 -extfile "$1.ext" -out "$1.pem"
  quiet openssl pkcs12 -export -in "$1.pem" -inkey "$1.key" -name "nss-readiness-$1" -passout pass:p12-readiness -out "$1.p12"
}

certificates() {
  ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256'
  client='extendedKeyUsage=clientAuth,emailProtection\nsubjectAltName=email:%s@example.test\n'
  server='extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n'
  quiet openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj "/CN=NSS Readiness CA $$" -days 30 \
    -addext keyUsage=critical,keyCertSign,cRLSign
  # One that is only stored: what the token says of the trust in it must not touch ours.
  quiet openssl req -x509 -newkey rsa:2048 -nodes -keyout other-ca.key -out other-ca.pem \
    -subj "/CN=NSS Readiness other CA $$" -days 30 -addext keyUsage=critical,keyCertSign
  issue rsa "/CN=nss-readiness-rsa/emailAddress=rsa@example.test" 2 '-newkey rsa:2048' "$(printf "$client" rsa)\n"
  issue ec "/CN=nss-readiness-ec/emailAddress=ec@example.test" 3 "$ec" "$(printf "$client" ec)\n"
  issue server-rsa '/CN=localhost' 4 '-newkey rsa:2048' "$server"
  issue server-ec '/CN=localhost/OU=EC' 5 "$ec" "$server"
  quiet certutil -A -d sql:nssdb -n 'NSS Readiness CA' -t CT,C,C -i ca.pem
  quiet certutil -A -d sql:nssdb -n recipient -t ,, -i rsa.pem
}

# try ID ABILITY COMMAND...: runs it with a fresh folder of traces, and writes a line of results.tsv:
# id, ability, yes|no, exit status, first finding, call that failed last, what the tool said
try() {
  id=$1 ability=$2
  shift 2
  [ ! -t 2 ] || printf '\r%-60s' "$ability" >&2
  rm -rf "$out/traces/current"
  status=0
  "$@" >"$id.log" 2>&1 </dev/null || status=$?
  finding='' call='' said=''
  if [ -d "$out/traces/current" ] && ls "$out/traces/current"/*.p11t >/dev/null 2>&1; then
    mv "$out/traces/current" "$out/traces/$id"
    checked=0
    "$P11TRACE" check "$out/traces/$id" >check.out 2>check.err || checked=$?
    finding=$(sed -n -E '/^(NSS|P11)-[A-Z]+-[0-9]+ (error|warning) /{p;q;}' check.out)
    [ $checked -lt 2 ] || [ -n "$finding" ] || finding=$(head -n 1 check.err)
    [ "$status" = 0 ] || call=$("$P11TRACE" dump -q -e 'fn=!C_GetInterface' \
      -e 'rv=failed,!CKR_BUFFER_TOO_SMALL,!CKR_ATTRIBUTE_TYPE_INVALID,!CKR_TOKEN_NOT_RECOGNIZED' "$out/traces/$id" 2>/dev/null |
      grep -v ' C_GetSlotInfo\| C_WaitForSlotEvent' | tail -n 1)
  fi
  [ "$status" = 0 ] || said=$(grep -v '^ *$' "$id.log" | tail -n 1)
  answer=yes
  [ "$status" = 0 ] || answer=no
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$id" "$ability" "$answer" "$status" "$(one_line "$finding")" "$(one_line "$call")" \
    "$(one_line "$said")" >>"$results"
  [ ! -t 2 ] || printf '\r%-60s\r' '' >&2
}

# skip ID ABILITY REASON
skip() {
  printf '%s\t%s\tskipped\t\t\t\t%s\n' "$1" "$2" "$3" >>"$results"
}

worked() {
  awk -F "$tab" -v id="$1" '$1 == id && $3 == "yes" { found = 1 } END { exit !found }' "$results"
}

one_line() {
  printf '%s' "$1" | tr '\t\n\r' '   ' | cut -c 1-400
}
