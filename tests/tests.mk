# SPDX-License-Identifier: GPL-2.0-or-later
# Tests, benches, lint and installation of what they need.

# A fresh machine has no pkg-config yet when this file is read, so the work is done by a second make.
.PHONY: check check-all check-long demo bench
check: deps
	$(MAKE) check-all

check-long: deps
	$(MAKE) check-all COLOD_TEST_FULL=1 FUZZ_SECONDS=60

# What does not measure or boot pairs of guests runs side by side; much of it waits, so one more than there are
# CPUs. clang-tidy is slow: the tests themselves are its business in the long run only. So is running the unit
# tests without a sanitizer, too.
CHECK_JOBS ?= $(shell expr $$(nproc) + 1)
check-all: all
	$(MAKE) -j$(CHECK_JOBS) -Otarget check-kernel lint TIDY_SKIP=$(if $(COLOD_TEST_FULL),,tests/%) \
		$(if $(COLOD_TEST_FULL),check-unit) asan tsan fuzz check-install
	$(MAKE) check-system

demo: deps
	$(MAKE) run-demo

bench: deps
	$(MAKE) run-bench

.PHONY: deps unit-tests check-unit asan-tests asan tsan fuzz clean

# Quick when everything is there: one dpkg-query, no network.
deps:
	@want="$(DEB_BUILD) $(DEB_RUN) $(DEB_TEST)"; missing=; \
	have=" $$(dpkg-query -W -f='$${db:Status-Abbrev} $${Package}\n' 2>/dev/null | \
		sed -n 's/^ii  *//p' | tr '\n' ' ')"; \
	for p in $$want; do case "$$have" in *" $$p "*) ;; *) missing="$$missing $$p";; esac; done; \
	if [ -n "$$missing" ]; then \
		echo "installing:$$missing"; \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -q --no-install-recommends $$missing; \
	fi

$(BUILD)/tests/unit/%: tests/unit/%.c $(BUILD)/libcolod.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(BUILD)/libcolod.a $(LDLIBS) -lcmocka

# TESTS narrows a run: make check-unit TESTS=build/tests/unit/test-wire
TESTS ?= $(UNIT)
UNIT_JOBS ?= 3
unit-tests: $(TESTS)
check-unit: unit-tests
	@tests/unit/run-all $(UNIT_JOBS) $(TESTS)

# Half the time of -O2 for the compiler, and no fewer checks.
SAN_OPT := -O1 -g
asan-tests asan: MAKE_ASAN = $(MAKE) BUILD=$(BUILD)/asan SAN=address,undefined OPT='$(SAN_OPT)'
asan-tests:
	$(MAKE_ASAN) unit-tests
asan: asan-tests
	$(MAKE_ASAN) check-unit

# A program that cannot start a thread has nothing to show to ThreadSanitizer; the long run does not rely on it.
ASAN_UNIT = $(UNIT:$(BUILD)/%=$(BUILD)/asan/%)
THREADED = $(if $(COLOD_TEST_FULL),$(ASAN_UNIT),$(shell for t in $(ASAN_UNIT); do \
	u=$$(nm -D --undefined-only $$t) && ! echo "$$u" | grep -q ' pthread_create' || echo $$t; done))
tsan: asan-tests
	$(MAKE) BUILD=$(BUILD)/tsan SAN=thread OPT='$(SAN_OPT)' check-unit \
		TESTS='$(THREADED:$(BUILD)/asan/%=$(BUILD)/tsan/%)'

FUZZ_CFLAGS = $(CSTD) -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
	$(PKG_CFLAGS)
FUZZ_LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/fuzz/obj/%.o)
FUZZ_SECONDS ?= 3

$(BUILD)/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,FZ,$@)
	$(Q)clang $(subst fuzzer$(comma),fuzzer-no-link$(comma),$(FUZZ_CFLAGS)) -MMD -MP -c -o $@ $<

comma := ,

$(BUILD)/fuzz/libcolod.a: $(FUZZ_LIB_OBJ)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/fuzz/fuzz-%: tests/fuzz/fuzz-%.c $(BUILD)/fuzz/libcolod.a
	$(call say,FZ,$@)
	$(Q)clang $(FUZZ_CFLAGS) -MMD -MP -MF $@.d -o $@ $< $(BUILD)/fuzz/libcolod.a $(LDLIBS)

-include $(FUZZ_LIB_OBJ:.o=.d) $(FUZZ:=.d)

fuzz: $(FUZZ)
	@set -e; for f in $(FUZZ); do n=$$(basename $$f); mkdir -p $(BUILD)/fuzz/corpus/$$n; \
		echo "== $$n, $(FUZZ_SECONDS) s"; $$f -max_total_time=$(FUZZ_SECONDS) -max_len=65536 \
		-verbosity=0 $(BUILD)/fuzz/corpus/$$n >$$f.log 2>&1 || { cat $$f.log; exit 1; }; done

# What is made of the program and checked in; test-fsm-picture holds the graph to the tables.
.PHONY: docs
docs: $(BUILD)/colod
	@command -v dot >/dev/null || { echo "make docs needs: apt-get install $(DEB_DOCS)"; exit 1; }
	$(BUILD)/colod --dump-fsm >docs/failover.dot
	dot -Tsvg -o docs/failover.svg docs/failover.dot

clean:
	rm -rf $(BUILD)

# The installed tree must hold what the unit and the manuals promise.
.PHONY: check-install
check-install: all
	rm -rf $(BUILD)/root
	$(MAKE) install DESTDIR=$(abspath $(BUILD))/root
	$(BUILD)/root$(PREFIX)/sbin/colod --version
	$(BUILD)/root$(PREFIX)/bin/colo-ctl --version
	test -s $(BUILD)/root$(LIBDIR)/colod-preload.so
	test -s $(BUILD)/root$(UNITDIR)/colod@.service
	test -s $(BUILD)/root$(MANDIR)/man8/colod.8
