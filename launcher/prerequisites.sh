# Sourced by ./up, ./check and other scripts: checks build prerequisites, builds, and finds the tools of
# the checks.

# A C compiler, OpenSSL's headers found through pkg-config, and the certificates that cargo trusts.
packages="gcc libc6-dev pkg-config libssl-dev ca-certificates"
# A first build needs about 2 GiB.
needed_mib=4000

say() { printf '%s\n' "$*" >&2; }

# A shell that was open before rustup ran does not have cargo on its PATH.
find_cargo() {
    local folder
    for folder in "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin" /usr/local/cargo/bin; do
        if ! command -v cargo >/dev/null && [ -x "$folder/cargo" ]; then
            PATH="$folder:$PATH"
        fi
    done
    command -v cargo >/dev/null
}

can_compile() {
    echo '#include <stdlib.h>' | cc -E - >/dev/null 2>&1
}

has_openssl() {
    command -v pkg-config >/dev/null && pkg-config --exists openssl
}

has_certificates() {
    [ -n "${SSL_CERT_FILE:-}${CARGO_HTTP_CAINFO:-}" ] ||
        [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ]
}

prerequisites_present() {
    can_compile && has_openssl && has_certificates
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Fails without apt-get, or if becoming root needs a password.
install_packages() {
    local said
    command -v apt-get >/dev/null || return 1
    as_root true 2>/dev/null || return 1
    say "Installing build prerequisites: $packages"
    said=$(as_root apt-get update -qq 2>&1 &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages 2>&1) ||
        { say "$said"; return 1; }
}

require_space() {
    local free
    free=$(df -Pm . | awk 'NR == 2 { print $4 }')
    if [ ! -d "${CARGO_TARGET_DIR:-target}/debug" ] && [ "$free" -lt "$needed_mib" ]; then
        say "Only $free MiB are free on this disk: free at least $needed_mib MiB and start again."
        exit 1
    fi
}

require_prerequisites() {
    if ! find_cargo; then
        say "cargo is missing: install the Rust toolchain from https://rustup.rs and start again."
        exit 1
    fi
    require_space
    if ! prerequisites_present && ! { install_packages && prerequisites_present; }; then
        say "The build needs a C compiler and OpenSSL's headers: run \`sudo apt-get install -y $packages\` and start again."
        exit 1
    fi
}

# rustup's minimal profile does not include these.
require_lints() {
    if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then
        return
    fi
    if ! { command -v rustup >/dev/null && rustup component add rustfmt clippy; }; then
        say "The checks need rustfmt and clippy: run \`rustup component add rustfmt clippy\` and start again."
        exit 1
    fi
}

# cargo's folder of debug builds, as configured.
built_folder() {
    local target
    target=$(cargo metadata --no-deps --offline --format-version 1 |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    printf '%s/debug' "$target"
}

# One cargo run for all programs, so that each dependency is compiled once.
build_all() {
    local package flags=()
    for package in launcher bff inventory housekeeping staff stand-ins; do
        flags+=(--package "$package" --bin "$package")
    done
    if ! cargo build "${flags[@]}"; then
        say "The build failed: fix the errors above and start again."
        exit 1
    fi
}

# Prints the path of a tool, such as promtool or node, installed or fetched into .local. Needs the
# launcher that build_all builds.
tool() {
    "$(built_folder)/launcher" tool "$1"
}

# Prints the folder of a cargo program, which is built once per user and cached.
cargo_tool() { # cargo_tool <package> <version>
    local folder="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/melmastoon/$1-$2"
    if [ ! -x "$folder/bin/$1" ]; then
        say "Building $1 $2, once."
        cargo install --quiet --locked --debug --version "$2" --root "$folder" "$1" || return 1
    fi
    printf '%s' "$folder"
}

check_dependencies() {
    local tool
    tool=$(cargo_tool cargo-deny 0.20.2) || return 1
    PATH="$tool/bin:$PATH" cargo deny --log-level error check --hide-inclusion-graph bans licenses sources
}
