# SPDX-License-Identifier: GPL-2.0-or-later
# What `make bench` runs: figures into $(BUILD)/bench/*.jsonl, tables on the terminal; needs root.

.PHONY: run-bench bench-ckpt bench-compare bench-report

BENCH_RUN = COLOD_BUILD=$(abspath $(BUILD)) PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3

# QUICK=1: fewer and smaller cases, within a minute. A scan of huge pages needs 512 of them per GB.
BENCH_SCAN_GB = $(if $(filter 1,$(QUICK)),1,1 2 4 8)
BENCH_HUGE_PAGES = $(if $(filter 1,$(QUICK)),512,4096)

bench-ckpt: export QUICK := $(QUICK)
bench-ckpt: all $(BUILD)/guest/initrd.gz
	$(BENCH_RUN) bench/ckpt.py

# The comparing core alone, as released: needs no root.
$(BUILD)/bench/compare-bench: bench/compare-bench.c $(BUILD)/libcolod.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(BUILD)/libcolod.a $(LDLIBS)

-include $(BUILD)/bench/compare-bench.d

bench-compare: $(BUILD)/bench/compare-bench
	@rm -f $(BUILD)/bench/compare.jsonl
	$(BUILD)/bench/compare-bench $(BUILD)/bench/compare.jsonl

bench-report:
	@$(BENCH_RUN) bench/report.py

# The tables come also when a case failed; the failure is make's.
run-bench: export QUICK := $(QUICK)
run-bench: all $(BUILD)/guest/initrd.gz $(BUILD)/bench/scan-bench
	@rm -f $(BUILD)/bench/scan.jsonl
	@r=0; tests/kernel/with-huge-pages $(BENCH_HUGE_PAGES) $(BUILD)/bench/scan-bench \
		$(BUILD)/bench/scan.jsonl $(BENCH_SCAN_GB) || r=1; \
	$(BENCH_RUN) bench/ckpt.py || r=1; \
	$(BENCH_RUN) bench/report.py || r=1; \
	exit $$r
