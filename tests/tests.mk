# SPDX-License-Identifier: GPL-2.0-or-later
# Tests, benches, lint and installation of what they need.

.PHONY: deps check-unit asan tsan fuzz clean

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

check-unit: $(UNIT)
	@set -e; for t in $(UNIT); do echo "== $$t"; $$t; done

asan:
	$(MAKE) BUILD=$(BUILD)/asan SAN=address,undefined check-unit

tsan:
	$(MAKE) BUILD=$(BUILD)/tsan SAN=thread check-unit

FUZZ_CFLAGS = $(CSTD) -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
	$(PKG_CFLAGS)
FUZZ_LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/fuzz/obj/%.o)
FUZZ_SECONDS ?= 5

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
		echo "== $$n"; $$f -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -verbosity=0 \
		-print_final_stats=0 $(BUILD)/fuzz/corpus/$$n; done

clean:
	rm -rf $(BUILD)
