# SPDX-License-Identifier: GPL-2.0-or-later
# The one Makefile: builds, tests, benches, installs. `make help` lists the targets.

VERSION := 0.1.0
PREFIX ?= /usr
SYSCONFDIR ?= /etc
LIBDIR ?= $(PREFIX)/lib/colod
UNITDIR ?= $(PREFIX)/lib/systemd/system
MANDIR ?= $(PREFIX)/share/man
BUILD ?= build
SAN ?=

# The one place that knows the Debian packages.
DEB_BUILD := gcc make pkg-config libc6-dev libsystemd-dev libjson-c-dev libxxhash-dev libmnl-dev libnl-3-dev \
	libcurl4-gnutls-dev libgnutls28-dev
DEB_RUN   := qemu-system-x86 seabios ipxe-qemu nftables iptables kmod
DEB_TEST  := libcmocka-dev python3 python3-pytest busybox-static cpio iproute2 clang libclang-rt-14-dev \
	clang-format clang-tidy mandoc procps util-linux gnutls-bin qemu-utils libnbd-bin
# For `make docs` alone.
DEB_DOCS  := graphviz

MAKEFLAGS += --no-builtin-rules
# V=1 shows whole commands.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-4s %s\n' $(1) $(2))
.DELETE_ON_ERROR:
.SECONDARY:

PKGS := libsystemd json-c libxxhash libmnl libnl-3.0 libcurl gnutls
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
CC ?= gcc
CSTD := -std=gnu11 -D_GNU_SOURCE -I. -DCOLOD_VERSION='"$(VERSION)"' -DCOLOD_LIBDIR='"$(LIBDIR)"' \
	-DCOLOD_SYSCONFDIR='"$(SYSCONFDIR)"'
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wwrite-strings -Wformat=2 -Wimplicit-fallthrough -Wvla -Wno-missing-field-initializers
OPT ?= -O2 -g
HARDEN := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
# Behind the sanitizers' null checks gcc warns of bounds that no path can break.
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -U_FORTIFY_SOURCE -Wno-array-bounds \
	-Wno-stringop-overflow -Wno-stringop-overread)
ALL_CFLAGS = $(CSTD) $(OPT) $(WARN) $(HARDEN) $(SANFLAGS) $(PKG_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(SANFLAGS) $(LDFLAGS)
LDLIBS = $(PKG_LIBS) -lpthread

LIB_SRC := $(wildcard base/*.c qmp-client/*.c proxy/*.c) $(filter-out colod/main/%,$(wildcard colod/*/*.c))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/obj/%.o)
MAIN_OBJ := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard colod/main/*.c))
CTL_OBJ := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard colo-ctl/*.c))
UNIT := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test-*.c))
FUZZ := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz-*.c))
C_FILES = $(shell git ls-files '*.c' '*.h' 2>/dev/null)
OBJ := $(LIB_OBJ) $(MAIN_OBJ) $(CTL_OBJ)

.PHONY: all help
all: $(BUILD)/colod $(BUILD)/colo-ctl $(BUILD)/colod-preload.so

define HELP
  all           colod, colo-ctl and the preload library
  demo          what is missing is installed, then: kill the host of a guest that is being used
                SCENARIO=net (default): its clients; SCENARIO=engine: its memory, no network
  check         what is missing is installed, then all tests, with a fair sample of the long ones
  check-long    all tests with their full counts (COLOD_TEST_FULL=1)
  check-unit    unit tests
  asan, tsan    unit tests under AddressSanitizer and UBSan, under ThreadSanitizer
  fuzz          each fuzz target for FUZZ_SECONDS=3
  check-kernel  dirty tracking and packet queues on other kernels, in emulated machines
  check-system  pairs of guests; PYTEST_ARGS='-k switch -x' narrows it, COLOD_TEST_FULL=1 widens it
  check-engine  one half of check-system, that of checkpoints and memory; check-net: the other half
  check-install what `install` would install
  lint          layers, format, manuals, clang-tidy
  bench         figures and tables; QUICK=1: fewer and smaller cases; also bench-ckpt, bench-scan,
                bench-compare, bench-tls, bench-net alone, bench-report: the tables of the last figures
  install       into DESTDIR, PREFIX=/usr
  docs          docs/failover.svg, of what colod --dump-fsm prints
  deps          the Debian packages that all this needs
  clean         remove BUILD (default build/)

V=1 shows whole commands. SAN=address,undefined with a BUILD of its own builds with sanitizers.
endef

help:
	$(info $(HELP))
	@:

# Objects are made anew when the flags change, for the paths that are compiled in.
FLAGS := $(BUILD)/obj/.flags
ifneq ($(file <$(FLAGS)),$(ALL_CFLAGS))
$(shell mkdir -p $(dir $(FLAGS)))
$(file >$(FLAGS),$(ALL_CFLAGS))
endif

$(BUILD)/obj/%.o: %.c $(FLAGS)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libcolod.a: $(LIB_OBJ)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)ar rcs $@ $^

$(BUILD)/colod: $(MAIN_OBJ) $(BUILD)/libcolod.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/colo-ctl: $(CTL_OBJ) $(BUILD)/libcolod.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

# Runs inside QEMU: no sanitizer, nothing but libc.
$(BUILD)/colod-preload.so: preload/preload.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CSTD) -O2 -g $(WARN) -fPIC -shared -Wl,-z,relro,-z,now -MMD -MP -o $@ $<

-include $(OBJ:.o=.d) $(UNIT:=.d) $(wildcard $(BUILD)/*.d)

include tests/tests.mk tests/system.mk $(wildcard tests/kernel.mk tools/install.mk bench/bench.mk)
