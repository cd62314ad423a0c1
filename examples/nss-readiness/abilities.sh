# Read by run.sh: the abilities, each a function that NSS's own tools carry out.
# shellcheck shell=sh

db='-d sql:nssdb'

certutil_() {
  verb=$1
  shift
  # shellcheck disable=SC2086
  certutil "$verb" $db -h "$token" -f pin.txt "$@"
}

# imported NAME: a key and certificate from a PKCS #12 file
imported() {
  # shellcheck disable=SC2086
  pk12util -i "$1.p12" $db -h "$token" -k pin.txt -W p12-readiness &&
    certutil_ -L | grep -F "nss-readiness-$1" && certutil_ -K | grep -F "nss-readiness-$1"
}

exported() {
  # shellcheck disable=SC2086
  pk12util -o exported.p12 $db -n "$token:nss-readiness-$1" -k pin.txt -W p12-readiness && [ -s exported.p12 ] &&
    openssl pkcs12 -in exported.p12 -passin pass:p12-readiness -nodes -legacy | grep -F 'PRIVATE KEY'
}

# self_signed NAME KEY-OPTIONS...: key pair and certificate, made on the token
self_signed() {
  name=$1
  shift
  # shellcheck disable=SC2086
  certutil -S $db -h "$token" -f pins.txt -n "nss-readiness-$name" -s "CN=nss-readiness-$name" -x -t u,u,u -z noise -v 1 \
    -m "$$$(date +%S)" "$@"
}

request() {
  # shellcheck disable=SC2086
  certutil -R $db -h "$token" -f pin.txt -s 'CN=nss-readiness-request' -z noise -o request.csr -a &&
    openssl req -in request.csr -verify -noout
}

ca_certificate() {
  certutil_ -A -n nss-readiness-ca -t ,, -i other-ca.pem && certutil_ -L | grep -F nss-readiness-ca
}

# What is seen without a PIN: the certificate, marked as the user's (FAQ Q4, Q9)
seen_without_login() {
  # shellcheck disable=SC2086
  certutil -L $db -h "$token" </dev/null | grep -F "nss-readiness-$1" | grep -F 'u,u,u'
}

# Any port that nobody uses, below those that the kernel gives to clients
free_port() {
  while :; do
    port=$((20000 + $(od -An -N2 -tu2 /dev/urandom) % 12000))
    grep -qi "^ *[0-9]*: [0-9A-F]*:$(printf '%04X' "$port") " /proc/net/tcp /proc/net/tcp6 2>/dev/null || break
  done
  echo "$port"
}

# listens PORT PID: as soon as something accepts there; gives up when the server ended
listens() {
  tries=0
  until grep -qiE ":$(printf '%04X' "$1") [0-9A-F]+:0000 0A " /proc/net/tcp /proc/net/tcp6 2>/dev/null; do
    kill -0 "$2" 2>/dev/null && [ "$tries" -lt 100 ] || return 1
    tries=$((tries + 1))
    sleep 0.1
  done
}

end_server() {
  [ -n "$server" ] || return 0
  kill "$server" 2>/dev/null
  wait "$server" 2>/dev/null
  server=''
}

# client VERSION NAME: TLS client authentication against OpenSSL's server
client() {
  port=$(free_port)
  openssl s_server -accept "127.0.0.1:$port" -cert server-rsa.pem -key server-rsa.key -CAfile ca.pem -Verify 2 \
    -verify_return_error -www >server.log 2>&1 </dev/null &
  server=$!
  result=1
  # shellcheck disable=SC2086
  listens "$port" $server && tstclnt -4 -h localhost -p "$port" $db -n "$token:nss-readiness-$2" -W pins.txt \
    -V "tls$1:tls$1" -A request >client.out 2>&1 && grep -q 'HTTP/1.0 200' client.out && result=0
  end_server
  [ $result = 0 ] || cat client.out
  return $result
}

# server VERSION NAME: NSS's server with its key on the token, OpenSSL's client
server() {
  port=$(free_port)
  # shellcheck disable=SC2086
  selfserv $db -n "$token:nss-readiness-$2" -p "$port" -f pins.txt -V tls1.2:tls1.3 >server.log 2>&1 </dev/null &
  server=$!
  result=1
  if listens "$port" $server; then
    openssl s_client -connect "127.0.0.1:$port" -servername localhost -CAfile ca.pem -verify_return_error \
      "-tls$(echo "$1" | tr . _)" </dev/null >client.out 2>&1
    grep -q 'Verify return code: 0 (ok)' client.out && result=0
  fi
  end_server
  [ $result = 0 ] || cat client.out server.log 2>/dev/null
  return $result
}

smime_sign() {
  # shellcheck disable=SC2086
  cmsutil -S $db -f pins.txt -N "$token:nss-readiness-$1" -H SHA256 -i message -o signed -G &&
    openssl cms -verify -inform DER -in signed -CAfile ca.pem -out verified && grep -q 'a message' verified
}

smime_decrypt() {
  openssl cms -encrypt -in message -binary -aes256 -outform DER -out encrypted "$1.pem" || return 1
  # shellcheck disable=SC2086
  cmsutil -D $db -f pins.txt -i encrypted | grep -F 'a message'
}

symmetric_key() {
  # shellcheck disable=SC2086
  symkeyutil -K -n nss-readiness-aes -t aes -s 32 $db -h "$token" -f pin.txt &&
    symkeyutil -L $db -h "$token" -f pin.txt | grep -F nss-readiness-aes &&
    symkeyutil -D -n nss-readiness-aes $db -h "$token" -f pin.txt
}

