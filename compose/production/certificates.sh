#!/bin/sh
# Creates the certificates of the production set: an authority, one certificate for the collector, and one for each app. A second
# run keeps the authority and renews the others. Needs openssl.
#   sh compose/production/certificates.sh                  into compose/production/certificates
#   sh compose/production/certificates.sh FOLDER [APP …]   into another folder; names of apps, `app` when none is given
# COLLECTOR_HOSTS are the names and addresses, separated by commas, under which apps reach the collector;
# DAYS is how long the certificates of the collector and the apps are valid; that of the authority is valid ten times as long.
set -eu

case ${1-} in
  -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0"; exit 0 ;;
esac
if ! command -v openssl >/dev/null 2>&1; then
  echo 'certificates.sh: there is no openssl on PATH: install the package openssl and run this again' >&2
  exit 69
fi

folder=${1:-$(dirname "$0")/certificates}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- app
hosts=${COLLECTOR_HOSTS:-collector,localhost,127.0.0.1}
days=${DAYS:-365}
case $days in
  '' | *[!0-9]* | 0*) echo "certificates.sh: DAYS=$days is no number of days: set it to 1 or more" >&2; exit 64 ;;
esac
for app; do
  case $app in
    *[!A-Za-z0-9._-]* | '' | .* | ca | collector)
      echo "certificates.sh: \"$app\" cannot be the name of an app: take letters, digits, . _ and -, but not ca or collector" >&2
      exit 64
      ;;
  esac
done

names=
for host in $(echo "$hosts" | tr ',' ' '); do
  case $host in
    *:* | *[!0-9.]*) case $host in *:*) kind=IP ;; *) kind=DNS ;; esac ;;
    *) kind=IP ;;
  esac
  names=${names:+$names,}$kind:$host
done

umask 077
mkdir -p "$folder"
# Only this user opens the folder, because the collector's key in it can be read by all (see below).
chmod 700 "$folder"
scratch=$(mktemp -d "$folder/.making-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

quietly() {
  "$@" 2>"$scratch/said" || { cat "$scratch/said" >&2; exit 1; }
}

# A key on the curve that every TLS library of today has.
key() {
  quietly openssl ecparam -name prime256v1 -genkey -noout -out "$1"
}

# sign NAME SUBJECT EXTENSIONS: a key and a certificate that the authority signs, put into place only when both are there.
sign() {
  key "$scratch/$1.key"
  quietly openssl req -new -sha256 -key "$scratch/$1.key" -subj "/O=milvus-otel/CN=$2" -out "$scratch/$1.csr"
  printf '%s\n' 'basicConstraints=critical,CA:FALSE' 'keyUsage=critical,digitalSignature' \
    'subjectKeyIdentifier=hash' 'authorityKeyIdentifier=keyid' "$3" >"$scratch/$1.ext"
  quietly openssl x509 -req -sha256 -in "$scratch/$1.csr" -CA "$folder/ca.crt" -CAkey "$folder/ca.key" \
    -set_serial "0x$(openssl rand -hex 16 | sed 's/^./1/')" -days "$days" -extfile "$scratch/$1.ext" -out "$scratch/$1.crt"
  chmod 644 "$scratch/$1.crt"
  put "$1.key"
  put "$1.crt"
  echo "$folder/$1.crt and .key" >&2
}

# put FILE: from scratch into the folder. An existing file is overwritten, not replaced: Compose mounts file by file, and a running
# container would keep the old file.
put() {
  if [ -f "$folder/$1" ]; then cat "$scratch/$1" >"$folder/$1"; else mv "$scratch/$1" "$folder/$1"; fi
}

if [ ! -f "$folder/ca.key" ] || [ ! -f "$folder/ca.crt" ]; then
  key "$scratch/ca.key"
  printf '%s\n' '[req]' 'distinguished_name=dn' 'x509_extensions=ca' '[dn]' '[ca]' 'basicConstraints=critical,CA:TRUE,pathlen:0' \
    'keyUsage=critical,keyCertSign,cRLSign' 'subjectKeyIdentifier=hash' >"$scratch/ca.cnf"
  quietly openssl req -x509 -new -sha256 -key "$scratch/ca.key" -days $((days * 10)) -config "$scratch/ca.cnf" \
    -subj '/O=milvus-otel/CN=milvus-otel authority' -out "$scratch/ca.crt"
  chmod 644 "$scratch/ca.crt"
  mv "$scratch/ca.key" "$folder/ca.key"
  mv "$scratch/ca.crt" "$folder/ca.crt"
  echo "$folder/ca.crt and .key: keep the key off the machines that only use the certificates" >&2
fi

sign collector collector "extendedKeyUsage=serverAuth
subjectAltName=$names"
# The collector's image runs as another user, who must read the mounted file. The folder keeps other users out.
chmod 644 "$folder/collector.key"
for app; do
  sign "$app" "$app" 'extendedKeyUsage=clientAuth'
done
