#!/bin/sh
# Records golden traces: what NSS's tools do with a token, one trace for each thing that has to go on working.
#
#   examples/replay-in-ci/record.sh FOLDER
#
# FOLDER/golden/NAME.p11t are the traces, FOLDER/user.p12 is the key and the certificate that were on the token. Keep both:
# they are replayed on every new version of the module. Nothing secret is in a trace; the key in user.p12 is made for this.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/golden.sh"
[ $# -eq 1 ] || die 'usage: record.sh FOLDER'
out=$1
set_up
for tool in certutil modutil cmsutil openssl; do
  command -v "$tool" >/dev/null 2>&1 || die "$tool is missing; on Debian: apt-get install libnss3-tools openssl"
done
cd "$out" || exit 2
# golden has all of the traces or is not there: run.sh replays what it finds.
rm -rf golden golden.new nssdb traces
mkdir golden.new nssdb traces

printf 'subjectAltName=email:user@example.test\nextendedKeyUsage=clientAuth,emailProtection\n' >user.ext
quiet openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj '/CN=Golden CA' -days 3650 \
  -addext keyUsage=critical,keyCertSign,cRLSign
quiet openssl req -newkey rsa:2048 -nodes -keyout user.key -out user.req \
  -subj '/CN=Golden User/emailAddress=user@example.test'
quiet openssl x509 -req -in user.req -CA ca.pem -CAkey ca.key -set_serial 2 -days 3650 -extfile user.ext -out user.pem
quiet openssl pkcs12 -export -in user.pem -inkey user.key -name user -passout pass:golden -out user.p12
make_token "$out/recorded"

quiet certutil -N -d sql:nssdb --empty-password
quiet certutil -A -d sql:nssdb -n 'Golden CA' -t CT,C,C -i ca.pem
quiet certutil -A -d sql:nssdb -n recipient -t ,, -i user.pem
echo 'a message' >message
quiet cmsutil -E -d sql:nssdb -r user@example.test -i message -o message.encrypted
quiet p11trace wrap "$build/libp11token.so" -o traced.so --out traces --quiet
quiet modutil -force -dbdir sql:nssdb -add Golden -libfile "$PWD/traced.so"
rm -f traces/*.p11t
head -c 64 /dev/urandom >noise

# golden NAME COMMAND ...: the trace of the command, which is one process.
golden() {
  name=$1
  shift
  quiet "$@"
  mv traces/*.p11t "golden.new/$name.p11t" || die "$name: the command made no trace, or several: $*"
}
golden certificates certutil -L -d sql:nssdb -h Golden -f pin.txt
golden keys certutil -K -d sql:nssdb -h Golden -f pin.txt
golden sign cmsutil -S -d sql:nssdb -f pins.txt -N Golden:user -H SHA256 -i message -o message.signed
golden decrypt cmsutil -D -d sql:nssdb -f pins.txt -i message.encrypted
golden new-key certutil -R -d sql:nssdb -h Golden -f pin.txt -s CN=New -k ec -q nistp256 -z noise -o request
mv golden.new golden || exit 2
rm -rf nssdb traces traced.so traced.conf recorded ./*.key ./*.pem user.req user.ext noise request message* step.log
echo "$out/golden: $(find golden -name '*.p11t' | wc -l) traces"
