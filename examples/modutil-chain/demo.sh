#!/bin/sh
# Traces an NSS session from beginning to end: a software token, an NSS database that knows it through a traced copy of
# its module, keys and certificates made, used and deleted with NSS's own tools; then what the trace tells.
#
#   examples/modutil-chain/demo.sh          (or: make demo)
#
# Everything is made under build/demo (DEMO_DIR names another folder, DEMO_MODULE a module in front of the token's, such as
# a spy); the traces stay in build/demo/traces.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
root=$(cd "$here/../.." && pwd)

case ${BUILD:-build} in
  /*) build=$BUILD ;;
  *) build=$root/${BUILD:-build} ;;
esac
folder=${DEMO_DIR:-$build/demo}
for product in p11trace p11token; do
  [ -x "$build/$product" ] || die "$build/$product is missing; run make first"
done
need certutil modutil pk12util cmsutil tstclnt openssl
module=${DEMO_MODULE:-$build/libp11token.so}

# Nothing of the caller's settings: the demo is the same everywhere.
for name in $(env | sed -n 's/^\(P11TRACE_[A-Z_]*\|NSS_[A-Z_0-9]*\|P11TOKEN_[A-Z]*\)=.*/\1/p'); do unset "$name"; done
export LC_ALL=C
umask 077

fresh_folder "$folder"
cd "$folder" || exit 2
work=$PWD/work
mkdir "$work" nssdb
PATH=$build:$PATH

# A failing step ends the demo: what follows would only be noise.
must() {
  step "$@" || { echo "the demo stops here; $folder is left as it is" >&2; exit 1; }
}
quiet() {
  "$@" >"$work/output" 2>&1 || { show "$@"; cat "$work/output"; exit 1; }
}

# Unusual strings, so that a search for them in the traces means something.
pin=p1n-7Qx4-demo newpin=n3w-2Lw8-demo sopin=s0p-9Kv5-demo p12pw=p12-5Hd3-demo
printf '%s\n' "$pin" >pin.txt
printf '%s\n' "$newpin" >newpin.txt
# The tools differ in what they want to read: a PIN, or TOKEN:PIN.
printf 'Demo:%s\n' "$pin" >pins.txt
head -c 64 /dev/urandom >noise
export P11TOKEN_DIR="$PWD/tokens"

title 'A token, and an NSS database'
must 3 p11token init --label Demo --so-pin "$sopin" --pin "$pin"
must 3 certutil -N -d sql:nssdb --empty-password

title 'A traced copy of the module, added to the database in place of the module'
must 4 p11trace wrap "$module" -o traced.so --out traces
must 3 modutil -force -dbdir sql:nssdb -add 'Demo (traced)' -libfile "$PWD/traced.so"
must 8 modutil -dbdir sql:nssdb -list 'Demo (traced)'

title 'Keys and certificates on the token'
must 5 certutil -S -d sql:nssdb -h Demo -f pins.txt -n selfsigned -s 'CN=Self Signed' -x -t u,u,u \
  -k rsa -g 2048 -z noise -v 12 -m 7
must 5 certutil -R -d sql:nssdb -h Demo -f pin.txt -s 'CN=Elliptic Curve' -k ec -q nistp256 -z noise -o ec.req
# A certificate authority of our own signs the request; OpenSSL does not touch the token.
quiet openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj '/CN=Demo CA' -days 30 \
  -addext keyUsage=critical,keyCertSign,cRLSign
quiet openssl req -inform DER -in ec.req -out ec.pem
quiet openssl x509 -req -in ec.pem -CA ca.pem -CAkey ca.key -set_serial 8 -days 30 -out ec.crt
must 3 certutil -A -d sql:nssdb -n 'Demo CA' -t CT,C,C -i ca.pem
must 3 certutil -A -d sql:nssdb -h Demo -f pin.txt -n ec -t u,u,u -i ec.crt

