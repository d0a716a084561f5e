# Sourced by the scripts of this folder: brings what they need onto this machine. Works from any folder.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }

need_node() {
  command -v node >/dev/null || { say "cannot start: Node.js is not on PATH; version 20.18 or newer is needed"; exit 1; }
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 18) ? 0 : 1)' ||
    { say "cannot start: Node.js 20.18 or newer is needed; this is $(node --version)"; exit 1; }
}

# npm writes node_modules/.package-lock.json last, so its time says when an installation was complete.
need_modules() {
  local done=node_modules/.package-lock.json
  if [ ! -e "$done" ] || [ package-lock.json -nt "$done" ]; then
    say "installing npm packages"
    npm ci --no-progress --loglevel=error </dev/null >&2 || { say "cannot start: npm ci failed, see above"; exit 1; }
    touch "$done"
  fi
}

# need_debian COMMAND PACKAGE...
need_debian() {
  local command=$1; shift
  PATH=$PATH:/usr/sbin:/usr/local/sbin command -v "$command" >/dev/null && return
  local install="apt-get install -y $*"
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
    { say "cannot start: $command is not on PATH; install it (on Debian: sudo $install)"; exit 1; }
  say "installing $*"
  export DEBIAN_FRONTEND=noninteractive
  { $install || { apt-get update && $install; }; } </dev/null >/dev/null 2>"${TMPDIR:-/tmp}/busker-apt.$$" ||
    { cat "${TMPDIR:-/tmp}/busker-apt.$$" >&2; say "cannot start: $install failed, see above"; exit 1; }
  rm -f "${TMPDIR:-/tmp}/busker-apt.$$"
  # Debian starts the server it installs, on the port that the platform's own needs.
  if [ -d /run/systemd/system ]; then systemctl disable --now "$command" >/dev/null 2>&1 || true; fi
}
