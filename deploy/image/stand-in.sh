#!/usr/bin/env bash
# Makes a stand-in for python:3.13-slim where no registry can be reached, and imports it under that name: Debian by
# debootstrap, and a CPython 3.13 of this machine under /usr/local, both thinned as the official images are
# (debian:*-slim leaves out manuals and other
# languages, python:*-slim tests, static libraries, symbols and bytecode).
# It is for checks on this machine and never for a release: an image built on it says so in its labels and its tag.
#
#   stand-in.sh FOLDER     FOLDER keeps the root file system as base.tar, for the next time
#   PYTHON313=/path/to/python3.13 chooses the interpreter.
set -euo pipefail
folder=$1
name=docker.io/library/python:3.13-slim
tar=$folder/base.tar

find_python() {
    local found
    for found in "${PYTHON313:-}" "$(command -v python3.13 || true)" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python3.13; do
        if [[ -n $found && -x $found ]] && "$found" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; then
            "$found" -c 'import sys; print(sys.base_prefix)'
            return
        fi
    done
    echo "stand-in.sh: there is no CPython 3.13 here; name one: PYTHON313=/path/to/python3.13" >&2
    return 1
}

make_root() {
    local prefix=$1 root=$2
    debootstrap --variant=minbase \
        --include=ca-certificates,netbase,tzdata,libbz2-1.0,libffi8,liblzma5,libncursesw6,libreadline8,libsqlite3-0,libssl3,libuuid1,zlib1g \
        bookworm "$root" >"$folder/debootstrap.log"
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/{doc,man,info,locale,lintian,bug}/*
    mkdir -p "$root"/usr/local/{bin,lib}
    cp -a "$prefix"/bin/{python3.13,pip3.13} "$root/usr/local/bin/"
    cp -a "$prefix"/lib/libpython3*.so* "$root/usr/local/lib/" 2>/dev/null || true
    tar -C "$prefix/lib" --exclude='__pycache__' --exclude='test' --exclude='tests' --exclude='idle_test' --exclude='*.a' \
        --exclude='config-3.13-*' --exclude='site-packages/*' -cf - python3.13 | tar -C "$root/usr/local/lib" -xf -
    tar -C "$prefix/lib/python3.13/site-packages" --exclude='__pycache__' -cf - pip "$(cd "$prefix/lib/python3.13/site-packages" && ls -d pip-*.dist-info)" |
        tar -C "$root/usr/local/lib/python3.13/site-packages" -xf -
    find "$root/usr/local" -name '*.so*' -type f -exec strip --strip-unneeded {} +
    sed -i '1s|.*|#!/usr/local/bin/python3.13|' "$root/usr/local/bin/pip3.13"
    ln -s python3.13 "$root/usr/local/bin/python3"
    ln -s python3.13 "$root/usr/local/bin/python"
    ln -s pip3.13 "$root/usr/local/bin/pip"
    chroot "$root" ldconfig
    chroot "$root" /usr/local/bin/python -I -c 'import asyncio, sqlite3, ssl, zlib'
}

# debootstrap may leave /proc and /sys of this machine mounted inside: they are let go before anything is removed.
discard() {
    local mounted
    awk -v root="$(realpath "$1")/" 'index($2, root) == 1 {print $2}' /proc/mounts | sort -r | while read -r mounted; do
        umount "$mounted" || umount --lazy "$mounted"
    done
    rm -rf --one-file-system "$1"
}

mkdir -p "$folder"
if [[ ! -e $tar ]]; then
    prefix=$(find_python)
    root=$(mktemp -d "$folder/root.XXXXXX")
    trap 'discard "$root"' EXIT
    make_root "$prefix" "$root"
    tar -C "$root" --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' --numeric-owner -cf "$tar.part" .
    mv "$tar.part" "$tar"
fi
podman import --quiet --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'ENV LANG=C.UTF-8' --change 'CMD ["python3"]' \
    --change 'LABEL productlane-gateway.stand-in=true' "$tar" "$name" >/dev/null
echo "stand-in.sh: $name in this machine's store is a stand-in now"