wrong_pin_refused() {
  printf 'not-%s\n' "$pin" | cut -c 1-8 >wrong.txt
  # shellcheck disable=SC2086
  ! certutil -K $db -h "$token" -f wrong.txt >wrong.log 2>&1
  refused=$?
  cat wrong.log
  # As a wrong PIN, not as anything else: only then the user is asked again (FAQ Q10)
  [ $refused = 0 ] && grep -q SEC_ERROR_BAD_PASSWORD wrong.log
}

pin_changed() {
  printf '%sx\n' "$pin" >newpin.txt
  modutil -force -dbdir sql:nssdb -changepw "$token" -pwfile pin.txt -newpwfile newpin.txt || return 1
  opened=0
  certutil_keys newpin.txt || opened=1
  modutil -force -dbdir sql:nssdb -changepw "$token" -pwfile newpin.txt -newpwfile pin.txt && certutil_keys pin.txt || {
    echo 'the PIN was not changed back: it may be yours with an x behind it'
    return 1
  }
  return $opened
}

delete_key() {
  # shellcheck disable=SC2086
  certutil -F $db -h "$token" -f pin.txt -n "$token:nss-readiness-$1" || return 1
  certutil_ -L >listed.log || return 1
  ! grep -F "nss-readiness-$1 " listed.log
}

# needs ID-THAT-WORKED ID ABILITY COMMAND...
needs() {
  if worked "$1"; then
    shift
    try "$@"
  else
    skip "$2" "$3" "needs: $1"
  fi
}

all_abilities() {
  if ! worked load; then
    return
  fi
  try login 'The PIN opens the token (certutil -K)' certutil_keys pin.txt
  ! worked login || ids >ids.before || rm -f ids.before
  [ -z "$wrong_pin" ] || try wrong-pin 'A wrong PIN is refused, and said so' wrong_pin_refused
  needs login keygen-rsa 'RSA key pair and certificate made on the token' self_signed made-rsa -k rsa -g 2048
  needs login keygen-ec 'P-256 key pair and certificate made on the token' self_signed made-ec -k ec -q nistp256
  needs login request 'Certificate request (certutil -R)' request
  needs login p12-rsa 'RSA key and certificate imported from PKCS #12' imported rsa
  needs login p12-ec 'P-256 key and certificate imported from PKCS #12' imported ec
  needs p12-rsa p12-export 'RSA key exported to PKCS #12' exported rsa
  needs login ca 'CA certificate stored' ca_certificate
  needs p12-rsa public "The user's certificate is seen without the PIN" seen_without_login rsa
  for version in 1.2 1.3; do
    needs p12-rsa "client-$version-rsa" "TLS $version client authentication, RSA" client $version rsa
    needs p12-ec "client-$version-ec" "TLS $version client authentication, P-256" client $version ec
  done
  needs login p12-server-rsa 'RSA server key imported' imported server-rsa
  needs login p12-server-ec 'P-256 server key imported' imported server-ec
  for version in 1.2 1.3; do
    needs p12-server-rsa "server-$version-rsa" "TLS $version server, RSA" server $version server-rsa
    needs p12-server-ec "server-$version-ec" "TLS $version server, P-256" server $version server-ec
  done
  needs p12-rsa sign 'S/MIME signature, RSA' smime_sign rsa
  needs p12-ec sign-ec 'S/MIME signature, P-256' smime_sign ec
  needs p12-rsa decrypt 'S/MIME message deciphered, RSA' smime_decrypt rsa
  needs login symmetric 'AES key made, listed and deleted' symmetric_key
  [ -z "$change_pin" ] || needs login pin 'PIN changed, and back' pin_changed
  needs keygen-rsa delete 'Key and certificate deleted' delete_key made-rsa
}

# certutil_keys PIN-FILE
certutil_keys() {
  # A token without keys makes certutil fail; the PIN was right all the same.
  # shellcheck disable=SC2086
  certutil -K $db -h "$token" -f "$1" >keys.log 2>&1
  result=$?
  cat keys.log
  [ $result = 0 ] || grep -q 'no keys found' keys.log
}

# Each CKA_ID on the token; fails where that is not sure.
ids() {
  command -v pkcs11-tool >/dev/null 2>&1 &&
    READINESS_PIN=$pin pkcs11-tool --module "$module" --token-label "$token" --login --pin env:READINESS_PIN -O \
      >objects 2>>clean.log </dev/null && sed -n 's/^ *ID: *\([0-9a-f][0-9a-f]*\)$/\1/p' objects | sort -u
}

# What has a CKA_ID now that nothing had before is ours, too: NSS's tools cannot delete public keys, nor a key without
# certificate. A PIN that did not work is not tried again: it would lock the token.
clean_up() {
  worked login || return 0
  for name in made-rsa made-ec rsa ec server-rsa server-ec; do
    # shellcheck disable=SC2086
    certutil -F $db -h "$token" -f pin.txt -n "$token:nss-readiness-$name" >>clean.log 2>&1 </dev/null
    certutil_ -D -n "$token:nss-readiness-$name" >>clean.log 2>&1 </dev/null
  done
  certutil_ -D -n "$token:nss-readiness-ca" >>clean.log 2>&1 </dev/null
  if [ -e ids.before ] && ids >ids.after; then
    comm -13 ids.before ids.after | while read -r key; do
      for type in privkey pubkey cert; do
        READINESS_PIN=$pin pkcs11-tool --module "$module" --token-label "$token" --login --pin env:READINESS_PIN -b \
          --type $type --id "$key" >>clean.log 2>&1 </dev/null
      done
    done
  else
    echo 'public keys and the key of the request stay on the token: NSS cannot delete them (pkcs11-tool can)' >&2
  fi
}