title 'A key from a PKCS #12 file'
printf 'subjectAltName=email:user@example.test\nextendedKeyUsage=clientAuth,emailProtection\n' >user.ext
quiet openssl req -newkey rsa:2048 -nodes -keyout user.key -out user.req \
  -subj '/CN=P12 User/emailAddress=user@example.test'
quiet openssl x509 -req -in user.req -CA ca.pem -CAkey ca.key -set_serial 9 -days 30 -extfile user.ext -out user.crt
quiet openssl pkcs12 -export -in user.crt -inkey user.key -name user -passout "pass:$p12pw" -out user.p12
must 3 pk12util -i user.p12 -d sql:nssdb -h Demo -K "$pin" -W "$p12pw"
must 12 certutil -L -d sql:nssdb -h Demo -f pin.txt
must 12 certutil -K -d sql:nssdb -h Demo -f pin.txt

title 'The keys at work: a signed message, an encrypted one, a TLS client'
echo 'signed on the token' >message
must 3 cmsutil -S -d sql:nssdb -f pins.txt -N Demo:user -H SHA256 -i message -o message.signed
must 6 cmsutil -D -d sql:nssdb -f pins.txt -i message.signed
must 3 certutil -A -d sql:nssdb -n 'Recipient' -t ,, -i user.crt
must 3 cmsutil -E -d sql:nssdb -f pins.txt -r user@example.test -i message -o message.encrypted
must 3 cmsutil -D -d sql:nssdb -f pins.txt -i message.encrypted

printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' >server.ext
quiet openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.req -subj '/CN=localhost'
quiet openssl x509 -req -in server.req -CA ca.pem -CAkey ca.key -set_serial 10 -days 30 \
  -extfile server.ext -out server.crt
# Port 0: the system chooses, and s_server says what.
openssl s_server -accept 127.0.0.1:0 -cert server.crt -key server.key -CAfile ca.pem -Verify 2 -verify_return_error \
  -www >server.log 2>&1 </dev/null &
server=$!
trap 'kill "$server" 2>/dev/null' EXIT
port='' tries=0
while [ -z "$port" ] && [ "$tries" -lt 100 ]; do
  sleep 0.1
  tries=$((tries + 1))
  port=$(sed -n 's/^ACCEPT .*:\([0-9]*\)$/\1/p' server.log)
done
[ -n "$port" ] || { cat server.log; exit 1; }
printf 'GET / HTTP/1.0\r\n\r\n' >request
must 4 tstclnt -4 -h localhost -p "$port" -d sql:nssdb -n Demo:user -W pins.txt -V tls1.2:tls1.3 -A request
kill "$server"
trap - EXIT
grep -q 'New, TLSv1.3' "$work/output" || { echo 'the server did not answer over TLS 1.3' >&2; exit 1; }

title 'A new PIN, and a key deleted'
must 3 modutil -force -dbdir sql:nssdb -changepw Demo -pwfile pin.txt -newpwfile newpin.txt
must 3 certutil -F -d sql:nssdb -h Demo -f newpin.txt -n Demo:selfsigned
must 12 certutil -K -d sql:nssdb -h Demo -f newpin.txt

title 'What the trace tells: what there is'
must 34 p11trace info traces

title 'The calls: logins, keys made and imported, signatures, deciphering, the new PIN'
excerpt=fn=C_Login,C_GenerateKeyPair,C_CreateObject,C_Sign,C_UnwrapKey,C_DecryptUpdate,C_SetPIN,C_DestroyObject
width=220
must 40 p11trace dump -e "$excerpt" traces
width=10000

title 'The calls counted and timed'
must 30 p11trace stat traces

title 'Checked against what NSS expects of a module'
status=0
step 60 p11trace check traces || status=$?
[ "$status" -le 1 ] || exit 1

printf '\nThe traces are in %s. p11trace dump shows every call of them.\n' "$PWD/traces"
