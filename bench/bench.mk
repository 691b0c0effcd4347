# SPDX-License-Identifier: GPL-2.0-or-later
# What `make bench` runs: figures into $(BUILD)/bench/*.jsonl, tables on the terminal; needs root.

.PHONY: run-bench bench-ckpt bench-compare bench-tls bench-net bench-services bench-report

BENCH_RUN = COLOD_BUILD=$(abspath $(BUILD)) PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3

# QUICK=1: fewer and smaller cases, about a minute. A scan of huge pages needs 512 of them per GB.
BENCH_SCAN_GB = $(if $(filter 1,$(QUICK)),1,1 2 4 8)
BENCH_HUGE_PAGES = $(if $(filter 1,$(QUICK)),512,4096)
BENCH_COMPARE_ROUNDS = $(if $(filter 1,$(QUICK)),20,200)
BENCH_TLS_ROUNDS = $(if $(filter 1,$(QUICK)),3,20)
BENCH_NET = $(if $(filter 1,$(QUICK)),plain colo auto kill)

bench-ckpt: export QUICK := $(QUICK)
bench-ckpt: all $(BUILD)/guest/initrd.gz
	$(BENCH_RUN) bench/ckpt.py

# The comparing core and encryption alone, as released: need no root.
$(BUILD)/bench/compare-bench $(BUILD)/bench/tls-bench: $(BUILD)/bench/%: bench/%.c $(BUILD)/libcolod.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(BUILD)/libcolod.a $(LDLIBS)

-include $(BUILD)/bench/compare-bench.d $(BUILD)/bench/tls-bench.d

bench-tls: $(BUILD)/bench/tls-bench
	@rm -f $(BUILD)/bench/tls.jsonl
	$(BUILD)/bench/tls-bench $(BUILD)/bench/tls.jsonl $(BENCH_TLS_ROUNDS)

bench-compare: $(BUILD)/bench/compare-bench
	@rm -f $(BUILD)/bench/compare.jsonl
	$(BUILD)/bench/compare-bench $(BUILD)/bench/compare.jsonl $(BENCH_COMPARE_ROUNDS)

bench-net: export QUICK := $(QUICK)
bench-net: all $(BUILD)/guest/initrd.gz
	$(BENCH_RUN) bench/net.py $(BENCH_NET)

# The test guest, and in it services of Debian's.
$(BUILD)/guest/initrd-services.gz: tools/build-guest-services tests/guest/services \
		$(BUILD)/guest/initrd.gz
	tools/build-guest-services $(BUILD)

bench-services: export QUICK := $(QUICK)
bench-services: all $(BUILD)/guest/initrd-services.gz
	$(BENCH_RUN) bench/services.py

bench-report:
	@$(BENCH_RUN) bench/report.py

# The tables come also when a case failed; the failure is make's.
run-bench: export QUICK := $(QUICK)
run-bench: all $(BUILD)/guest/initrd.gz $(BUILD)/bench/scan-bench $(BUILD)/bench/compare-bench \
		$(BUILD)/bench/tls-bench
	@rm -f $(BUILD)/bench/scan.jsonl $(BUILD)/bench/compare.jsonl $(BUILD)/bench/tls.jsonl
	@r=0; $(BUILD)/bench/compare-bench $(BUILD)/bench/compare.jsonl $(BENCH_COMPARE_ROUNDS) || r=1; \
	$(BUILD)/bench/tls-bench $(BUILD)/bench/tls.jsonl $(BENCH_TLS_ROUNDS) || r=1; \
	tests/kernel/with-huge-pages $(BENCH_HUGE_PAGES) $(BUILD)/bench/scan-bench \
		$(BUILD)/bench/scan.jsonl $(BENCH_SCAN_GB) || r=1; \
	$(BENCH_RUN) bench/ckpt.py || r=1; \
	$(BENCH_RUN) bench/net.py $(BENCH_NET) || r=1; \
	$(MAKE) bench-services || r=1; \
	$(BENCH_RUN) bench/report.py || r=1; \
	exit $$r
