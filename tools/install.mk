# SPDX-License-Identifier: GPL-2.0-or-later
# Lint, installation, and the unit tests of colo-ctl, which link its objects.

.PHONY: lint lint-layers lint-format lint-tidy lint-man lint-files lint-python install

CTL_TEST_OBJ := $(filter-out %/main.o,$(CTL_OBJ))

$(BUILD)/tests/unit/test-ctl-%: tests/unit/test-ctl-%.c $(CTL_TEST_OBJ) $(BUILD)/libcolod.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(CTL_TEST_OBJ) \
		$(BUILD)/libcolod.a $(LDLIBS) -lcmocka

lint: lint-layers lint-format lint-files lint-python lint-man lint-tidy

lint-layers:
	$(call say,LINT,layers)
	$(Q)tools/check-layers --self-test
	$(Q)tools/check-layers

# Lint speaks of the files that git knows; without git it must not pass for having found none.
lint-format lint-files lint-tidy: | lint-have-files
.PHONY: lint-have-files
lint-have-files:
	@test -n "$(firstword $(C_FILES))" || { echo "lint needs a git checkout" >&2; exit 1; }

lint-format:
	$(call say,LINT,format)
	$(Q)clang-format --dry-run -Werror $(C_FILES)

lint-files:
	$(call say,LINT,"length and first line of files")
	$(Q)awk 'FNR == 1 && !/SPDX-License-Identifier: / { print FILENAME ": line 1 names no license"; bad = 1 } \
		FNR == 601 { print FILENAME ": longer than 600 lines"; bad = 1 } \
		END { exit bad }' $(C_FILES) >&2

# One process for each file; what clang-tidy says is shown only when it complains.
TIDY := f=$$1; shift; out=$$(clang-tidy --quiet "$$f" -- "$$@" 2>&1) || { printf "%s\n" "$$out" >&2; exit 1; }
lint-tidy:
	$(call say,LINT,clang-tidy)
	$(Q)printf '%s\n' $(filter-out $(TIDY_SKIP),$(filter %.c,$(C_FILES))) | \
		xargs -P "$$(nproc)" -I{} sh -c '$(TIDY)' tidy {} $(CSTD) $(PKG_CFLAGS)

lint-man:
	$(call say,LINT,manuals)
	$(Q)mandoc -Tlint -Wwarning $(wildcard man/*.[1-8])

# Scripts have no suffix. Compiled in memory only, so that nothing is left behind.
PY_FILES = $(shell git ls-files '*.py' 2>/dev/null) \
	$(shell git grep -lE '^\#!.*python3' -- tools bench 2>/dev/null)
lint-python:
	$(call say,LINT,python)
	$(Q)python3 -c 'import sys; [compile(open(f).read(), f, "exec") for f in sys.argv[1:]]' $(PY_FILES)

# PREFIX and LIBDIR are compiled in (colod looks for its preload library there): give `make` and
# `make install` the same ones.
EXAMPLES := $(PREFIX)/share/doc/colod/examples
install: all
	install -D -m 755 $(BUILD)/colod $(DESTDIR)$(PREFIX)/sbin/colod
	install -D -m 755 $(BUILD)/colo-ctl $(DESTDIR)$(PREFIX)/bin/colo-ctl
	install -D -m 644 $(BUILD)/colod-preload.so $(DESTDIR)$(LIBDIR)/colod-preload.so
	install -D -m 644 -t $(DESTDIR)$(MANDIR)/man8 man/colod.8
	install -D -m 644 -t $(DESTDIR)$(MANDIR)/man5 man/colod.conf.5
	install -D -m 644 -t $(DESTDIR)$(MANDIR)/man1 man/colo-ctl.1
	install -d -m 755 $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSCONFDIR)/colod
	sed -e 's|/usr/sbin/colod|$(PREFIX)/sbin/colod|' -e 's|/usr/bin/colo-ctl|$(PREFIX)/bin/colo-ctl|' -e 's|/etc/colod|$(SYSCONFDIR)/colod|g' \
		systemd/colod@.service >$(DESTDIR)$(UNITDIR)/colod@.service
	chmod 644 $(DESTDIR)$(UNITDIR)/colod@.service
	install -D -m 644 -t $(DESTDIR)$(EXAMPLES) systemd/example.conf systemd/example.env
