# Sourced by the scripts at the root: what must be there before cargo can build.

# Needed to build: a C compiler, and OpenSSL's headers found through pkg-config. cargo
# reads the certificates of the package registry from ca-certificates.
packages="gcc libc6-dev pkg-config libssl-dev ca-certificates"
needed_mib=4000

say() { printf '%s\n' "$*" >&2; }

can_compile() {
    echo '#include <stdlib.h>' | cc -E - >/dev/null 2>&1
}

# cargo installs itself where a new shell may not look yet.
find_cargo() {
    local folder
    for folder in "${CARGO_HOME:-$HOME/.cargo}/bin" /usr/local/cargo/bin; do
        if ! command -v cargo >/dev/null && [ -x "$folder/cargo" ]; then
            PATH="$folder:$PATH"
        fi
    done
    command -v cargo >/dev/null
}

prerequisites_present() {
    can_compile && command -v pkg-config >/dev/null && pkg-config --exists openssl &&
        { [ -n "${SSL_CERT_FILE:-}${CARGO_HTTP_CAINFO:-}" ] || [ -e /etc/ssl/certs/ca-certificates.crt ] ||
            [ -e /etc/pki/tls/certs/ca-bundle.crt ]; }
}

# How to become root without being asked for a password, if at all.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

install_packages() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || return 1
    say "Installing what the build needs, once: $packages"
    as_root apt-get update -qq >/dev/null &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
}

require_space() {
    local target=${CARGO_TARGET_DIR:-target} free
    free=$(df -Pm . | awk 'NR == 2 { print $4 }')
    if [ ! -d "$target/debug" ] && [ "$free" -lt "$needed_mib" ]; then
        say "The build needs $needed_mib MiB and $free are free on this disk: make room and start again."
        exit 1
    fi
}

require_prerequisites() {
    if ! find_cargo; then
        say "There is no cargo: install the Rust toolchain from https://rustup.rs and start again."
        exit 1
    fi
    require_space
    if ! prerequisites_present && ! { install_packages && prerequisites_present; }; then
        say "The build needs a C compiler, pkg-config and OpenSSL's headers: run \`sudo apt-get install -y $packages\` and start again."
        exit 1
    fi
}

# The folder of debug programs, wherever cargo is configured to put it.
built_folder() {
    local target=${CARGO_TARGET_DIR:-}
    if [ -z "$target" ]; then
        find_cargo || return 1
        target=$(cargo metadata --no-deps --offline --format-version 1 |
            sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    fi
    printf '%s/debug' "$target"
}

# One cargo for all programs, so that each dependency is compiled once.
build_all() {
    cargo build --bins --package launcher --package bff --package inventory \
        --package housekeeping --package staff --package stand-ins || {
        say "The build failed: mend what the compiler says above and start again."
        exit 1
    }
    built=$(built_folder)
}
