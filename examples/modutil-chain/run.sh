#!/bin/sh
# Traces NSS using your own PKCS #11 module, and shows what the trace tells about it.
#
#   examples/modutil-chain/run.sh MODULE [--token LABEL] [--pin-file FILE] [--nssdb sql:DIR] [--dir FOLDER] [--generate]
#
#   MODULE      the vendor's library
#   --token     which token, if there are several
#   --pin-file  a file with the PIN in its first line; without it the PIN is asked for, or, with no terminal, whatever
#               needs a login is left out
#   --nssdb     take a copy of this database (a Firefox profile has one) instead of an empty one
#   --dir       work here instead of in build/modutil-chain
#   --generate  also make a key and a certificate on the token and delete them again
#
# Nothing on the token is changed unless --generate is given, and your NSS database never: a copy is used.
# The exit status is that of `p11trace check`: 0 nothing found, 1 findings, 2 no trace to check.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
root=$(cd "$here/../.." && pwd)

case ${BUILD:-build} in
  /*) build=$BUILD ;;
  *) build=$root/${BUILD:-build} ;;
esac
usage() {
  sed -n '4,13s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

module='' token='' pinfile='' nssdb='' folder=$build/modutil-chain generate=0
while [ $# -gt 0 ]; do
  case $1 in
    --token | --pin-file | --nssdb | --dir)
      [ $# -ge 2 ] || usage
      case $1 in
        --token) token=$2 ;;
        --pin-file) pinfile=$2 ;;
        --nssdb) nssdb=${2#sql:} ;;
        --dir) folder=$2 ;;
      esac
      shift ;;
    --generate) generate=1 ;;
    -*) usage ;;
    *) [ -z "$module" ] || usage; module=$1 ;;
  esac
  shift
done
[ -n "$module" ] || usage
[ -f "$module" ] || die "$module: no such library"
[ -z "$pinfile" ] || [ -r "$pinfile" ] || die "$pinfile: cannot be read"
[ -z "$nssdb" ] || [ -r "$nssdb/pkcs11.txt" ] || die "$nssdb: no NSS database (no pkcs11.txt) there"
# p11trace may be installed instead of built here.
[ -x "$build/p11trace" ] && PATH=$build:$PATH
need p11trace certutil modutil

absolute() {
  echo "$(cd "$(dirname "$1")" && pwd)/$(basename "$1")"
}
module=$(absolute "$module")
if [ -n "$pinfile" ]; then pinfile=$(absolute "$pinfile"); fi
if [ -n "$nssdb" ]; then nssdb=$(cd "$nssdb" && pwd); fi

export LC_ALL=C
umask 077
fresh_folder "$folder"
cd "$folder" || exit 2
work=$PWD/work
mkdir "$work" nssdb
# The PIN's copies go when the script ends, however it ends.
trap 'rm -f "$work"/pin.txt "$work"/pins.txt' EXIT
trap 'exit 130' INT TERM HUP

title 'An NSS database with a traced copy of the module'
name='Traced module'
if [ -n "$nssdb" ]; then
  cp "$nssdb"/pkcs11.txt "$nssdb"/cert9.db "$nssdb"/key4.db nssdb/ || exit 2
  # The database that was copied may say where it lay; the copy must not lead back there.
  sed -i "s|configdir='[^']*'|configdir='sql:$PWD/nssdb'|" nssdb/pkcs11.txt
  known=$(awk -v library="library=$module" '
    $0 == "" { here = 0 } $0 == library { here = 1 } here && /^name=/ { print substr($0, 6); exit }' nssdb/pkcs11.txt)
else
  known=
  step 3 certutil -N -d sql:nssdb --empty-password || exit 2
fi
if [ -n "$known" ]; then
  # A traced copy beside the module would double every token and every prompt: it takes the module's place.
  name=$known
  step 6 p11trace wrap --nssdb sql:nssdb --replace "$name" --out traces || exit 2
else
  step 4 p11trace wrap "$module" -o traced.so --out traces || exit 2
  step 4 modutil -force -dbdir sql:nssdb -add "$name" -libfile "$PWD/traced.so" || exit 2
fi

title 'What NSS sees'
step 80 modutil -dbdir sql:nssdb -list "$name"
if [ -z "$token" ]; then
  token=$(sed -n 's/^ *Token Name: *\(.*[^ ]\) *$/\1/p' "$work/output" | head -1)
fi

login=0
if [ -z "$token" ]; then
  echo 'no token is present: everything that needs one is left out'
elif [ -n "$pinfile" ]; then
  head -1 "$pinfile" >"$work/pin.txt"
  login=1
elif [ -t 0 ]; then
  printf 'PIN of "%s" (empty: no login): ' "$token"
  # The terminal must not stay silent if the reader interrupts here.
  trap 'stty echo; exit 130' INT TERM HUP
  stty -echo
  read -r pin || pin=
  stty echo
  trap 'exit 130' INT TERM HUP
  echo
  if [ -n "$pin" ]; then
    printf '%s\n' "$pin" >"$work/pin.txt"
    login=1
  fi
else
  echo 'no PIN (--pin-file): everything that needs a login is left out'
fi

if [ "$login" = 1 ]; then
  # certutil -S reads TOKEN:PIN, the others a PIN.
  printf '%s:%s\n' "$token" "$(cat "$work/pin.txt")" >"$work/pins.txt"
  title 'Certificates and keys'
  step 40 certutil -L -d sql:nssdb -h "$token" -f "$work/pin.txt"
  step 40 certutil -K -d sql:nssdb -h "$token" -f "$work/pin.txt"
  key=$(sed -n 's/^< *[0-9]*> *[a-z]* *\([0-9a-f]\{8,\}\).*/\1/p' "$work/output" | head -1)

  if [ -n "$key" ]; then
    title 'A signature'
    # A certificate request for the key that is there: one signature, and no issuer needs to be trusted for it.
    step 4 certutil -R -d sql:nssdb -h "$token" -f "$work/pin.txt" -k "$key" -s 'CN=p11trace' -o request
  else
    echo 'no private key on the token: nothing is signed'
  fi

  if [ "$generate" = 1 ]; then
    title 'A key and a certificate, made and deleted'
    head -c 64 /dev/urandom >noise
    # The nickname holds the time: the deletion below must not hit anything that was there before.
    nick="p11trace $(date +%s)"
    step 4 certutil -S -d sql:nssdb -h "$token" -f "$work/pins.txt" -n "$nick" -s "CN=$nick" -x -t u,u,u \
      -k rsa -g 2048 -z noise -v 1 &&
      step 4 certutil -F -d sql:nssdb -h "$token" -f "$work/pin.txt" -n "$token:$nick"
  fi
fi

title 'What the trace tells'
step 60 p11trace info traces
step 60 p11trace stat traces
verdict=0
step 200 p11trace check traces || verdict=$?

printf '\nThe traces are in %s.\n' "$PWD/traces"
echo "Every call:    p11trace dump $PWD/traces"
echo "Failed calls:  p11trace dump -e rv=failed $PWD/traces"
exit "$verdict"
